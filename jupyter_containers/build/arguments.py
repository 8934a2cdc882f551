"""What follows an instruction's keyword on its line: flags, and arguments in the form that the instruction takes.

As BuildKit's ``parser/split_command.go`` and ``line_parsers.go``, but characters are characters there: BuildKit reads
flags byte by byte and breaks those that are not ASCII. Nothing is expanded and no flag is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import SPACES

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_EXEC_FORM = 'The exec form is a JSON list of strings in double quotes, as in ["ls", "-l"].'
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Arguments:
    """An instruction's arguments.

    Args:
        words: the words; of ``ENV`` and ``LABEL`` by turns a name, a value and what stood between (``=`` or nothing).
        json: they were written as a JSON list.
    """

    words: tuple[str, ...] = ()
    json: bool = False


NONE = Arguments()


def split_line(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """Keyword, flags and the rest of an instruction's line."""
    keyword, *rest = _BLANKS.split(line.strip(SPACES), maxsplit=1)
    flags, text = split_flags(rest[0], escape) if rest else ((), "")
    return keyword, flags, text.strip(SPACES)


def split_flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The words at the beginning that start with ``--``, their quotes taken away, and the rest; ``--`` ends them."""
    flags: list[str] = []
    at = 0
    while True:
        at = _skip_spaces(line, at)
        if not line.startswith("--", at):
            return tuple(flags), line[at:]
        flag, at = _flag(line, at, escape)
        if flag == "--":
            return tuple(flags), line[at:]
        flags.append(flag)


def split_words(text: str, escape: str) -> tuple[str, ...]:
    """Words between spaces; quotes and escapes keep spaces in a word and stay in it."""
    words = []
    at = _skip_spaces(text, 0)
    while at < len(text):
        word, at = _word(text, at, escape)
        words += [word] if word else []
        at = _skip_spaces(text, at)
    return tuple(words)


def parse(keyword: str, text: str, escape: str) -> Arguments:
    """The arguments *text* of an instruction; of an unknown one none.

    Raises:
        Fault: a JSON list that is not of strings, or a name without a value.
    """
    form = _FORMS.get(keyword.upper())
    return form(text, escape) if form and text else NONE


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACES:
        at += 1
    return at


def _flag(line: str, at: int, escape: str) -> tuple[str, int]:
    """The word at *at* without its quotes and escapes, and where it ends."""
    word: list[str] = []
    quote = ""
    while at < len(line) and (quote or line[at] not in SPACES):
        character = line[at]
        if character == quote or (not quote and character in "'\""):
            quote = "" if quote else character
        elif character == escape:
            at += 1
            word.append(line[at : at + 1])
        else:
            word.append(character)
        at += 1
    return "".join(word), at


def _word(text: str, at: int, escape: str) -> tuple[str, int]:
    """The word at *at* as written, and where it ends; an escape character at the very end is dropped."""
    start, quote = at, ""
    while at < len(text) and (quote or text[at] not in SPACES):
        character = text[at]
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == escape and quote != "'":
            if at + 1 == len(text):
                return text[start:at], at + 1
            at += 1
        at += 1
    return text[start:at], at


def _names(text: str, escape: str) -> Arguments:
    return Arguments(split_words(text, escape))


def _pairs(keyword: str) -> Callable[[str, str], Arguments]:
    """``NAME=VALUE...``; where the first word has no ``=``, the old ``NAME VALUE``."""

    def parse_pairs(text: str, escape: str) -> Arguments:
        words = split_words(text, escape)
        if not words or "=" not in words[0]:
            return Arguments(_old_pair(keyword, text))
        return Arguments(tuple(part for word in words for part in _pair(word)))

    return parse_pairs


def _old_pair(keyword: str, text: str) -> tuple[str, str, str]:
    name, *value = _BLANKS.split(text, maxsplit=1)
    if not value:
        raise Fault(f"{keyword} must have two arguments", name, f"Write {keyword} {name:.40}=VALUE.")
    return name, value[0], ""


def _pair(word: str) -> Iterator[str]:
    name, separator, value = word.partition("=")
    if not separator:
        raise Fault(f"can't find = in {word!r:.80}", word, 'The form is NAME=VALUE; quote values with spaces: A="x y".')
    yield from (name, value, "=")


def _text(text: str, _: str) -> Arguments:
    return Arguments((text,))


def _blank_separated(text: str, _: str) -> Arguments:
    return Arguments(tuple(_BLANKS.split(text)))


def _list_or_text(text: str, _: str) -> Arguments:
    return _json_list(text) or Arguments((text,))


def _list_or_words(text: str, _: str) -> Arguments:
    return _json_list(text) or Arguments(tuple(_BLANKS.split(text)))


def _healthcheck(text: str, _: str) -> Arguments:
    """``NONE``, or a kind and a command in shell or exec form."""
    kind = text[: next((at for at, character in enumerate(text) if character in SPACES), len(text))]
    rest = text[len(kind) :].lstrip(SPACES)
    command = _list_or_text(rest, _) if rest else NONE
    return Arguments((kind, *command.words), command.json)


def _json_list(text: str) -> Arguments | None:
    """A JSON list of strings; ``None`` where it is not JSON at all, which is then a shell's text, as docker has it."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text, parse_constant=_no_constant, parse_int=float)
    except (ValueError, RecursionError):
        return None
    if wrong := [word for word in words if not isinstance(word, str)]:
        near = json.dumps(wrong[0]) if isinstance(wrong[0], (bool, type(None))) else ""
        raise Fault("a JSON list must be of strings only", near or "[", _EXEC_FORM)
    return Arguments(tuple(_SURROGATE.sub("\ufffd", word) for word in words), True)


def _no_constant(name: str) -> None:
    """NaN and its like, which Python would read and JSON doesn't have."""
    raise ValueError(name)


_FORMS: dict[str, Callable[[str, str], Arguments]] = {
    "ADD": _list_or_words, "ARG": _names, "CMD": _list_or_text, "COPY": _list_or_words, "ENTRYPOINT": _list_or_text,
    "ENV": _pairs("ENV"), "EXPOSE": _blank_separated, "FROM": _blank_separated, "HEALTHCHECK": _healthcheck,
    "LABEL": _pairs("LABEL"), "MAINTAINER": _text, "RUN": _list_or_text, "SHELL": _list_or_text, "STOPSIGNAL": _text,
    "USER": _text, "VOLUME": _list_or_words, "WORKDIR": _text,
}  # fmt: skip
