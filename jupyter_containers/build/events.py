"""What a build tells while it goes on, as JSON objects. Its steps run in threads; its caller hears of them in its own.

::

    {"type": "stage", "stage": 0, "name": "app", "base": "debian", "steps": [{"id": "0.1", "text": "RUN make"}]}
    {"type": "step", "id": "0.1", "status": "running"}             then cached, done, failed or canceled
    {"type": "step", "id": "0.1", "status": "done", "seconds": 1.2}
    {"type": "step", "id": "0.1", "status": "failed", "seconds": 1.2, "error": "what is wrong"}
    {"type": "output", "id": "0.1", "stream": "stdout", "text": "..."}
    {"type": "progress", "id": "0.0", "message": {...}}             docker's, of a pull
    {"type": "warning", "text": "...", "line": 3}
    {"type": "image", "id": "sha256:...", "names": ["app:latest"], "seconds": 3.4}

A stage's step 0 is its base. A stage is told again when its base brings ``ONBUILD`` steps, which come first then.
Not here: how it looks (``text.build``).
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_containers.errors import ContainersError

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


class Cancelled(ContainersError):
    """Another step failed, or the user pressed stop: this one need not go on."""


class Events:
    """Events on their way from the threads that send them to the one that :meth:`tell` runs in."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def send(self, type_: str, **values: Any) -> None:
        """Send one; from any thread."""
        self._queue.put({"type": type_, **values})

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Tell that a step begins and, after the block, how it ended; the block may say that it was ``cached``."""
        begun = time.monotonic()
        end = {"status": "done"}
        self.send("step", id=name, status="running")
        try:
            yield lambda status: end.update(status=status)
        except Cancelled:
            end = {"status": "canceled"}
            raise
        except BaseException as error:
            end = {"status": "failed", "error": error.what if isinstance(error, ContainersError) else str(error)}
            raise
        finally:
            self.send("step", id=name, seconds=time.monotonic() - begun, **end)

    def end(self) -> None:
        """No more will come."""
        self._queue.put(None)

    def tell(self, on_event: OnEvent) -> None:
        """Pass events on until :meth:`end`."""
        while (event := self._queue.get()) is not None:
            on_event(event)


def step_id(stage: int, number: int) -> str:
    """The name of a step; *number* 0 is the stage's base."""
    return f"{stage}.{number}"
