"""What long work on images tells its caller: docker's progress messages, as dictionaries.

``{"id", "status", "progressDetail": {"current", "total"}}`` while something moves, ``{"stream": text}`` for a line to
print: what the Docker Engine API streams and every client of it draws. Callbacks may come from several threads, never
from two at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

OnEvent = Callable[[dict[str, Any]], None]


class Reporter:
    """Sends messages to *on_event*, if there is one."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event, self._lock = on_event, threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """One message."""
        if self._on_event:
            with self._lock:
                self._on_event(message)

    def moving(self, status: str, name: str, current: int, total: int = 0) -> None:
        """*current* bytes of *total* (0: nobody knows) are done."""
        detail = {"current": current} | ({"total": total} if total else {})
        self.send({"status": status, "progressDetail": detail, "id": short(name)})

    def extracting(self, diff_id: str, current: int) -> None:
        """A layer is being unpacked."""
        self.moving("Extracting", diff_id, current)

    def extracted(self, diff_id: str) -> None:
        """A layer is unpacked."""
        self.done("Pull complete", diff_id)

    def done(self, status: str, name: str) -> None:
        """Something that moved has arrived."""
        self.send({"status": status, "progressDetail": {}, "id": short(name)})

    def line(self, text: str) -> None:
        """A line for people."""
        self.send({"stream": text + "\n"})


def short(digest: str) -> str:
    """The 12 digits that docker shows of an id."""
    return digest.removeprefix("sha256:")[:12]
