"""Writes the entries of one layer beneath a directory, in overlayfs form.

What docker does with an entry is done here: a later entry replaces an earlier one (only directories merge), parents
that are missing are made, a link names another entry of the same layer. Names that leave the root are refused.
Whiteouts follow the OCI image-spec: they hide lower layers, never what the layer has itself.
Not here: reading tars (``tarstream``), walking paths (``rooted``), the program around it (``unpack``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from jupyter_containers.image.refusals import explained, full, refused, shown
from jupyter_containers.image.rooted import Parts, Tree, is_whiteout, split
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

OVERRIDE_STAT = b"user.containers.override_stat"
LIMITS = {
    "ratio": 400,  # bytes out per byte in, once ratio_floor bytes are out
    "ratio_floor": 1 << 30,
    "entries": 5_000_000,
    "reserve": 64 << 20,  # bytes to leave free on the disk
}
NO_ID = (1 << 32) - 1  # chown(2) takes it for "leave as it is"
_PROGRESS = 8 << 20
_ROOM = 64 << 20  # bytes written between two looks at the free space
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def opaque_attribute(owners: str) -> bytes:
    """The attribute that overlayfs reads on an opaque directory: as root, or with ``userxattr``."""
    return b"trusted.overlay.opaque" if owners == "root" else b"user.overlay.opaque"


class Unpacker:
    """Writes the entries of one layer beneath a directory.

    Args:
        tree: the directory, empty.
        owners: which ids may be given to files: ``root`` and ``rootless`` all, ``rootless-single`` only 0 (others
            are recorded in the attribute user.containers.override_stat as ``uid:gid:mode``).
        limits: see :data:`LIMITS`.

    Attributes:
        skipped: what was left out, as ``{"name", "why"}``.
        whiteouts: paths hidden.
        bytes: of files, holes included, and of symbolic links: what docker calls a layer's size.
    """

    def __init__(self, tree: Tree, owners: str, limits: dict[str, int]) -> None:
        self.tree, self.owners, self.limits = tree, owners, limits
        self.skipped: list[dict[str, str]] = []
        self.whiteouts: list[bytes] = []
        self.entries = self.bytes = 0
        self._directories: dict[bytes, Entry] = {}
        self._room = 0
        self._make: dict[str, Callable[[Entry, Parts, TarReader], None]] = {
            "file": self._file, "dir": self._dir, "symlink": self._symlink, "link": self._link,
            "char": self._node, "block": self._node, "fifo": self._node,
        }  # fmt: skip

    def run(self, archive: TarReader, progress: Callable[[int], None]) -> None:
        """Unpack all of *archive*; *progress* is told the bytes of content written so far."""
        told = 0
        for entry in archive:
            self.entries += 1
            if self.entries > self.limits["entries"]:
                raise refused(entry, f"the layer has more than {self.limits['entries']} entries")
            try:
                self._apply(entry, archive)
            except OSError as error:
                raise explained(error, entry) from error
            except (ValueError, OverflowError) as error:  # a value that the system's calls cannot even be given
                raise refused(entry, str(error)) from error
            if self.bytes - told > _PROGRESS:
                told = self.bytes
                progress(told)
        self._seal_directories()

    def _apply(self, entry: Entry, archive: TarReader) -> None:
        parts = split(entry.name)
        if parts is None:
            raise refused(entry, "its name leaves the root of the layer")
        if max(entry.uid, entry.gid) >= NO_ID:
            raise refused(entry, f"its owner {entry.uid}:{entry.gid} is out of range")
        if parts and parts[-1].startswith(b".wh."):
            self._whiteout(entry, parts)
        elif parts:
            self._make[entry.kind](entry, parts, archive)
        elif entry.kind == "dir":
            self._directories[b""] = entry
        else:
            raise refused(entry, f"the root of the layer would be a {entry.kind}")

    # --- kinds of entries ---

    def _file(self, entry: Entry, parts: Parts, archive: TarReader) -> None:
        self._check_room(entry)
        fd = self._new(parts, lambda name, at: os.open(name, _NEW_FILE, 0o600, dir_fd=at))
        assert fd is not None
        try:
            self._write(fd, entry, archive)
            self._seal(fd, entry)
        finally:
            os.close(fd)

    def _write(self, fd: int, entry: Entry, archive: TarReader) -> None:
        if entry.segments is not None:
            _write_sparse(fd, entry, archive)
        else:
            for piece in archive.content():
                done = os.write(fd, piece)
                while done < len(piece):
                    done += os.write(fd, piece[done:])
        self.bytes += entry.real_size

    def _dir(self, entry: Entry, parts: Parts, archive: TarReader) -> None:
        at = self.tree.directory(parts[:-1], create=True)
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=at)
        except FileExistsError:
            status = os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
            if status.st_mode & 0o170000 != 0o040000:
                self._replace(parts)
                at = self.tree.directory(parts[:-1], create=True)
                os.mkdir(parts[-1], 0o700, dir_fd=at)
                if is_whiteout(status):
                    self.tree.make_opaque(self.tree.directory(parts))
        path = self._real(parts)
        self.tree.implied.discard(path)
        self._directories[path] = entry

    def _symlink(self, entry: Entry, parts: Parts, archive: TarReader) -> None:
        self._new(parts, lambda name, at: os.symlink(entry.linkname, name, dir_fd=at))
        self.bytes += len(entry.linkname)
        self._seal_nofollow(entry, parts)

    def _link(self, entry: Entry, parts: Parts, archive: TarReader) -> None:
        source = split(entry.linkname)
        if not source:
            raise refused(entry, "it is a hard link to a name that leaves the layer")
        if source == parts:
            return  # docker writes none, but a link to itself changes nothing
        try:
            origin = self.tree.directory(source[:-1])
            status = os.stat(source[-1], dir_fd=origin, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise refused(entry, f"it is a hard link to {shown(entry.linkname)}, which the layer lacks") from None
        if is_whiteout(status):
            raise refused(entry, f"it is a hard link to {shown(entry.linkname)}, which the layer removes")
        self._new(
            parts,
            lambda name, at: os.link(
                source[-1], name, src_dir_fd=self.tree.directory(source[:-1]), dst_dir_fd=at, follow_symlinks=False
            ),
        )

    def _node(self, entry: Entry, parts: Parts, archive: TarReader) -> None:
        if entry.kind == "fifo":
            self._new(parts, lambda name, at: os.mkfifo(name, entry.mode, dir_fd=at))
        elif entry.major >= 1 << 12 or entry.minor >= 1 << 20:
            raise refused(entry, f"its device number {entry.major}:{entry.minor} is out of range")
        elif self.owners != "root":
            return self._skip(entry, "devices need root")
        elif (entry.kind, entry.major, entry.minor) == ("char", 0, 0):
            return self._skip(entry, "a character device 0:0 would be taken for a whiteout")
        else:
            mode = entry.mode | (0o020000 if entry.kind == "char" else 0o060000)
            device = os.makedev(entry.major, entry.minor)
            self._new(parts, lambda name, at: os.mknod(name, mode, device, dir_fd=at))
        return self._seal_nofollow(entry, parts)

    def _whiteout(self, entry: Entry, parts: Parts) -> None:
        """https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts."""
        name = parts[-1][4:]
        if parts[-1] == b".wh..wh..opq":
            return self.tree.make_opaque(self.tree.directory(parts[:-1], create=True))
        if name.startswith(b".wh."):
            return self._skip(entry, "AUFS bookkeeping")
        if name in (b"", b".", b".."):
            raise refused(entry, "it is a whiteout of nothing")
        hidden = [*parts[:-1], name]
        at = self.tree.directory(parts[:-1], create=True)
        try:
            os.mknod(name, 0o020000, 0, dir_fd=at)
            self.whiteouts.append(self._real(hidden))
        except FileExistsError:
            # A whiteout hides lower layers only; what this layer has itself stays.
            if os.stat(name, dir_fd=at, follow_symlinks=False).st_mode & 0o170000 == 0o040000:
                self.tree.make_opaque(self.tree.directory(hidden))
        return None

    # --- places ---

    def _new(self, parts: Parts, make: Callable[[bytes, int], int | None]) -> int | None:
        """What *make* does for a name in a directory, once more after removing what has that name."""
        at = self.tree.directory(parts[:-1], create=True)
        try:
            return make(parts[-1], at)
        except FileExistsError:
            self._replace(parts)
            return make(parts[-1], self.tree.directory(parts[:-1], create=True))

    def _replace(self, parts: Parts) -> None:
        self._directories.pop(self._real(parts), None)
        self.tree.remove(parts)

    def _real(self, parts: Parts) -> bytes:
        """The path of *parts*, whose parent exists, without symbolic links."""
        return b"/".join([*self.tree.real(parts[:-1]), parts[-1]])

    def _skip(self, entry: Entry, why: str) -> None:
        self.skipped.append({"name": shown(entry.name), "why": why})

    def _check_room(self, entry: Entry) -> None:
        self._room -= entry.size
        if self._room < 0:
            disk = os.fstatvfs(self.tree.root)
            free = disk.f_bavail * disk.f_frsize - self.limits["reserve"] - entry.size
            if free < 0:
                raise full(entry)
            self._room = min(free, _ROOM)

    # --- owners, modes, attributes, times ---

    def _seal(self, fd: int, entry: Entry) -> None:
        """In this order: chown(2) drops setuid bits and capabilities, writing changes times."""
        if entry.uid or entry.gid:
            self._own(fd, entry)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, entry)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _own(self, fd: int, entry: Entry) -> None:
        if self.owners == "rootless-single":
            os.setxattr(fd, OVERRIDE_STAT, b"%d:%d:0o%o" % (entry.uid, entry.gid, entry.mode))
        else:
            os.fchown(fd, entry.uid, entry.gid)

    def _seal_nofollow(self, entry: Entry, parts: Parts) -> None:
        name, at = parts[-1], self.tree.directory(parts[:-1])
        if (entry.uid or entry.gid) and self.owners != "rootless-single":
            os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        if entry.xattrs:
            self._skip(entry, "extended attributes of anything but files and directories")
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=at, follow_symlinks=False)

    def _set_xattrs(self, fd: int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not keeps_xattr(name):
                self._skip(entry, f"attribute {shown(name)} is not for layers")
                continue
            try:
                os.setxattr(fd, name, value)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self._skip(entry, f"attribute {shown(name)}: {error}")

    def _seal_directories(self) -> None:
        """At last, since writing into a directory changes its time, and its mode its children's group."""
        for path, entry in self._directories.items():
            try:
                fd = self.tree.strict(split(path) or [])
            except OSError:
                continue  # a later entry replaced it, or a directory above it
            try:
                self._seal(fd, entry)
            except OSError as error:
                raise explained(error, entry) from error
            finally:
                os.close(fd)


def _write_sparse(fd: int, entry: Entry, archive: TarReader) -> None:
    pieces, piece = archive.content(), memoryview(b"")
    for offset, length in entry.segments or []:
        end = offset + length
        while offset < end:
            if not piece:
                piece = next(pieces)
            done = os.pwrite(fd, piece[: end - offset], offset)
            piece, offset = piece[done:], offset + done  # noqa: PLW2901 - the segment is used up
    os.ftruncate(fd, entry.real_size)


def keeps_xattr(name: bytes) -> bool:
    """Layers carry user.* and file capabilities; the rest means something to this machine's kernel or to us."""
    ours = (b"user.overlay.", b"user.containers.")
    return name == b"security.capability" or (name.startswith(b"user.") and not name.startswith(ours))
