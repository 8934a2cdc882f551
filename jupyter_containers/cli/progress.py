"""How a verb shows long work: bars on a terminal, lines elsewhere, JSON on demand, one HTML display in a notebook.

:func:`shown` is all that verbs use. Not here: what the bars look like (``text.progress``), who sends messages.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from jupyter_containers.errors import ContainersError, InvalidArgument, suggest
from jupyter_containers.options import Flag
from jupyter_containers.text.progress import Progress, Row, plain

from .out import Out

MODES = ("auto", "tty", "plain", "json", "quiet")
PROGRESS = Flag(
    "progress", "", "string", "progress", "Set type of progress output (auto, tty, plain, json, quiet) (default auto)"
)
_PAUSE = 0.1  # seconds between two drawings

OnEvent = Callable[[dict[str, Any]], None]


@contextmanager
def shown(out: Out, mode: str = "", on_stderr: bool = False) -> Iterator[OnEvent | None]:
    """What to give to a long call as ``on_event``; what was drawn is finished when the block ends.

    Args:
        mode: one of :data:`MODES`; "" is ``auto``.
        on_stderr: standard output has the data themselves.

    Raises:
        InvalidArgument: no such mode.
    """
    if mode not in ("", *MODES):
        mend = suggest(mode, MODES) or f"It is one of: {', '.join(MODES)}."
        raise InvalidArgument(f"unknown progress type {mode!r}", "--progress", mend)
    stream = sys.stderr if on_stderr else sys.stdout
    if mode == "quiet":
        yield None
        return
    drawing = _drawing(out, mode, stream)
    try:
        yield drawing.take
    except ContainersError as error:
        drawing.fail(error)
        raise
    finally:
        drawing.finish()


def _drawing(out: Out, mode: str, stream: TextIO) -> _Drawing:
    if mode == "json":
        return _Json(stream)
    if out.notebook and mode in ("", "auto", "tty") and _in_kernel():
        return _Display()
    if mode == "tty" or (mode in ("", "auto") and stream.isatty()):
        return _Bars(stream)
    return _Lines(stream)


def _in_kernel() -> bool:
    """Whether a front end draws what is displayed; IPython in a terminal would print it again and again."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class _Drawing:
    """Takes messages, one at a time."""

    def __init__(self) -> None:
        self.progress = Progress()

    def take(self, event: dict[str, Any]) -> None:
        """One message."""

    def fail(self, error: ContainersError) -> None:
        """The work ended with *error*, which the caller tells."""

    def finish(self) -> None:
        """The work has ended."""


class _Json(_Drawing):
    """Docker's stream of JSON objects, one a line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def take(self, event: dict[str, Any]) -> None:
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()

    def fail(self, error: ContainersError) -> None:
        self.take({"errorDetail": {"message": str(error)}, "error": str(error)})


class _Lines(_Drawing):
    """Steps and lines; no control characters."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def take(self, event: dict[str, Any]) -> None:
        text = plain(event, *self.progress.add(event))
        if text:
            self._stream.write(text + "\n")
            self._stream.flush()


class _Bars(_Drawing):
    """What moves is a block at the bottom that is drawn anew; what has arrived stays above it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._drawn, self._last = stream, 0, 0.0
        self._told: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        row, line = self.progress.add(event)
        if row is None:
            if line:
                self._draw([line])
        elif row.is_done or time.monotonic() - self._last >= _PAUSE:
            self._draw([])

    def finish(self) -> None:
        self._draw([], last=True)

    def _draw(self, lines: list[str], last: bool = False) -> None:
        width, height = self._size()
        rows = self.progress.rows.values()
        settled = [row for row in rows if row.name not in self._told and (row.is_done or last)]
        self._told |= {row.name for row in settled}
        moving = [row for row in rows if row.name not in self._told][: height - 1]
        text = f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""
        text += "".join(f"{row.text(width - 1)}\n" for row in settled) + "".join(f"{line}\n" for line in lines)
        text += "".join(f"{row.text(width - 1)}\n" for row in moving)
        self._stream.write(text)
        self._stream.flush()
        self._drawn, self._last = len(moving), time.monotonic()

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):  # --progress tty into a pipe
            return 120, 24
        return (size.columns or 120), (size.lines or 24)


class _Display(_Drawing):
    """One display of the cell, updated; its last state stays in the notebook."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._last = 0.0

    def take(self, event: dict[str, Any]) -> None:
        row, line = self.progress.add(event)
        if row is None and not line:
            return
        if row is None or row.is_done or time.monotonic() - self._last >= _PAUSE:
            self._draw()

    def finish(self) -> None:
        if self.progress.rows or self.progress.lines:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._last = time.monotonic()
        if self._handle is None:
            self._handle = display(self.progress, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self.progress)


__all__ = ["MODES", "PROGRESS", "OnEvent", "Row", "shown"]
