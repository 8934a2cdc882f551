"""Text to located nodes: directives, comments, continued lines, keywords, here-documents.

As BuildKit's ``parser/parser.go`` and ``directives.go``. What the words mean is ``interpret``'s; an unknown keyword is
its matter, too. All in one pass, with time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from jupyter_containers.build import heredocs
from jupyter_containers.build.arguments import NONE, Arguments, split_line
from jupyter_containers.build.arguments import parse as parse_arguments
from jupyter_containers.build.instructions import Heredoc
from jupyter_containers.build.source import Fault, Location, Source
from jupyter_containers.build.words import SPACES

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\f\r ]*=(.+)")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC_KEYWORDS = ("ADD", "COPY", "RUN")
_LONGEST_LINE = 65535  # bytes; bufio.MaxScanTokenSize


@dataclass(frozen=True)
class Directives:
    """The parser directives, ``# NAME=VALUE`` lines before anything else; empty where not written.

    Args:
        syntax: the front end that the author had in mind; ours is built in.
        escape: the character that escapes and continues lines, a backslash or a backtick.
        check: options of docker's checks.
    """

    syntax: str = ""
    escape: str = "\\"
    check: str = ""


@dataclass(frozen=True)
class Node:
    """One instruction, not yet understood.

    Args:
        location: its lines, those of its here-documents included.
        keyword: as written.
        text: it on one line, comments left out.
        flags: words that start with ``--``, without quotes.
        arguments: the rest; empty for ``ONBUILD``.
        child: of ``ONBUILD`` the instruction inside.
        heredocs: its here-documents, filled.
    """

    location: Location
    keyword: str
    text: str
    flags: tuple[str, ...] = ()
    arguments: Arguments = NONE
    child: Node | None = None
    heredocs: tuple[Heredoc, ...] = ()


def parse(source: Source) -> tuple[Directives, list[Node]]:
    """The directives and nodes of a text.

    Raises:
        DockerfileError: a directive, a line or a here-document is malformed, or there is no instruction.
    """
    directives = _directives(source)
    nodes = list(_Lines(source, directives.escape).nodes())
    if not nodes:
        last = max(1, len(source.lines))
        mend = "The first instruction is FROM IMAGE."
        raise Location(last, last, source).error("the file has no instructions", mend=mend)
    return directives, nodes


def node(line: str, escape: str, location: Location) -> Node:
    """The node of one whole line.

    Raises:
        Fault: its arguments are malformed.
    """
    keyword, flags, rest = split_line(line, escape)
    found = Node(location, keyword, line.strip(SPACES), flags)
    if keyword.upper() != "ONBUILD":
        return replace(found, arguments=parse_arguments(keyword, rest, escape))
    inner = split_line(rest, escape)[0]
    if inner.upper() == "ONBUILD":  # never any deeper: it is refused later
        return replace(found, child=Node(location, inner, rest))
    return replace(found, child=node(rest, escape, location)) if rest else found


class _Lines:
    """Takes physical lines one by one and makes nodes of them."""

    def __init__(self, source: Source, escape: str) -> None:
        self._source, self._escape = source, escape
        self._number = 0
        self._lines = self._counted()

    def nodes(self) -> Iterator[Node]:
        for line in self._lines:
            if _is_comment(line):
                continue
            first = self._number
            text, ended = self._without_continuation(line.rstrip("\r\n").lstrip(SPACES))
            if ended and not text:
                continue
            yield self._node(text if ended else self._continued(text), first)

    def _counted(self) -> Iterator[str]:
        """The lines with their ends; ``_number`` is that of the last one given."""
        text = self._source.text.removeprefix("\ufeff")
        for line in re.findall(r"[^\n]*\n|[^\n]+", text):
            self._number += 1
            if len(line) > _LONGEST_LINE // 4 and len(line.rstrip("\n").encode("utf-8", "replace")) > _LONGEST_LINE:
                raise self._at(self._number).error(f"a line is longer than {_LONGEST_LINE} bytes")
            yield line

    def _continued(self, text: str) -> str:
        """*text* and the lines that continue it; comments and empty lines between don't count."""
        parts = [text]
        for line in self._lines:
            if _is_comment(line) or not line.strip(SPACES):
                continue
            text, ended = self._without_continuation(line.rstrip("\r\n"))
            parts.append(text)
            if ended:
                break
        return "".join(parts)

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        """The line without an escape character at its end, and whether the instruction ends here.

        One that follows another does not continue, as it is an escaped one.
        """
        text = line.rstrip(" \t")
        if text.endswith(self._escape) and not text[:-1].endswith(self._escape):
            return text[:-1], False
        return line, True

    def _node(self, line: str, first: int) -> Node:
        location = self._at(first)
        try:
            found = node(line, self._escape, location)
            documents = tuple(self._documents(found, line))
        except Fault as fault:
            raise self._at(first).fault(fault) from None
        return _located(replace(found, heredocs=documents), self._at(first))

    def _documents(self, found: Node, line: str) -> Iterator[Heredoc]:
        inner = found.child or found
        if "<<" not in line or inner.keyword.upper() not in _HEREDOC_KEYWORDS or inner.arguments.json:
            return
        for document in heredocs.announced(line):
            yield heredocs.filled(document, self._lines)

    def _at(self, first: int) -> Location:
        return Location(first, self._number, self._source)


def _located(found: Node, location: Location) -> Node:
    child = replace(found.child, location=location, heredocs=found.heredocs) if found.child else None
    return replace(found, location=location, child=child)


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACES).startswith("#")


def _directives(source: Source) -> Directives:
    """The directives at the top; as for docker, ``syntax`` and ``check`` may also stand below a ``#!`` line."""
    lines = source.text.removeprefix("\ufeff").split("\n")[: len(_DIRECTIVES) + 2]
    below = 1 if lines[0].startswith("#!") else 0
    found: dict[str, str] = {}
    for number, line in enumerate(lines[below:], below + 1):
        name, value = _directive(line)
        if name not in _DIRECTIVES:
            break
        location = Location(number, number, source)
        if name in found:
            raise location.error(f"only one {name} parser directive can be used", name)
        found[name] = value.partition(" ")[0]
        if name == "escape" and not below and value not in ("\\", "`"):
            raise location.error(f"invalid escape token {value!r:.40}", value, "It can be \\ or `.")
    if below:
        found.pop("escape", None)  # for it a `#!` line is a comment, and no directive comes after one
    return Directives(**found)


def _directive(line: str) -> tuple[str, str]:
    text = line.rstrip("\r").lstrip(SPACES)
    match = _DIRECTIVE.fullmatch(text[1:].lstrip(SPACES)) if text.startswith("#") else None
    return (match[1].lower(), match[2].strip("\t\f\r ")) if match else ("", "")
