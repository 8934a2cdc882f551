"""Numbers on a command line: sizes, times, counts, limits.

Each function takes the word and the :class:`Context` and returns the value, or raises
:class:`~jupyter_containers.errors.InvalidArgument` with docker's text (the parser adds the place).

Not here: names and policies (``words``), ``KEY=VALUE`` (``pairs``), mounts (``mounts``), ports (``ports``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_containers.errors import InvalidArgument, suggest

from .model import Ulimit


@dataclass(frozen=True, slots=True)
class Context:
    """Where words are read: relative paths start at *base_dir* (the notebook's folder)."""

    base_dir: str
    environ: Mapping[str, str]

    def path(self, text: str) -> str:
        """*text* as an absolute path; a leading ``~/`` is the caller's home, as a shell would have made it."""
        if text == "~" or text.startswith("~/"):
            text = self.environ.get("HOME", "~") + text[1:]
        return normalised(posixpath.join(self.base_dir, text))


def normalised(path: str) -> str:
    """*path* without ``.``, ``..`` and double slashes; symbolic links are not looked at."""
    return re.sub(r"^//", "/", posixpath.normpath(path))


_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([a-zA-Z]*)")
_SUFFIX = re.compile(r"(?:[kmgtp](?:i?b)?|b)?", re.IGNORECASE)


def size(text: str, _: Context) -> int:
    """Bytes of ``512m``, ``1.5g``, ``64MiB``, ``1000`` (units are powers of 1024, as in go-units RAMInBytes)."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise InvalidArgument(f"invalid size: '{text}'", mend="Write a number and b, k, m or g, as in 512m.")
    digits, suffix = match.groups()
    if not _SUFFIX.fullmatch(suffix):
        raise InvalidArgument(f"invalid suffix: '{suffix}'", mend="Write b, k, m or g, as in 512m.")
    unit = _UNITS[suffix[:1].lower()]
    return int(digits) * unit if digits.isdigit() else int(float(digits) * unit)


def swap(text: str, context: Context) -> int:
    """As :func:`size`, with -1 for unlimited."""
    return -1 if text == "-1" else size(text, context)


def integer(text: str, _: Context) -> int:
    """A whole number."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax', mend="Write a whole number.")
    return int(text)


_TRUE = frozenset(["1", "t", "T", "true", "TRUE", "True"])
_FALSE = frozenset(["0", "f", "F", "false", "FALSE", "False"])


def boolean(text: str, _: Context | None = None) -> bool:
    """``true`` or ``false`` in one of the spellings of Go's strconv.ParseBool."""
    if text not in _TRUE | _FALSE:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax', mend="Write true or false.")
    return text in _TRUE


def text(word: str, _: Context) -> str:
    """The word itself."""
    return word


_DECIMAL = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"


def cpus(word: str, _: Context) -> float | None:
    """Processors as a decimal number with at most nine digits after the point; 0 is no limit."""
    if not re.fullmatch(rf"\+?(?:{_DECIMAL})", word):
        raise InvalidArgument(f"failed to parse {word} as a rational number", mend="Write a number such as 1.5.")
    if len(word.partition(".")[2].rstrip("0")) > 9:
        raise InvalidArgument("value is too precise")
    return float(word) or None


def cpu_set(word: str, _: Context) -> str:
    """A list of processors such as ``0-3,5``."""
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", word):
        raise InvalidArgument(f"Invalid value {word} for cpuset cpus", mend="Write processors as in 0-3,5.")
    return word


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(rf"({_DECIMAL})(ms|us|µs|ns|h|m|s)")


def duration(word: str, _: Context) -> float:
    """Seconds of ``90s``, ``1h30m``, ``1.5s`` (Go's durations) or of a bare number."""
    if re.fullmatch(_DECIMAL, word):
        return float(word)
    if not word or _PART.sub("", word):
        raise InvalidArgument(f'time: invalid duration "{word}"', mend="Write a number and s, m or h, as in 1m30s.")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(word))


def point_in_time(word: str, context: Context) -> float:
    """Seconds since 1970 of an RFC 3339 time, a number of seconds, or a duration before now, as docker has it."""
    import time

    from jupyter_containers.text.units import moment

    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", word):
        return float(word)
    found = moment(word)
    if found:
        return found
    try:
        return time.time() - duration(word, context)
    except InvalidArgument:
        what = f'failed to parse value as time or duration: "{word}"'
        raise InvalidArgument(what, mend="Write it as 42m or 2013-01-02T13:23:37Z.") from None


def timeout(word: str, context: Context) -> float | None:
    """As :func:`duration`; 0 is no limit."""
    return duration(word, context) or None


ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def ulimit(word: str, context: Context) -> Ulimit:
    """``NAME=SOFT[:HARD]``; one number is both, -1 is unlimited."""
    name, equal, limits = word.partition("=")
    if not equal or not limits:
        raise InvalidArgument(f"invalid ulimit argument: {word}", mend="Write NAME=SOFT:HARD, as in nofile=1024:2048.")
    if name not in ULIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}", mend=suggest(name, ULIMITS))
    first, colon, second = limits.partition(":")
    soft = integer(first, context)
    hard = integer(second, context) if colon else soft
    if hard != -1 and (soft > hard or soft == -1):
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name, soft, hard)
