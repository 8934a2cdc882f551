"""The functions of templates: Go's own and docker's. Source: pkg.go.dev/text/template, docker/cli ``templates``.

``and`` and ``or`` are evaluated lazily and stand in ``execute``. A function raises :class:`ValueError` with Go's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .printf import go_type, sprintf
from .values import Fields, shown, to_json, truth


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise ValueError("index of untyped nil")
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ValueError(f"value has type {go_type(key)}; should be string")
        missing = "" if all(isinstance(item, str) for item in value.values()) else None
        return value.get(key, missing)
    if isinstance(value, (list, tuple, str)):
        place = _place(key, len(value))
        return value.encode()[place] if isinstance(value, str) else value[place]
    raise ValueError(f"can't index item of type {go_type(value)}")


def _place(key: Any, length: int, last: bool = False) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise ValueError(f"cannot index slice/array with type {go_type(key)}")
    if not 0 <= key < length + last:
        raise ValueError(f"index out of range: {key}")
    return key


def _slice(value: Any, *places: Any) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"can't slice item of type {go_type(value)}")
    first, last, *_ = [*(_place(place, len(value), True) for place in places), *([0, len(value)][len(places) :])]
    if first > last:
        raise ValueError(f"invalid slice index: {first} > {last}")
    return value[first:last]


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if not isinstance(value, (list, tuple, Mapping)):
        raise ValueError(f"len of type {go_type(value)}" if value is not None else "len of nil pointer")
    return len(value)


def _print(*values: Any) -> str:
    text = ""
    for before, value in zip((None, *values), values, strict=False):
        spaced = text and not isinstance(before, str) and not isinstance(value, str)
        text += (" " if spaced else "") + shown(value, True)
    return text


def _println(*values: Any) -> str:
    return " ".join(shown(value, True) for value in values) + "\n"


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    for other in others:
        if None not in (first, other) and go_type(first) != go_type(other):
            raise ValueError("incompatible types for comparison")
    return first in others


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def function(left: Any, right: Any) -> bool:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if not numbers and not (isinstance(left, str) and isinstance(right, str)):
            raise ValueError("incompatible types for comparison")
        return compare(left, right)

    return function


def _join(values: Any, separator: str = "") -> str:
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"wrong type for value; expected []string; got {go_type(values)}")
    return separator.join(shown(value, True) for value in values)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    import re

    return re.sub(r"(?<![\w'])\w", lambda match: match[0].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _html(*values: Any) -> str:
    from html import escape

    return escape(_print(*values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _js(*values: Any) -> str:
    text = _print(*values).replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
    for mark in "<>&=\n\r\t":
        text = text.replace(mark, f"\\u{ord(mark):04X}")
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _eq,
    "ge": _ordered(lambda a, b: bool(a >= b)),
    "gt": _ordered(lambda a, b: bool(a > b)),
    "html": _html,
    "index": _index,
    "join": _join,
    "js": _js,
    "json": to_json,
    "le": _ordered(lambda a, b: bool(a <= b)),
    "len": _len,
    "lower": str.lower,
    "lt": _ordered(lambda a, b: bool(a < b)),
    "ne": lambda a, b: not _eq(a, b),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": sprintf,
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncate,
    "upper": str.upper,
    "urlquery": _urlquery,
}

# while the head line of a table is made, docker's own functions give their first argument back
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = FUNCTIONS | {
    name: lambda value, *_: value for name in ("json", "split", "join", "title", "lower", "upper", "pad", "truncate")
}
LAZY = frozenset(["and", "or"])
NAMES = frozenset(FUNCTIONS) | LAZY

__all__ = ["FUNCTIONS", "HEADER_FUNCTIONS", "LAZY", "NAMES", "Fields"]
