"""What a step of a build prints, as lines, of which the last ones are kept. Pure.

Programs draw progress bars by ``\\r``, colour what they print, and can be hostile: a line is what a screen would show
of it at its end, without escape sequences and with other control characters escaped. Not here: where lines are shown.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from .neutral import without_ansi

MOST_LINES = 500  # that are kept of a step: what is shown stays in notebooks
LONGEST = 1_000  # characters of a line that is kept
_UNENDED = 65_536  # characters of a line that are waited for


class Line(NamedTuple):
    """One line, and the seconds from the step's beginning until it came."""

    at: float
    text: str


@dataclass
class Output:
    """The lines of one step.

    Attributes:
        lines: the last ones. count: of all that came.
    """

    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    count: int = 0
    _parts: dict[str, str] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """How many lines came and are not kept."""
        return self.count - len(self.lines)

    def add(self, stream: str, text: str, at: float) -> list[Line]:
        """Take in a piece of ``stdout`` or ``stderr``; the lines that it ends, whole."""
        *whole, part = (self._parts.get(stream, "") + text).split("\n")
        if len(part) > _UNENDED:
            whole, part = [*whole, part], ""
        self._parts[stream] = _open(part)
        return [self._keep(Line(at, drawn(line))) for line in whole]

    def end(self, at: float) -> list[Line]:
        """No more will come; the lines that had no end until now."""
        parts, self._parts = self._parts, {}
        return [self._keep(Line(at, drawn(part))) for part in parts.values() if part]

    def last(self, most: int) -> list[str]:
        """The last lines, with those that have no end yet."""
        found = [line.text for line in self.lines][-most:]
        return [*found, *(_cut(drawn(part)) for part in self._parts.values() if part)][-most:]

    def _keep(self, line: Line) -> Line:
        self.lines.append(Line(line.at, _cut(line.text)))
        self.count += 1
        return line


def drawn(line: str) -> str:
    r"""What stands on the screen after a line without its end.

    >>> drawn("10%\r\x1b[32m20%\x1b[0m\r")
    '20%'
    """
    return without_ansi(line.rstrip("\r").rpartition("\r")[2])


def _open(part: str) -> str:
    """Of a line without an end what still matters; ``\\r`` at its end only tells where the next character goes."""
    body = part.rstrip("\r")
    return body.rpartition("\r")[2] + part[len(body) :][:1]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
