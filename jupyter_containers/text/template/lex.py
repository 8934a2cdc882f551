"""A template as pieces: text, and actions as tokens with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import TemplateError


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an action, or a run of ``text``; *at* is its offset in the template."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""
      (?P<space> [ \t\r\n]+ )
    | (?P<string> "(?:[^"\\\n]|\\.)*" )
    | (?P<raw> `[^`]*` )
    | (?P<char> '(?:[^'\\\n]|\\.)+' )
    | (?P<number> [+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?
                 |\.[0-9]+(?:[eE][+-]?[0-9]+)?)(?![\w.]) )
    | (?P<field> \.[^\W\d]\w* )
    | (?P<dot> \. )
    | (?P<variable> \$\w* )
    | (?P<word> [^\W\d]\w* )
    | (?P<mark> := | [=|(),] )
    """,
    re.VERBOSE,
)
_OPEN = re.compile(r"\{\{(?P<trim>-[ \t\r\n])?(?P<comment>/\*)?")
_COMMENT_END = re.compile(r"\*/(?P<trim>[ \t\r\n]-)?\}\}")
_CLOSE = re.compile(r"(?P<trim>[ \t\r\n]-)?\}\}")


def place(source: str, at: int) -> str:
    """``LINE`` of *at*, as Go's parser names places."""
    return f"template: :{source.count(chr(10), 0, at) + 1}"


def tokens(source: str) -> list[Token]:
    """The tokens of *source*; each action is between an ``open`` and a ``close``."""
    found: list[Token] = []
    at, trim = 0, False
    while True:
        match = _OPEN.search(source, at)
        text = source[at : match.start() if match else len(source)]
        text = text.lstrip(" \t\r\n") if trim else text
        if match and match["trim"]:
            text = text.rstrip(" \t\r\n")
        if text:
            found.append(Token("text", text, at))
        if not match:
            return found
        at, trim = _comment(source, match) if match["comment"] else _action(source, match.end(), found)


def _comment(source: str, match: re.Match[str]) -> tuple[int, bool]:
    end = _COMMENT_END.search(source, match.end())
    if not end:
        raise TemplateError(f"{place(source, match.start())}: unclosed comment", parsing=True)
    return end.end(), bool(end["trim"])


def _action(source: str, at: int, found: list[Token]) -> tuple[int, bool]:
    begin = at
    found.append(Token("open", "{{", at))
    while True:
        end = _CLOSE.match(source, at)
        if end:
            found.append(Token("close", "}}", at))
            return end.end(), bool(end["trim"])
        match = _TOKEN.match(source, at)
        if not match:
            raise TemplateError(f"{place(source, begin)}: {_complaint(source, at)}", parsing=True)
        kind = str(match.lastgroup)
        found.append(Token(kind, match[0], at))
        at = match.end()


def _complaint(source: str, at: int) -> str:
    if at >= len(source):
        return "unclosed action"
    mark = source[at]
    if mark == '"':
        return "unterminated quoted string"
    if mark == "`":
        return "unterminated raw quoted string"
    return (
        f"unexpected {mark!r} in command"
        if mark in "{}"
        else f"unrecognized character in action: U+{ord(mark):04X} {mark!r}"
    )
