"""ADD of an archive: its entries, checked, become entries of the layer beneath the destination.

What docker unpacks is recognised by content: a tar, plain or compressed by gzip, bzip2, xz or zstd; zip is not.
Symbolic links on the way are followed as if the destination were ``/`` (docker unpacks in a chroot of it), so that
neither the archive's nor the image's links lead out of it (CVE-2020-10696). An entry replaces what is there, only
directories merge. Owners and attributes are the archive's, times are at most the build's.
Not here: reading tars (``image.tarstream``), the rules for other sources (``target``).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from jupyter_containers.build.base import Base
from jupyter_containers.build.owners import Owner
from jupyter_containers.build.target import Plan
from jupyter_containers.errors import Conflict, ContainersError, InvalidArgument, LayerError
from jupyter_containers.image.apply import LIMITS, NO_ID, keeps_xattr
from jupyter_containers.image.compression import BZIP2, Stream
from jupyter_containers.image.refusals import refused, shown
from jupyter_containers.image.rooted import Parts, split
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

Record = Callable[[Entry, TarReader], None]


def is_archive(fd: int) -> bool:
    """Whether the file *fd*, read from its start, has at least one entry of a tar."""
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with _stream(fd) as stream:
            return next(iter(TarReader(iter(stream))), None) is not None
    except ContainersError:
        return False


class Unpacking:
    """Unpacks archives into a layer.

    Args:
        base, plan: the root beneath, and what is put on it.
        record: writes an entry with its content.
        owner: of all entries; None for the archive's.
        epoch: nanoseconds; no entry is later.
    """

    def __init__(self, base: Base, plan: Plan, record: Record, owner: Owner | None, epoch: int) -> None:
        self._base, self._plan, self._record = base, plan, record
        self._owner, self._epoch = owner, epoch

    def run(self, fd: int, folder: str, flush: Callable[[], None], name: str) -> None:
        """Unpack the archive *fd* beneath the real directory *folder*.

        Args:
            flush: writes the directories that the plan was made to have.
            name: of the archive, for errors.

        Raises:
            LayerError: it is damaged, or must not be unpacked.
        """
        os.lseek(fd, 0, os.SEEK_SET)
        written: set[str] = set()
        try:
            with _stream(fd) as stream:
                for count, entry in enumerate(reader := TarReader(iter(stream))):
                    if count >= LIMITS["entries"]:
                        raise refused(entry, f"the archive has more than {LIMITS['entries']} entries")
                    if self._prepare(entry, folder, written):
                        flush()
                        self._record(entry, reader)
                stream.finish()
        except LayerError as error:
            error.where = f"archive {name}" + (f", {error.where}" if error.where else "")
            raise

    def _prepare(self, entry: Entry, folder: str, written: set[str]) -> bool:
        """Give *entry* its place in the layer; False where there is nothing to write."""
        parts = self._parts(entry, entry.name)
        if not parts:
            return False  # the destination itself, which is there
        path = self._path(entry, parts, folder)
        if entry.kind == "link":
            self._link(entry, folder, written)
        elif entry.kind in ("char", "block"):
            _check_device(entry)
        self._base.put(path, "file" if entry.kind == "link" else entry.kind, os.fsdecode(entry.linkname))
        written.add(path)
        self._dress(entry, path)
        return True

    def _path(self, entry: Entry, parts: Parts, folder: str) -> str:
        """Where an entry goes, its directory made where it is missing."""
        *parents, name = (os.fsdecode(part) for part in parts)
        here = folder
        for parent in parents:
            here = self._folder(entry, f"{here}/{parent}" if here else parent, folder)
        return f"{here}/{name}" if here else name

    def _folder(self, entry: Entry, path: str, folder: str) -> str:
        """The real path of a directory on the way to an entry: made where it is missing, but not behind a link."""
        try:
            real = self._base.resolve(path[len(folder) :], folder)
            if real != path and self._base.kind(real) != "dir":
                raise refused(entry, f"it is beneath the link {shown(os.fsencode(path))}, which leads to no directory")
            return self._plan.make(real, root_owned=True)
        except (Conflict, InvalidArgument) as error:
            raise refused(entry, f"it is beneath {error.where}, which is no directory") from None

    def _parts(self, entry: Entry, name: bytes) -> Parts:
        """The parts of a name: beneath the destination, whatever it looks like, as in docker's chroot."""
        parts = split(b"/" + name) or []
        if any(part.startswith(b".wh.") for part in parts):
            raise refused(entry, "a name with .wh. in front means a removal in a layer")
        return parts

    def _link(self, entry: Entry, folder: str, written: set[str]) -> None:
        """Point a hard link to where its file went."""
        parts = self._parts(entry, entry.linkname)
        *parents, name = (os.fsdecode(part) for part in parts) if parts else ("",)
        real = self._base.resolve("/".join(parents), folder)
        path = f"{real}/{name}" if real else name
        if path not in written:
            raise refused(entry, f"it is a hard link to {shown(entry.linkname)}, which the archive lacks")
        entry.linkname = os.fsencode(path)

    def _dress(self, entry: Entry, path: str) -> None:
        """Name, owner, time and attributes as the layer has them."""
        entry.name = os.fsencode(path)
        entry.mode = 0o777 if entry.kind == "symlink" else entry.mode
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if max(entry.uid, entry.gid) >= NO_ID:
            raise refused(entry, f"its owner {entry.uid}:{entry.gid} is out of range")
        entry.mtime_ns = min(entry.mtime_ns, self._epoch)
        entry.xattrs = {key: value for key, value in entry.xattrs.items() if keeps_xattr(key)}


def _check_device(entry: Entry) -> None:
    if entry.major >= 1 << 12 or entry.minor >= 1 << 20:
        raise refused(entry, f"its device number {entry.major}:{entry.minor} is out of range")
    if (entry.kind, entry.major, entry.minor) == ("char", 0, 0):
        raise refused(entry, "a character device 0:0 would be taken for a removal")


def _stream(fd: int) -> Stream:
    read = lambda size: os.read(fd, size)  # noqa: E731
    return Stream(read, LIMITS["ratio"], LIMITS["ratio_floor"], hashing=False, more=BZIP2)
