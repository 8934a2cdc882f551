"""A layer's directory tree, which no name can leave: paths are walked part by part beneath one descriptor.

The kernel never follows a component (``O_NOFOLLOW``); symbolic links are read and resolved here as if the tree were
``/``: what ``openat2(RESOLVE_IN_ROOT)`` does, whose wrapper lives in ``kernel_runtime`` and is not for us.
Directories just used stay open, so that the many small files of one directory cost no walk.

The tree is in overlayfs form: a whiteout is a character device 0:0, a directory that hides what is below has an
"opaque" attribute. Where a directory is needed and a whiteout stands, the directory replaces it and is opaque.
Not here: tar, owners, times (``unpack``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LINKS = 40  # as the kernel's MAXSYMLINKS
KEPT = 64  # directories kept open

Parts = list[bytes]


def split(name: bytes) -> Parts | None:
    """The components of *name* once cleaned lexically (as Go's ``filepath.Clean``), or None where it leaves the root.

    >>> split(b"./a//b/../c/"), split(b"/../a"), split(b"../a"), split(b"/")
    ([b'a', b'c'], [b'a'], None, [])
    """
    parts: Parts = []
    absolute = name.startswith(b"/")
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            parts.append(part)
        elif parts:
            parts.pop()
        elif not absolute:
            return None
    return parts


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlayfs would take this file for a whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


class Tree:
    """Access beneath one directory. Use as a context manager.

    Args:
        root: the directory, by its path or by a descriptor, which stays open; it must exist.
        opaque: name of the attribute that makes a directory opaque.

    Attributes:
        implied: paths of the directories made only because something beneath them was needed.
    """

    def __init__(self, root: bytes | int, opaque: bytes) -> None:
        self.root = os.dup(root) if isinstance(root, int) else os.open(root, DIRECTORY)
        self.implied: set[bytes] = set()
        self._opaque = opaque
        self._open: OrderedDict[bytes, tuple[int, Parts]] = OrderedDict()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *exc: object) -> None:
        self.forget()
        os.close(self.root)

    def forget(self) -> None:
        """Close what is kept open: paths may lead elsewhere from now on."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def directory(self, parts: Parts, create: bool = False) -> int:
        """A descriptor of a directory, good until a few more are asked for; symbolic links are resolved in the root.

        Args:
            parts: where, as :func:`split` gives it.
            create: make what is missing, mode 0755, and note it in :attr:`implied`.

        Raises:
            OSError: ENOENT, ENOTDIR, ELOOP as open(2).
        """
        return self._found(parts, create)[0] if parts else self.root

    def real(self, parts: Parts) -> Parts:
        """Where a directory is once symbolic links are resolved."""
        return self._found(parts, create=False)[1] if parts else []

    def locate(self, parts: Parts) -> Parts:
        """Where a name is once symbolic links are resolved, its own included; it need not be there.

        Raises:
            OSError: as :meth:`directory`, of the directory that it is in.
        """
        for _ in range(LINKS):
            if not parts or parts[-1] in (b"", b".", b".."):
                return self.real(parts)
            here = self.real(parts[:-1])
            try:
                target = os.readlink(parts[-1], dir_fd=self.directory(here))
            except OSError:
                return [*here, parts[-1]]
            parts = ([] if target.startswith(b"/") else here) + target.split(b"/")
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _found(self, parts: Parts, create: bool) -> tuple[int, Parts]:
        path = b"/".join(parts)
        if (found := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return found
        self._open[path] = found = self._walk(parts, create)
        if len(self._open) > KEPT:
            os.close(self._open.popitem(last=False)[1][0])
        return found

    def strict(self, parts: Parts) -> int:
        """A new descriptor of a directory, no symbolic link allowed on the way. The caller closes it."""
        at = os.dup(self.root)
        for part in parts:
            try:
                down = os.open(part, DIRECTORY, dir_fd=at)
            finally:
                os.close(at)
            at = down
        return at

    def make_opaque(self, fd: int) -> None:
        """Let the directory *fd* hide what lower layers have in it."""
        os.setxattr(fd, self._opaque, b"y")

    def remove(self, parts: Parts) -> None:
        """Remove whatever *parts* names, with all beneath it."""
        *parent, name = parts
        fd = self.directory(parent)
        try:
            remove(fd, name)
        finally:
            self.forget()

    def _walk(self, parts: Parts, create: bool) -> tuple[int, Parts]:
        here: Parts = []
        at, todo, links = os.dup(self.root), list(reversed(parts)), 0
        try:
            while todo:
                part = todo.pop()
                if part in (b"", b"."):
                    continue
                if part == b"..":
                    at, here = self._again(at, here[:-1]), here[:-1]
                    continue
                try:
                    down = os.open(part, DIRECTORY, dir_fd=at)
                except OSError as error:
                    target = _target(error, at, part)
                    if target is None:
                        down = self._make(error, at, [*here, part], create)
                    else:
                        links += 1
                        if links > LINKS:
                            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                        todo += reversed(target.split(b"/"))
                        if target.startswith(b"/"):
                            at, here = self._again(at, []), []
                        continue
                os.close(at)
                at = down
                here.append(part)
        except BaseException:
            os.close(at)
            raise
        return at, here

    def _again(self, at: int, here: Parts) -> int:
        """Another descriptor instead of *at*, of the real directory *here* (its parts were walked: no links)."""
        new = self.strict(here)
        os.close(at)
        return new

    def _make(self, error: OSError, at: int, path: Parts, create: bool) -> int:
        """The directory that *error* says is not at *path*, made in its parent *at* where that may be."""
        name, hides = path[-1], False
        if error.errno == errno.ENOTDIR:
            hides = is_whiteout(os.stat(name, dir_fd=at, follow_symlinks=False))
        if not create or not (hides or error.errno == errno.ENOENT):
            raise error
        if hides:
            os.unlink(name, dir_fd=at)
        os.mkdir(name, 0o755, dir_fd=at)
        self.implied.add(b"/".join(path))
        down = os.open(name, DIRECTORY, dir_fd=at)
        if hides:
            self.make_opaque(down)
        return down


def _target(error: OSError, at: int, name: bytes) -> bytes | None:
    """What the symbolic link *name*, which could not be opened as a directory, points to; None if it is no link."""
    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
        return None
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def remove(fd: int, name: bytes) -> None:
    """Remove *name* in directory *fd*, with all beneath it, following nothing.

    Directories are moved up before they are emptied: a tree of any depth needs no recursion and two descriptors.
    """
    try:
        os.unlink(name, dir_fd=fd)
        return
    except IsADirectoryError:
        todo = [name]
    except FileNotFoundError:
        return
    while todo:
        directory = todo.pop()
        inner = os.open(directory, DIRECTORY, dir_fd=fd)
        try:
            todo += _empty(inner, fd)
        finally:
            os.close(inner)
        os.rmdir(directory, dir_fd=fd)


def _empty(inner: int, outer: int) -> Parts:
    """Unlink the files of directory *inner*, move its directories to *outer*; returns the names they got there."""
    moved: Parts = []
    for entry in os.listdir(inner):
        name = os.fsencode(entry)
        try:
            os.unlink(name, dir_fd=inner)
        except IsADirectoryError:
            moved.append(b".removed-" + os.urandom(8).hex().encode())
            os.rename(name, moved[-1], src_dir_fd=inner, dst_dir_fd=outer)
    return moved
