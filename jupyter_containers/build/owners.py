"""``--chown``: users and groups by number, or by name as the root's ``/etc/passwd`` and ``/etc/group`` have them.

The files are read by the worker beneath the layers (``base``): a symbolic link there leads to no file of the host
(CVE-2024-9676), nothing of the image is executed, and a file of any size is read up to a bound (CVE-2026-47262).
https://docs.docker.com/reference/dockerfile/#copy---chown---chmod
"""

from __future__ import annotations

from jupyter_containers.build.base import Base
from jupyter_containers.errors import InvalidArgument, suggest

_LIMIT = 4 << 20
_MOST = (1 << 32) - 2  # the last number that chown(2) does not take for "leave as it is"

Owner = tuple[int, int]


def owner(text: str, base: Base) -> Owner:
    """The uid and gid of ``--chown=TEXT``: ``user``, ``user:group``.

    A user without a group has the group of its line in /etc/passwd; a number alone is both, as docker has it.

    Raises:
        InvalidArgument: no such user or group in the root, or a number out of range.

    >>> owner("5:7", Base([], b"")), owner("9", Base([], b""))
    ((5, 7), (9, 9))
    """
    user, colon, group = text.partition(":")
    uid, gid = _user(user, base, text)
    return uid, (_group(group, base, text) if colon and group else gid)


def runs_as(text: str, base: Base) -> Owner:
    """Uid and gid of a process of ``USER TEXT``: unlike :func:`owner`, a number that /etc/passwd lacks has group 0."""
    if text.isdecimal():
        uid = _number(text, text)
        return uid, next((int(line[3]) for line in _lines(base, "etc/passwd", 4) if line[2:3] == [text]), 0)
    return owner(text, base)


def _user(name: str, base: Base, text: str) -> Owner:
    if name.isdecimal():
        return _number(name, text), _number(name, text)
    lines = _lines(base, "etc/passwd", 4)
    for line in lines:
        if line[0] == name and line[2].isdecimal() and line[3].isdecimal():
            return _number(line[2], text), _number(line[3], text)
    raise _unknown("user", name, "/etc/passwd", [line[0] for line in lines])


def _group(name: str, base: Base, text: str) -> int:
    if name.isdecimal():
        return _number(name, text)
    lines = _lines(base, "etc/group", 3)
    for line in lines:
        if line[0] == name and line[2].isdecimal():
            return _number(line[2], text)
    raise _unknown("group", name, "/etc/group", [line[0] for line in lines])


def _lines(base: Base, path: str, fields: int) -> list[list[str]]:
    text = base.read(path, _LIMIT).decode("utf-8", "replace")
    return [line for line in (line.split(":") for line in text.splitlines()) if len(line) >= fields]


def _number(text: str, shown: str) -> int:
    if len(text) > 10 or int(text) > _MOST:
        raise InvalidArgument(f"not an owner: {text} is out of range", f"--chown={shown}")
    return int(text)


def _unknown(what: str, name: str, file: str, known: list[str]) -> InvalidArgument:
    near = suggest(name, known)
    mend = near or f"The image has no such {what}: use its number, or make it before (with `--link`, only numbers do)."
    return InvalidArgument(f"no {what} {name!r} in the image's {file}", "--chown", mend)
