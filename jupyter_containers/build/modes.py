"""``--chmod``: octal numbers, and the symbolic modes of chmod(1) that BuildKit knows since Dockerfile 1.14.

Pure. Symbolic modes are relative to the mode of each file, without a umask: ``u+x,go-w``, ``a=rX``, ``g=u``.
https://docs.docker.com/reference/dockerfile/#copy---chown---chmod
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/chmod.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from jupyter_containers.errors import InvalidArgument

Change = Callable[[int, bool], int]  # the mode of a file and whether it is a directory, to the new mode

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SET_ID = {"u": 0o4000, "g": 0o2000, "o": 0}


def change(text: str) -> Change:
    """What ``--chmod=TEXT`` does to a mode.

    Raises:
        InvalidArgument: it is neither an octal number up to 07777 nor a symbolic mode.

    >>> oct(change("u+x,go=")(0o644, False)), oct(change("a+X")(0o644, True)), oct(change("750")(0o777, False))
    ('0o700', '0o755', '0o750')
    """
    if (octal := number(text)) is not None:
        return lambda mode, is_dir: octal
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    steps: list[tuple[str, str, str]] = []
    for clause in clauses:
        if clause is None:
            mend = "Write it as an octal number (755), or as chmod does (u+x,go-w)."
            raise InvalidArgument(f"not a mode: {text!r}", "--chmod", mend)
        steps += [(clause[1], operator, what) for operator, what in _ACTION.findall(clause[2])]
    return lambda mode, is_dir: _applied(steps, mode, is_dir)


def number(text: str) -> int | None:
    """The mode of an octal number; None for a symbolic mode.

    Raises:
        InvalidArgument: it begins like a number, and is not one between 0 and 07777.
    """
    if not text[:1].isdigit():
        return None
    if not re.fullmatch(r"0*[0-7]{1,4}", text):
        raise InvalidArgument(f"not a mode: {text!r}", "--chmod", "A number is octal, and between 0 and 07777.")
    return int(text, 8)


def _applied(steps: list[tuple[str, str, str]], mode: int, is_dir: bool) -> int:
    executable = is_dir or bool(mode & 0o111)
    for who, operator, what in steps:
        bits, touched = _bits(who, what, mode, executable), _touched(who)
        if operator == "-":
            mode &= ~bits
        else:
            mode = (mode & ~touched if operator == "=" else mode) | bits
    return mode


def _classes(who: str) -> str:
    return "ugo" if not who or "a" in who else who


def _touched(who: str) -> int:
    """What ``=`` clears: the permissions of the classes, and their set-id bits."""
    return sum({7 << _SHIFT[one] | _SET_ID[one] for one in _classes(who)})


def _bits(who: str, what: str, mode: int, executable: bool) -> int:
    """The bits that *what* stands for, for the classes *who*."""
    bits = 0
    for one in set(_classes(who)):
        if what in ("u", "g", "o"):
            bits |= (mode >> _SHIFT[what] & 7) << _SHIFT[one]
            continue
        permissions = sum({_BITS[letter] for letter in what if letter in _BITS})
        permissions |= 1 if "X" in what and executable else 0
        bits |= permissions << _SHIFT[one] | (_SET_ID[one] if "s" in what else 0)
    return bits | (0o1000 if "t" in what and who != "o" else 0)
