"""The patterns of ``${name#pattern}``, ``${name%pattern}`` and ``${name/pattern/text}``.

``*`` stands for any text, ``?`` for one character, a backslash takes their meaning from ``*``, ``?`` and itself; there
are no brackets. Matching takes time in proportion to the text, whatever the pattern: it goes from star to star, and
never tries the same place twice. Not here: patterns of paths (``COPY *.py``), which have other rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jupyter_containers.build.source import Fault

_TOKEN = re.compile(r"\\[}/]|\\.?|.", re.DOTALL)
_ANY = "[\\s\\S]"


@dataclass(frozen=True)
class Wildcard:
    """A pattern, as the regular expressions of what lies between its stars: at least one, each of fixed length."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, pattern: str) -> Wildcard:
        """The pattern that is written so.

        Raises:
            Fault: a backslash before something that has no meaning to lose.
        """
        return cls.from_tokens(_tokens(pattern))

    @classmethod
    def backwards(cls, pattern: str) -> Wildcard:
        """The pattern that matches a reversed text where *pattern* matches the text."""
        return cls.from_tokens(_tokens(pattern)[::-1])

    @classmethod
    def from_tokens(cls, tokens: list[str]) -> Wildcard:
        """The pattern of single regular expressions, ``*`` for a star."""
        parts: list[list[str]] = [[]]
        for one in tokens:
            if one == "*":
                parts.append([])
            else:
                parts[-1].append(one)
        return cls(tuple("".join(part) for part in parts))

    def end(self, text: str, start: int = 0, longest: bool = True) -> int | None:
        """Where a match that begins at *start* ends, the longest or the shortest; None where there is none."""
        first, *others = self.parts
        found = re.compile(first).match(text, start)
        for number, part in enumerate(others, 1):
            if not found:
                return None
            last = longest and number == len(others)
            found = re.compile(f"{_ANY}*{part}" if last else f"{_ANY}*?{part}").match(text, found.end())
        return found.end() if found else None

    def search(self, text: str, start: int = 0) -> tuple[int, int] | None:
        """The first match from *start* on, as long as it can be.

        Where the first place that the first part fits leads nowhere, no later one does: less text is left.
        """
        found = re.compile(self.parts[0]).search(text, start)
        end = self.end(text, found.start()) if found else None
        return (found.start(), end) if found and end is not None else None


def without_prefix(text: str, pattern: str, longest: bool) -> str:
    """``${text#pattern}``, or with *longest* ``${text##pattern}``."""
    end = Wildcard.of(pattern).end(text, longest=longest)
    return text if end is None else text[end:]


def without_suffix(text: str, pattern: str, longest: bool) -> str:
    """``${text%pattern}``, or with *longest* ``${text%%pattern}``."""
    end = Wildcard.backwards(pattern).end(text[::-1], longest=longest)
    return text if end is None else text[: len(text) - end]


def replaced(text: str, pattern: str, new: str, everywhere: bool) -> str:
    """``${text/pattern/new}``, or ``${text//pattern/new}`` for each match, an empty one only where none ended."""
    wildcard = Wildcard.of(pattern)
    out: list[str] = []
    done, at, last_end = 0, 0, -1
    while at <= len(text) and (found := wildcard.search(text, at)):
        start, end = found
        if end > start or start != last_end:
            out += [text[done:start], new]
            done = last_end = end
        if not everywhere:
            break
        at = end + (end == start)
    return "".join(out) + text[done:]


def _tokens(pattern: str) -> list[str]:
    """Regular expressions for single characters, and ``*``."""
    return [_token(match[0], pattern) for match in _TOKEN.finditer(pattern)]


def _token(one: str, pattern: str) -> str:
    if one == "*":
        return one
    if one == "?":
        return _ANY
    if one.startswith("\\") and one[1:] not in ("*", "?", "\\", "}", "/"):
        what = f"invalid escape {one} in the pattern {pattern!r:.80}"
        raise Fault(what, one, "A backslash may stand before * ? \\ } and /.")
    return re.escape(one[-1])
