"""Places in a Dockerfile, and errors that show them.

An instruction keeps its :class:`Location`, so that whoever finds a fault later (while it is expanded, planned or
carried out) can still show the lines. Not here: what is a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from jupyter_containers.build.events import Cancelled
from jupyter_containers.errors import (
    ContainersError,
    DockerfileError,
    ImageNotFound,
    RegistryError,
    StorageFull,
    suggest,
)

_RULE = "-" * 20


class Fault(Exception):
    """A fault found by one who does not know the place: :meth:`Location.error` makes the error of it.

    Args:
        what: one sentence without a full stop.
        near: the word of the text that is at fault; the caret is put under it.
        mend: full sentences.
    """

    def __init__(self, what: str, near: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what, self.near, self.mend = what, near, mend


@dataclass(frozen=True)
class Source:
    """A text and what it is called in errors: ``Dockerfile``, a path, ``--change``."""

    text: str = field(repr=False)
    name: str = "Dockerfile"

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return [line.rstrip("\r") for line in self.text.split("\n")]


@dataclass(frozen=True)
class Location:
    """The lines that an instruction lies on, its here-documents and continuations included.

    Args:
        first: number of the first line, from 1.
        last: number of the last line.
        source: the text, to show the lines in errors.
    """

    first: int
    last: int
    source: Source = field(default=Source(""), repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.source.name}:{self.first}"

    def error(self, what: str, near: str = "", mend: str = "") -> DockerfileError:
        """The error *what* at the word *near*; at the instruction's first word where *near* is not in its lines."""
        line, column = self._find(near)
        where = f"{self.source.name}:{line}"
        return DockerfileError(what, where, mend, line, column, excerpt(self, line, column))

    def fault(self, fault: Fault) -> DockerfileError:
        """The error for a *fault* of this instruction."""
        return self.error(fault.what, fault.near, fault.mend)

    def _find(self, near: str) -> tuple[int, int]:
        """Line and column, both from 1."""
        shown = self.source.lines[self.first - 1 : self.last]
        for word in (near, near[:12]):  # a long one may go on on the next line
            for number, line in enumerate(shown, self.first):
                if word and word in line:
                    return number, _column(line, word)
        text = shown[0] if shown else ""
        return self.first, len(text) - len(text.lstrip()) + 1


def excerpt(location: Location, line: int, column: int) -> str:
    """The lines around as BuildKit prints them: numbers, ``>>>`` at the instruction's own, a caret under *column*.

    Long instructions are cut to the lines near *line*, long lines to what a screen shows.
    """
    first, last = max(location.first, line - 5), min(location.last, line + 5)
    pad = 2 if last > first else 4
    lines = location.source.lines
    shown = []
    for number in range(max(1, first - pad // 2), min(len(lines), last + pad // 2) + 1):
        mark = ">>>" if location.first <= number <= location.last else "   "
        text, at = _window(lines[number - 1], column if number == line else 1)
        shown.append(f" {number:3d} | {mark} {text}".rstrip())
        if number == line:
            shown.append(f"     |     {_blank(text[: at - 1])}^")
    return "\n".join([f"{location.source.name}:{line}", _RULE, *shown, _RULE])


@contextmanager
def located(location: Location, near: str = "") -> Iterator[None]:
    """What fails inside is said at this place, at the word *near* of it: faults, and errors that know no Dockerfile."""
    try:
        yield
    except (DockerfileError, Cancelled, StorageFull):
        raise
    except Fault as fault:
        raise location.fault(fault) from None
    except ContainersError as error:
        says_where = not error.where or isinstance(error, (ImageNotFound, RegistryError))
        what = error.what if says_where else f"{error.where}: {error.what}"
        raise location.error(what, near or error.where, error.mend) from error


def suggestion(word: str, candidates: Collection[str], prefix: str = "") -> str:
    """``Did you mean X?``, or what can be written where nothing is near; case does not count."""
    near = suggest(word.upper(), [candidate.upper() for candidate in candidates])
    found = next((one for one in candidates if near == f"Did you mean {one.upper()}?"), None)
    known = ", ".join(f"{prefix}{candidate}" for candidate in candidates)
    return f"Did you mean {prefix}{found}?" if found else f"Known are {known}."


def _column(line: str, near: str) -> int:
    """Where *near* stands as a word of its own, else where it first occurs; from 1."""
    start = line.find(near)
    while start >= 0:
        end = start + len(near)
        before, after = line[max(0, start - 1) : start], line[end : end + 1]
        if not (before.isalnum() or after.isalnum()):
            return start + 1
        start = line.find(near, start + 1)
    return line.find(near) + 1


def _window(line: str, column: int, width: int = 160) -> tuple[str, int]:
    """At most *width* characters of a line that contain *column*, and the column's place in them."""
    if len(line) <= width:
        return line, column
    start = max(0, min(column - width // 2, len(line) - width))
    return line[start : start + width], column - start


def _blank(text: str) -> str:
    """Spaces as wide as *text*: its tabs stay, so that the caret stands where it should."""
    return "".join("\t" if character == "\t" else " " for character in text)
