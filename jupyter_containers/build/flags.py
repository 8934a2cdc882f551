"""The flags of instructions, ``--name=value`` words, and their values.

As BuildKit's ``instructions/bflag.go``: a flag may be given once, unless it is a list. Which instruction has which
flags says ``interpret``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from jupyter_containers.build.source import Fault, suggestion

SWITCH, TEXT, LIST = "switch", "text", "list"
Kinds = Mapping[str, str]

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]{1,19}(?:\.[0-9]{0,19})?|\.[0-9]{1,19})(ns|us|µs|μs|ms|s|m|h)")
_MINIMUM = _NANOSECONDS["ms"]


@dataclass(frozen=True)
class Flags:
    """The flags that were written, by name, each with its values."""

    given: Mapping[str, tuple[str, ...]]

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag."""
        return self.given.get(name, (default,))[0]

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a list."""
        return self.given.get(name, ())

    def switch(self, name: str) -> bool | None:
        """Whether a switch is on; ``None`` where it is not written."""
        return None if name not in self.given else self.given[name][0] == "true"


def read(words: Iterable[str], kinds: Kinds) -> Flags:
    """The flags *words* of an instruction that knows those in *kinds*.

    Raises:
        Fault: an unknown one (with the nearest), one given twice, or a value that is missing or none.
    """
    given: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, separator, value = word.removeprefix("--").partition("=")
        if name not in kinds:
            mend = suggestion(name, kinds, "--") if kinds else "This instruction has no flags."
            raise Fault(f"unknown flag: --{name:.80}", f"--{name}", mend)
        if name in given and kinds[name] != LIST:
            raise Fault(f"duplicate flag specified: --{name}", word)
        given[name] = (*given.get(name, ()), _value(name, kinds[name], value, bool(separator)))
    return Flags(given)


def choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """*value* if it is one of *choices*."""
    if value not in choices:
        raise Fault(f"invalid {name} {value!r:.80}", value or name, suggestion(value, choices))
    return value


def nanoseconds(flags: Flags, name: str) -> int:
    """A duration like ``1m30s`` (Go's time.ParseDuration) of at least a millisecond; 0 where there is none or 0."""
    text = flags.text(name)
    if text in ("", "0", "+0", "-0"):
        return 0
    parts = _PART.findall(text)
    if "".join(map("".join, parts)) != text.lstrip("+-") or not parts or len(text) - len(text.lstrip("+-")) > 1:
        raise Fault(
            f"invalid duration {text!r:.40} of --{name}", text, "Write a number and h, m, s or ms, as in 1m30s."
        )
    sign = -1 if text.startswith("-") else 1
    found = sign * int(sum(Fraction(number) * _NANOSECONDS[unit] for number, unit in parts))
    if found and not _MINIMUM <= found < 1 << 63:
        raise Fault(f"the duration {text!r:.40} of --{name} must be at least 1ms and less than 292 years", text)
    return found


def count(flags: Flags, name: str) -> int:
    """A whole number that is not negative; 0 where there is none."""
    text = flags.text(name) or "0"
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not 0 <= int(text) < 1 << 31:
        raise Fault(f"invalid number {text!r:.40} of --{name}", text, "Write a whole number, 0 or more.")
    return int(text)


def _value(name: str, kind: str, value: str, has_value: bool) -> str:
    if kind == SWITCH and not has_value:
        return "true"
    if not has_value or (kind == SWITCH and not value):
        raise Fault(f"missing a value on flag: --{name}", f"--{name}", f"Write --{name}=VALUE.")
    if kind == SWITCH and value.lower() not in ("true", "false"):
        raise Fault(f"expecting boolean value for flag --{name}, not: {value:.80}", value, "Write true or false.")
    return value.lower() if kind == SWITCH else value
