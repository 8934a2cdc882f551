"""How a verb shows images that come and go: bars on a terminal, lines elsewhere, JSON on demand, HTML in a notebook.

:func:`shown` is all that verbs use. Not here: what the bars look like (``text.progress``), who sends messages, builds
(``buildview``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from jupyter_containers.errors import ContainersError
from jupyter_containers.text.progress import Progress, plain

from .drawing import MODES, PAUSE, PROGRESS, Block, Display, Drawing, Event, Json, OnEvent, drawing
from .out import Out


@contextmanager
def shown(out: Out, mode: str = "", on_stderr: bool = False) -> Iterator[OnEvent | None]:
    """What to give to a long call as ``on_event``; what was drawn is finished when the block ends.

    Args:
        mode: one of :data:`MODES`; "" is ``auto``.
        on_stderr: standard output has the data themselves.

    Raises:
        InvalidArgument: no such mode.
    """
    found = drawing(_KINDS, out, mode, sys.stderr if on_stderr else sys.stdout)
    if mode == "quiet":
        yield None
        return
    try:
        yield found.take
    except ContainersError as error:
        found.fail(error)
        raise
    finally:
        found.finish()


class _Lines(Drawing):
    """Steps and lines; no control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._progress, self._stream = Progress(), stream

    def take(self, event: Event) -> None:
        text = plain(event, *self._progress.add(event))
        if text:
            self._stream.write(text + "\n")
            self._stream.flush()


class _Bars(Drawing):
    """What moves is drawn anew at the bottom; what has arrived stays above it."""

    def __init__(self, stream: TextIO) -> None:
        self._progress, self._block, self._last = Progress(), Block(stream), 0.0
        self._told: set[str] = set()

    def take(self, event: Event) -> None:
        row, line = self._progress.add(event)
        if row is None:
            if line:
                self._draw([line])
        elif row.is_done or time.monotonic() - self._last >= PAUSE:
            self._draw([])

    def finish(self) -> None:
        self._draw([], last=True)

    def _draw(self, lines: list[str], last: bool = False) -> None:
        width, height = self._block.size
        rows = self._progress.rows.values()
        settled = [row for row in rows if row.name not in self._told and (row.is_done or last)]
        self._told |= {row.name for row in settled}
        moving = [row for row in rows if row.name not in self._told][: height - 1]
        above = [*(row.text(width - 1) for row in settled), *lines]
        self._block.draw(above, [row.text(width - 1) for row in moving])
        self._last = time.monotonic()


class _Cell(Drawing):
    """One display of the cell, updated."""

    def __init__(self, _stream: TextIO) -> None:
        self._progress, self._display, self._last = Progress(), Display(), 0.0

    def take(self, event: Event) -> None:
        row, line = self._progress.add(event)
        if row is None and not line:
            return
        if row is None or row.is_done or time.monotonic() - self._last >= PAUSE:
            self._draw()

    def finish(self) -> None:
        if self._progress.parts:
            self._draw()

    def _draw(self) -> None:
        self._last = time.monotonic()
        self._display.draw(self._progress)


_KINDS: dict[str, Callable[[TextIO], Drawing]] = {"json": Json, "plain": _Lines, "tty": _Bars, "display": _Cell}

__all__ = ["MODES", "PROGRESS", "OnEvent", "shown"]
