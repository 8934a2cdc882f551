"""What a container prints, on its way into the cell: in order, promptly, and not more often than a screen can show.

Progress bars redraw a line by ``\\r`` a thousand times; only what a pause of 50 ms leaves standing is passed on.
"""

from __future__ import annotations

import sys
import time

_WINDOW = 0.05  # seconds


class Stream:
    """Writes to ``sys.stdout`` and ``sys.stderr``; nothing with *quiet*."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._held: list[tuple[str, str]] = []
        self._last = 0.0

    def write(self, name: str, text: str) -> None:
        """One piece of ``stdout`` or ``stderr``."""
        if self._quiet:
            return
        now = time.monotonic()
        if "\r" not in text and not self._held:
            self._emit(name, text)
            return
        self._held.append((name, text))
        if now - self._last >= _WINDOW:
            self.flush()
            self._last = now

    def flush(self) -> None:
        """Pass on what is held back."""
        merged: list[tuple[str, str]] = []
        for name, text in self._held:
            if merged and merged[-1][0] == name:
                merged[-1] = (name, merged[-1][1] + text)
            else:
                merged.append((name, text))
        self._held = []
        for name, text in merged:
            self._emit(name, coalesced(text))

    @staticmethod
    def _emit(name: str, text: str) -> None:
        target = sys.stderr if name == "stderr" else sys.stdout
        target.write(text)
        target.flush()


def coalesced(text: str) -> str:
    """*text* without the parts of lines that a later ``\\r`` of the same line overwrites.

    >>> coalesced("10%\\r20%\\r30%")
    '\\r30%'
    >>> coalesced("one\\r\\ntwo\\n")
    'one\\r\\ntwo\\n'
    """
    lines = text.split("\n")
    return "\n".join(_last_draw(line) for line in lines)


def _last_draw(line: str) -> str:
    body, ending = (line[:-1], "\r") if line.endswith("\r") else (line, "")
    before, returned, last = body.rpartition("\r")
    return ("\r" if returned or before else "") + last + ending
