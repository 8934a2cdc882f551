"""Docker's ``--user``: ``name|uid[:group|gid]`` looked up in the /etc/passwd and /etc/group of a root file system.

Runs inside the container's root, as the container: a symbolic link there leads nowhere else. Both files are bounded
(CVE-2026-47262), and no odd value falls back to root (CVE-2026-30892). Rules: moby/sys ``user.GetExecUser``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from kernel_runtime.errors import SpecError

_MOST_BYTES = 4 * 1024 * 1024
_LARGEST_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is: ids, supplementary groups, home folder (``""`` where unknown)."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


def look_up(user: str, etc: str = "/etc") -> Identity:
    """The identity that *user* means beneath *etc*; the empty string means uid 0.

    Raises:
        SpecError: an unknown name, an id out of range, or a malformed value.
    """
    name, colon, group = user.partition(":")
    if colon and not group:
        raise SpecError("look up user", user, "the group after ':' is empty", "Write USER or USER:GROUP.")
    entry = _passwd(name or "0", f"{etc}/passwd")
    if entry:
        login, uid, gid, home = entry
    elif _is_number(name) or not name:
        login, uid, gid, home = "", _number(name or "0", user), 0, ""
    else:
        cause = "no matching entries in the image's passwd file"
        raise SpecError("look up user", name, cause, "Use a name that the image knows, or a number.")
    if group:
        return Identity(uid, _group(group, f"{etc}/group"), (), home)
    groups = sorted({number for _, number, members in _groups(f"{etc}/group") if login and login in members})
    return Identity(uid, gid, tuple(groups), home)


def group_id(group: str, etc: str = "/etc") -> int:
    """The gid of a group name or number (``--group-add``)."""
    return _group(group, f"{etc}/group")


def _passwd(name: str, path: str) -> tuple[str, int, int, str] | None:
    for fields in _lines(path, 7):
        if not (_is_number(fields[2]) and _is_number(fields[3])):
            continue
        # A number is always an id, never a name: an image may name uid 0 "1000" (CVE-2016-3697).
        if int(name) == int(fields[2]) if _is_number(name) else name == fields[0]:
            return fields[0], _number(fields[2], name), _number(fields[3], name), fields[5]
    return None


def _groups(path: str) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(path, 4):
        if _is_number(fields[2]) and int(fields[2]) <= _LARGEST_ID:
            yield fields[0], int(fields[2]), fields[3].split(",")


def _group(group: str, path: str) -> int:
    if _is_number(group):
        return _number(group, group)
    for name, number, _ in _groups(path):
        if group == name:
            return number
    cause = "no matching entries in the image's group file"
    raise SpecError("look up group", group, cause, "Use a group that the image knows, or a number.")


def _is_number(text: str) -> bool:
    """Whether *text* is a number in ASCII digits: ``"٠".isdigit()`` holds, too, and is 0. Bounded, as int() is."""
    return text.isascii() and text.isdigit() and len(text) < 100


def _number(text: str, place: str) -> int:
    if len(text) > 10 or int(text) > _LARGEST_ID:
        raise SpecError("look up user", place, f"ids must be between 0 and {_LARGEST_ID}")
    return int(text)


def _lines(path: str, fields: int) -> Iterator[list[str]]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        text = _read(fd).decode("utf-8", "replace")
    finally:
        os.close(fd)
    for line in text.split("\n"):
        parts = line.strip().split(":")
        if len(parts) >= fields and not line.startswith("#"):
            yield parts


def _read(fd: int) -> bytes:
    """What is in the file, as far as it is read at all; nothing of a folder or a pipe without a writer."""
    data = b""
    try:
        while len(data) < _MOST_BYTES and (part := os.read(fd, min(65536, _MOST_BYTES - len(data)))):
            data += part
    except OSError:
        return b""
    return data
