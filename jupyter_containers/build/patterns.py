"""Patterns of names: Go's ``filepath.Match`` for COPY and ADD, and moby's patternmatcher for ``.dockerignore``.

Pure. A name is text with ``/`` between its parts and none in front. Both kinds know ``*``, ``?``, ``[a-z]``,
``[^a-z]`` and ``\\``; only the second knows ``**`` and ``!``, and a pattern of it that matches a directory matches all
beneath. Not here: walking directories (``selection``).
https://pkg.go.dev/path/filepath#Match
https://docs.docker.com/build/concepts/context/#dockerignore-files
https://github.com/moby/patternmatcher
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from jupyter_containers.errors import InvalidArgument

Verdicts = tuple[bool, ...]  # of each group of patterns, about a directory
_Fits = Callable[[str], re.Match[str] | None]


def clean(path: str) -> str:
    """*path* in its shortest form, by its letters alone: Go's ``filepath.Clean``.

    >>> clean("a//b/./../c/"), clean("/../x"), clean("../x"), clean("")
    ('a/c', '/x', '../x', '.')
    """
    parts: list[str] = []
    root = "/" if path.startswith("/") else ""
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and root):
            parts.append(part)
    return root + "/".join(parts) or "."


def has_wildcards(name: str) -> bool:
    """Whether *name* has an unescaped ``*``, ``?`` or ``[``."""
    return bool(re.search(r"[*?[]", re.sub(r"\\.", "", name, flags=re.DOTALL)))


def matcher(pattern: str) -> re.Pattern[str]:
    """What ``filepath.Match`` takes *pattern* for, of one part of a name.

    A class never stands for ``/`` here, as parts have none.

    Raises:
        InvalidArgument: the pattern is malformed.
    """
    return re.compile(_joined(list(_tokens(pattern))), re.DOTALL)


def _joined(tokens: Sequence[tuple[str, str]]) -> str:
    """One regular expression of tokens without ``**``.

    What stands between two stars is found where it first is, for good: a pattern of many stars takes no longer.
    """
    pieces = [""]
    for text, regex in tokens:
        if text == "*":
            pieces.append("")
        else:
            pieces[-1] += regex
    first, *rest = pieces
    return (
        first + "".join(f"(?>[^/]*?{piece})" for piece in rest[:-1]) + "".join(f"[^/]*{piece}" for piece in rest[-1:])
    )


def _tokens(pattern: str) -> Iterable[tuple[str, str]]:
    """Each piece of *pattern* and the regular expression that means the same."""
    at = 0
    while at < len(pattern):
        start, letter = at, pattern[at]
        at += 1
        if letter == "*":
            regex = "[^/]*"
        elif letter == "?":
            regex = "[^/]"
        elif letter == "[":
            at, regex = _class(pattern, at)
        else:
            at, regex = _letter(pattern, start)
        yield pattern[start:at], regex


def _letter(pattern: str, at: int, forbidden: str = "") -> tuple[int, str]:
    """The end and the regular expression of the one letter at *at*, which may be escaped."""
    if pattern[at : at + 1] == "\\":
        at += 1
    elif pattern[at : at + 1] in forbidden:
        raise _bad(pattern, "a class in it is malformed")
    if at >= len(pattern):
        raise _bad(pattern, "it ends after a backslash" if pattern.endswith("\\") else "a class in it has no end")
    return at + 1, re.escape(pattern[at])


def _class(pattern: str, at: int) -> tuple[int, str]:
    """The end and the regular expression of the class that begins before *at*."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while not ranges or pattern[at : at + 1] != "]":
        at, low = _letter(pattern, at, "-]")
        high = low
        if pattern[at : at + 1] == "-":
            at, high = _letter(pattern, at + 1, "-]")
        if low[-1] > high[-1]:
            raise _bad(pattern, f"a range in it ends before it begins: {low[-1]}-{high[-1]}")
        ranges.append(f"{low}-{high}")
        if at >= len(pattern):
            raise _bad(pattern, "a class in it has no end")
    return at + 1, f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]"


def _bad(pattern: str, why: str) -> InvalidArgument:
    mend = "A `[`, `*` or `?` that is meant as such is written `[[]`, `[*]`, `[?]`."
    return InvalidArgument(f"not a pattern: {why}", repr(pattern), mend)


class Ignore:
    """Patterns that leave names out, as ``.dockerignore`` and ``--exclude`` have them; the last one that fits decides.

    Patterns of one kind in a row are one regular expression. Verdicts about a directory are handed down to what is in
    it, as moby's ``MatchesUsingParentResults`` does.

    Args:
        patterns: as written; ``!`` in front takes names back in.
        where: what errors name: the file.

    Raises:
        InvalidArgument: a pattern is malformed.
    """

    def __init__(self, patterns: Iterable[str] = (), where: str = "") -> None:
        self.patterns, self.where = tuple(patterns), where
        self._rules = [rule for rule in (_rule(pattern, where) for pattern in self.patterns) if rule]
        self._groups = _grouped(self._rules)
        self.start: Verdicts = (False,) * len(self._groups)

    def __bool__(self) -> bool:
        return bool(self._groups)

    @classmethod
    def parse(cls, data: bytes, where: str = ".dockerignore") -> Ignore:
        """The patterns of a ``.dockerignore``: one a line, ``#`` in front of a comment; a leading ``/`` is dropped."""
        lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")
        found = (_line(line.strip()) for line in lines if not line.startswith("#"))
        return cls(filter(None, found), where)

    def judge(self, name: str, above: Verdicts) -> tuple[bool, Verdicts]:
        """Whether *name* is left out, and the verdicts to hand down where it is a directory.

        Args:
            above: those of the directory it is in; :attr:`start` in the root.
        """
        left_out, verdicts = False, list(above)
        for number, (negated, fits) in enumerate(self._groups):
            if not verdicts[number] and negated == left_out:
                verdicts[number] = fits(name) is not None
            if verdicts[number]:
                left_out = not negated
        return left_out, tuple(verdicts)

    def walked(self, name: str) -> tuple[bool, Verdicts]:
        """As :meth:`judge` for a name anywhere, by way of the directories that it is in."""
        left_out, verdicts, parts = False, self.start, name.split("/") if name else []
        for end in range(len(parts)):
            left_out, verdicts = self.judge("/".join(parts[: end + 1]), verdicts)
        return left_out, verdicts

    def may_return(self, folder: str) -> bool:
        """Whether a ``!`` pattern may take something back in beneath *folder*, which is left out."""
        return any(negated and _reaches(pattern, folder) for negated, pattern in self._rules)

    def may_fit(self, folder: str) -> bool:
        """Whether a pattern may fit something beneath *folder*."""
        return any(_reaches(pattern, folder) for _, pattern in self._rules)


def _line(line: str) -> str:
    """A line of ``.dockerignore``, its pattern cleaned; empty for none."""
    negated = line.startswith("!")
    pattern = line[negated:].strip()
    if pattern:
        pattern = clean(pattern)
        pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
    return "!" * negated + pattern


def _rule(pattern: str, where: str) -> tuple[bool, str] | None:
    """Whether *pattern* takes back in, and the pattern itself; None for an empty one."""
    pattern = pattern.strip()
    if not pattern:
        return None
    pattern = clean(pattern)
    negated = pattern.startswith("!")
    if pattern == "!":
        raise InvalidArgument("a `!` needs a pattern behind it", where, "Write `!NAME`, or remove the line.")
    try:
        list(_tokens(pattern[negated:]))
    except InvalidArgument as error:
        error.where = f"{where}: {error.where}" if where else error.where
        raise
    return negated, pattern[negated:]


def _grouped(rules: Sequence[tuple[bool, str]]) -> list[tuple[bool, _Fits]]:
    """Rules of one kind in a row as one test."""
    groups: list[tuple[bool, list[str]]] = []
    for negated, pattern in rules:
        if not groups or groups[-1][0] != negated:
            groups.append((negated, []))
        groups[-1][1].append(_expression(pattern))
    return [(negated, re.compile("|".join(several), re.DOTALL).fullmatch) for negated, several in groups]


def _expression(pattern: str) -> str:
    """The regular expression of a pattern with ``**``, by the rules of patternmatcher's ``compile``."""
    tail = pattern[2:]
    if pattern.startswith("**") and not re.search(r"[*?\\[\]]", tail):
        # Go compares ends: `**x` fits any name that ends with x, `**/x` also x itself.
        return f"(?:.*{re.escape(tail)}|{re.escape(tail[1:])})" if tail.startswith("/") else f".*{re.escape(tail)}"
    found, tokens, at, start = "", list(_tokens(pattern)), 0, 0
    while at < len(tokens):
        if [text for text, _ in tokens[at : at + 2]] != ["*", "*"]:
            at += 1
            continue
        found += _joined(tokens[start:at])
        at = start = at + 2 + (at + 2 < len(tokens) and tokens[at + 2][0] == "/")
        found += "(?:.*/)?" if at < len(tokens) else ".*"
    return f"(?:{found}{_joined(tokens[start:])})"


def _reaches(pattern: str, folder: str) -> bool:
    """Whether *pattern* may fit names beneath *folder* (part by part; ``**`` may be anything)."""
    for part, name in zip(pattern.split("/"), folder.split("/"), strict=False):
        if "**" in part:
            return True
        if not matcher(part).fullmatch(name):
            return False
    return True
