"""Go's ``fmt.Sprintf`` for the values of templates. Source: pkg.go.dev/fmt."""

from __future__ import annotations

import re
from typing import Any

from .values import shown

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\*|[0-9]+)?(?:\.(?P<precision>\*|[0-9]*))?(?P<verb>.)?", re.DOTALL)
_SHORT = {mark: "\\" + letter for mark, letter in zip('\a\b\f\n\r\t\v"\\', 'abfnrtv"\\', strict=True)}
_INTEGERS = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X", "c": "c"}


def sprintf(form: str, *values: Any) -> str:
    """*form* with *values* filled in; a wrong verb gives Go's ``%!d(string=x)``."""
    rest = list(values)

    def piece(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        if match["verb"] is None:
            return "%!(NOVERB)"
        width, precision = _size(match["width"], rest), _size(match["precision"], rest)
        if not rest:
            return f"%!{match['verb']}(MISSING)"
        return _pad(_verb(match["verb"], match["flags"], precision, rest.pop(0)), match["flags"], width)

    text = _VERB.sub(piece, form)
    if rest:
        extra = ", ".join(f"{go_type(value)}={shown(value, True)}" for value in rest)
        text += f"%!(EXTRA {extra})"
    return text


def _size(text: str | None, rest: list[Any]) -> int | None:
    if text is None:
        return None
    if text == "*":
        value = rest.pop(0) if rest else 0
        return value if isinstance(value, int) else 0
    return int(text or 0)


def _verb(verb: str, flags: str, precision: int | None, value: Any) -> str:
    text = None
    if verb == "v":
        text = shown(value, True)
    elif verb == "T":
        text = go_type(value)
    elif isinstance(value, bool):
        text = shown(value) if verb == "t" else None
    elif isinstance(value, (int, float)):
        text = _number(verb, "+" in flags, precision, value)
    elif verb in "sqxX":
        text = _string(verb, shown(value, True), precision)
    return f"%!{verb}({go_type(value)}={shown(value, True)})" if text is None else text


def _string(verb: str, text: str, precision: int | None) -> str:
    text = text if precision is None else text[:precision]
    if verb == "s":
        return text
    digits = text.encode().hex()
    return quoted(text) if verb == "q" else digits.upper() if verb == "X" else digits


def _number(verb: str, signed: bool, precision: int | None, value: float) -> str | None:
    if verb in _INTEGERS and isinstance(value, int):
        return format(value, ("+" if signed and verb == "d" else "") + _INTEGERS[verb])
    if verb in "feEgG":
        return format(float(value), f".{6 if precision is None else precision}{verb}")
    return None


def _pad(text: str, flags: str, width: int | None) -> str:
    if width is None:
        return text
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags else text.rjust(width)


def go_type(value: Any) -> str:
    """Go's name of the type of *value*."""
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return names.get(type(value), "map[string]interface {}" if isinstance(value, dict) else "[]interface {}")


def quoted(value: str) -> str:
    """*value* as Go's ``%q`` (strconv.Quote)."""
    return (
        '"' + "".join(_SHORT.get(mark) or (mark if mark.isprintable() else _escape(ord(mark))) for mark in value) + '"'
    )


def _escape(code: int) -> str:
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
