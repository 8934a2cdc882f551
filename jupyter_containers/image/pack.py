"""Packs a directory tree into a tar stream: owners, modes, times, attributes, hard links, devices, holes.

The tree is walked by descriptors alone and nothing in it is followed, so a container that swaps directories for links
while it is read cannot lead out. Entries come sorted, names without a leading ``./``, as docker exports: the same tree
gives the same bytes. What changes while it is read is packed as it is then: a file that shrinks is filled up with
zeros, one that is gone is left out. Sockets have no form in a tar. On ``rootless-single`` the owners that unpacking
recorded come back. A build adds files one by one instead, from anywhere (``build.copying``). Runs in ``image.unpack``
and ``build.worker``, where every file can be read; its caller is elsewhere (``run.export``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from jupyter_containers.errors import LayerError
from jupyter_containers.image import tarwriter
from jupyter_containers.image.apply import OVERRIDE_STAT, keeps_xattr
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import DIRECTORY
from jupyter_containers.image.tarheader import NAME_LIMIT, Entry

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip
_CHANGED = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # it is not what it was a moment before
_BUFFER = 1 << 20
_SEGMENTS = 1 << 14  # a file in more pieces is packed whole
_ZEROS = bytes(1 << 16)
_SPARSE = 1 << 20  # bytes of zeros for which a file is worth being packed as a sparse one

Write = Callable[[bytes | memoryview], object]


class Packer:
    """Packs a tree, or files one by one.

    Args:
        root: descriptor of the tree's directory; None where files are added one by one.
        write: takes all of what it is given.
        by_content: find the holes of sparse files in what they hold, not in how the disk keeps them: the same content
            gives the same bytes on any file system.

    Attributes:
        adjust: changes each entry before it is written; its content is not there for it.
    """

    def __init__(self, root: int | None, write: Write, by_content: bool = False) -> None:
        self.entries = self.bytes = 0
        self.adjust: Callable[[Entry], object] = _as_it_is
        self._root, self._write = root, write
        self._find_holes = _find_zeros if by_content else _find_holes
        self._linked: dict[tuple[int, int], bytes] = {}
        self._waiting: list[bytes] = []  # small pieces, written together
        self._held = 0

    def run(self) -> None:
        """Pack everything beneath the root, and end the archive.

        Raises:
            LayerError: a name is longer than tars can have, or a file can't be read.
        """
        assert self._root is not None
        walk = [(os.open(".", DIRECTORY, dir_fd=self._root), b"")]
        names = [self._names(walk[0][0], b"")]
        try:
            while walk:
                at, folder = walk[-1]
                name = next(names[-1], None)
                if name is None:
                    os.close(walk.pop()[0])
                    names.pop()
                elif (down := self.add(at, name, folder + name)) is not None:
                    walk.append((down, folder + name + b"/"))
                    names.append(self._names(*walk[-1]))
        finally:
            for at, _ in walk:
                os.close(at)
        self.finish()

    def finish(self) -> None:
        """End the archive."""
        self._put(tarwriter.END)
        self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        if self._waiting:
            self._write(b"".join(self._waiting))
            self._waiting, self._held = [], 0

    def add(self, at: int, name: bytes, path: bytes) -> int | None:
        """Pack what *name* is in directory *at* as *path*; of a directory, a descriptor to go on with.

        Raises:
            LayerError: as :meth:`run`.
        """
        if len(path) > NAME_LIMIT - 1:
            raise LayerError(f"its name is longer than {NAME_LIMIT} bytes", f"entry {shown(path)!r}")
        try:
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return self._directory(at, name, path)
            if stat.S_ISREG(status.st_mode):
                self._regular(at, name, path)
            elif stat.S_IFMT(status.st_mode) in _KINDS:
                self._special(at, name, path, status)
        except OSError as error:
            if error.errno not in _CHANGED:
                raise LayerError(f"cannot be read: {error.strerror}", f"entry {shown(path)!r}") from error
        return None

    def record(self, entry: Entry, content: Iterable[bytes | memoryview] = ()) -> None:
        """Pack an entry that is no file here, with its content (``entry.size`` bytes)."""
        self._header(entry)
        for piece in content:
            self._put(bytes(piece))
        size = tarwriter.content_size(entry)
        self.bytes += size
        self._put(tarwriter.padding(size))

    def _names(self, at: int, folder: bytes) -> Iterator[bytes]:
        """The names to pack of directory *at*, whose path is *folder* (with a slash at its end), in order."""
        return iter(sorted(os.fsencode(name) for name in os.listdir(at)))

    # --- kinds ---

    def _directory(self, at: int, name: bytes, path: bytes) -> int:
        down = os.open(name, DIRECTORY, dir_fd=at)
        try:
            entry = _entry(path, os.fstat(down))
            _describe(entry, down)
            self._header(entry)
        except BaseException:
            os.close(down)
            raise
        return down

    def _regular(self, at: int, name: bytes, path: bytes) -> None:
        fd = os.open(name, _FILE, dir_fd=at)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or self._is_link(path, status):
                return
            entry = _entry(path, status)
            entry.size = entry.real_size = status.st_size
            _describe(entry, fd)
            self._find_holes(entry, fd, status)
            self._header(entry)
            self._content(entry, fd)
        finally:
            os.close(fd)

    def _special(self, at: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        entry = _entry(path, status)
        if entry.kind == "symlink":
            entry.linkname = _target(at, name)
        elif entry.kind != "fifo":
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if not self._is_link(path, status):
            self._header(entry)

    def _is_link(self, path: bytes, status: os.stat_result) -> bool:
        """Whether this file was packed by another name; then the entry is a link to that one."""
        if status.st_nlink < 2:
            return False
        first = self._linked.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        entry = _entry(path, status)
        entry.kind, entry.linkname = "link", first
        self._header(entry)
        return True

    # --- bytes ---

    def _header(self, entry: Entry) -> None:
        self.entries += 1
        self.adjust(entry)
        self._put(tarwriter.header(entry))

    def _content(self, entry: Entry, fd: int) -> None:
        pieces = [(0, entry.size)] if entry.segments is None else entry.segments
        for offset, length in pieces:
            self._piece(fd, offset, length)
        self.bytes += entry.size
        self._put(tarwriter.padding(entry.size))

    def _piece(self, fd: int, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            data = os.pread(fd, min(_BUFFER, end - offset), offset)
            data = data or bytes(min(_BUFFER, end - offset))  # it shrank
            self._put(data)
            offset += len(data)

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= _BUFFER:
            self.flush()


def _target(at: int, name: bytes) -> bytes:
    """Where the symbolic link *name* leads; ELOOP, as from open, where it is no link any more."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _entry(path: bytes, status: os.stat_result) -> Entry:
    entry = Entry(path, _KINDS[stat.S_IFMT(status.st_mode)])
    entry.mode, entry.mtime_ns = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    entry.uid, entry.gid = status.st_uid, status.st_gid
    return entry


def _describe(entry: Entry, fd: int) -> None:
    """Attributes, and the owner that ``apply`` recorded where it could not give the file to it."""
    for name in os.listxattr(fd):
        key = os.fsencode(name)
        if key == OVERRIDE_STAT:
            uid, gid, _ = os.getxattr(fd, name).split(b":", 2)
            entry.uid, entry.gid = int(uid), int(gid)
        elif keeps_xattr(key):
            entry.xattrs[key] = os.getxattr(fd, name)


def _as_it_is(_: Entry) -> None:
    pass


def _find_holes(entry: Entry, fd: int, status: os.stat_result) -> None:
    """Note the file's data as segments, if there are holes between them; the last one marks the file's end."""
    if status.st_blocks * 512 >= status.st_size:
        return
    segments, at, size = [], 0, entry.real_size
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                return  # a file system that does not know holes
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        segments.append((start, at - start))
        if len(segments) > _SEGMENTS:
            return
    _note_segments(entry, segments)


def _find_zeros(entry: Entry, fd: int, status: os.stat_result) -> None:
    """As :func:`_find_holes`, by the zeros that the file holds, where they are worth it."""
    size = entry.real_size
    if size < _SPARSE:
        return
    segments: list[tuple[int, int]] = []
    for at, length in _blocks(fd, size):
        data = os.pread(fd, length, at)
        if data == _ZEROS[: len(data)]:
            continue
        if segments and sum(segments[-1]) == at:
            segments[-1] = (segments[-1][0], segments[-1][1] + length)
        else:
            segments.append((at, length))
    if size - sum(length for _, length in segments) >= _SPARSE and len(segments) <= _SEGMENTS:
        _note_segments(entry, segments)


def _blocks(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The blocks of a file in which there may be anything but zeros, as offset and length."""
    at = 0
    while at < size:
        try:
            at = max(at, os.lseek(fd, at, os.SEEK_DATA) // len(_ZEROS) * len(_ZEROS))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
        yield at, min(len(_ZEROS), size - at)
        at += len(_ZEROS)


def _note_segments(entry: Entry, segments: list[tuple[int, int]]) -> None:
    size = entry.real_size
    if segments == [(0, size)]:
        return
    if not segments or sum(segments[-1]) < size:
        segments.append((size, 0))
    entry.segments, entry.size = segments, sum(length for _, length in segments)
