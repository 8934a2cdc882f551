"""The digest of what was selected: names, kinds, modes, content, link targets, attributes; nothing else.

Not times, inode numbers, the order of directories, or owners (unless a copy keeps them): the same files give the same
digest in any folder of any machine. A file that did not change since it was read last is not read again: what is
remembered goes by path, device, inode, size, mtime and ctime. As git has it, a file that changed within the clock's
granularity of being read is not remembered: it might change again and look the same.
https://git-scm.com/docs/racy-git
Not here: what is selected (``selection``).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress

from jupyter_containers.build.selection import Selected
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image.apply import keeps_xattr
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import Tree

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TICK = 20_000_000  # ns: the kernel's clock for files is at most 10 ms old (CONFIG_HZ=100)
_COARSE = 2_000_000_000  # ns: of file systems that keep whole seconds, or pairs of them
_BUFFER = 1 << 18
_MOST = 200_000  # files remembered in one file
_VERSION = 1  # of the file and of what a digest is made of


class Hashes:
    """Digests of files that were read before, in memory and in a file.

    Args:
        path: the file, best one for each context; None for memory alone. A missing or damaged one is an empty one.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path, self._new = path, False
        self._known: dict[str, str] | None = None

    @property
    def known(self) -> dict[str, str]:
        """The digest of each file, by :func:`key`."""
        if self._known is None:
            self._known = _load(self._path) if self._path else {}
        return self._known

    def remember(self, key: str, digest: str) -> None:
        """Note the digest of a file that cannot change any more without another key."""
        self.known[key] = digest
        self._new = True

    def save(self) -> None:
        """Write what is new, by rename. Where that fails, files are read again next time, and nothing else is lost."""
        if not (self._new and self._path):
            return
        if len(self.known) > _MOST:  # mostly files as they were before a change: begin again with the newest
            self._known = dict(list(self.known.items())[-_MOST // 2 :])
        temporary = f"{os.fspath(self._path)}.{os.urandom(6).hex()}"
        try:
            os.makedirs(os.path.dirname(temporary) or ".", 0o700, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib: 6 ms
            with open(temporary, "w", encoding="ascii") as file:  # noqa: PTH123 - as above
                json.dump({"version": _VERSION, "files": self.known}, file)
            os.replace(temporary, self._path)  # noqa: PTH105 - as above
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - as above
        self._new = False


def key(selected: Selected) -> str:
    """What a remembered file must still be."""
    s = selected.status
    return f"{s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_dev} {selected.path}"


def digest(root: int, selected: Sequence[Selected], hashes: Hashes, owners: bool = False) -> str:
    """The digest of *selected*, as ``sha256:...``.

    Args:
        root: descriptor of the directory that they are in.
        hashes: is asked, and told what is new; :meth:`Hashes.save` is the caller's.
        owners: whether a copy keeps them.

    Raises:
        InvalidArgument: a file cannot be read.
    """
    with Tree(root, b"") as tree:
        rows = _rows(tree, selected, hashes, owners)
    return "sha256:" + hashlib.sha256("\0".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def _rows(tree: Tree, selected: Sequence[Selected], hashes: Hashes, owners: bool) -> list[str]:
    """One text for each of *selected*, in order; no part of one has a NUL in it."""
    rows, known, linked = [f"{_VERSION}"], hashes.known, dict[tuple[int, int], int]()
    for number, one in enumerate(selected):
        s = one.status
        if not one.name:
            rows.append(f"{one.item} {one.kind} {_owner(s, owners)}")  # what it stands for is made as any directory
            continue
        first = linked.setdefault((s.st_dev, s.st_ino), number) if s.st_nlink > 1 and one.kind != "dir" else number
        content = known.get(key(one)) or _read(tree, one, hashes)
        rows.append(f"{one.item} {s.st_mode:o} {number - first} {_owner(s, owners)} {content}")
        rows.append(one.name)
    return rows


def _owner(status: os.stat_result, owners: bool) -> str:
    return f"{status.st_uid}:{status.st_gid}" if owners else ""


def _read(tree: Tree, one: Selected, hashes: Hashes) -> str:
    """The digest of what *one* is made of; remembered where that is safe."""
    before = time.time_ns()
    *parents, name = os.fsencode(one.path).split(b"/")
    try:
        found = _content(tree.directory(parents), name, one)
    except OSError as error:
        raise InvalidArgument(f"cannot be read: {error.strerror}", shown(os.fsencode(one.path))) from error
    if before - one.status.st_ctime_ns > _granularity(one.status):
        hashes.remember(key(one), found)
    return found


def _granularity(status: os.stat_result) -> int:
    """Nanoseconds in which two changes may look the same: one tick, or seconds where no fraction is kept."""
    return _TICK if status.st_ctime_ns % 1_000_000 else _COARSE


def _content(at: int, name: bytes, one: Selected) -> str:
    hasher = hashlib.sha256()
    if one.kind == "symlink":
        hasher.update(os.readlink(name, dir_fd=at))
    elif one.kind in ("file", "dir"):
        fd = os.open(name, _FILE, dir_fd=at)
        try:
            _hash_attributes(hasher, fd)
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _hash_file(hasher, fd)
        finally:
            os.close(fd)
    else:
        hasher.update(b"%d" % one.status.st_rdev)
    return hasher.hexdigest()


def _hash_file(hasher: hashlib._Hash, fd: int) -> None:
    while data := os.read(fd, _BUFFER):
        hasher.update(data)


def _hash_attributes(hasher: hashlib._Hash, fd: int) -> None:
    for name in sorted(os.listxattr(fd)):
        if keeps_xattr(os.fsencode(name)):
            value = os.getxattr(fd, name)
            hasher.update(b"%s\0%d\0%s" % (os.fsencode(name), len(value), value))
    hasher.update(b"\0")


def _load(path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - as above
            found = json.load(file)
        if found["version"] == _VERSION and isinstance(found["files"], dict):
            return dict(found["files"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}
