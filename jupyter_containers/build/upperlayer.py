"""From what a step wrote, in overlayfs form, to the tar of a layer; and the files as the layer will have them.

Both are made in one pass, so that the folder can become the unpacked layer as it is. A name is removed by a whiteout
only where something lies below; a directory that hides others says so name by name. So the tar depends on nothing but
the two file trees: the marks that overlayfs happens to leave are not in it. Times later than the build's epoch become
the epoch. With one user id only, what is new counts as its that the step ran as. Runs in ``worker``.
https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from jupyter_containers.errors import LayerError
from jupyter_containers.image.apply import OVERRIDE_STAT
from jupyter_containers.image.pack import Packer, Write
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import is_whiteout
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.upper import ADDED, REMOVED, changes

_WHITEOUT = b".wh."
_SECOND = 10**9


class UpperPacker(Packer):
    """Packs a container's writable layer, and settles its times.

    Args:
        upper: its path.
        lower: the layers below, top first.
        opaque: see ``upper.changes``.
        epoch: seconds since 1970 that no file is younger than afterwards.
        creator: whose new files are, where the file system can't say: on the rung with one id.
    """

    def __init__(
        self,
        upper: bytes,
        lower: Sequence[bytes],
        opaque: bytes,
        epoch: int,
        write: Write,
        creator: tuple[int, int] = (0, 0),
    ) -> None:
        self._epoch, self._creator = epoch * _SECOND, creator
        self._removed: dict[bytes, list[bytes]] = {}
        self._new: set[bytes] = set()
        for change in changes(upper, lower, opaque):
            if change.kind == REMOVED:
                folder, slash, name = change.path.rpartition(b"/")
                self._removed.setdefault(folder + slash, []).append(name)
            elif change.kind == ADDED and creator != (0, 0):
                self._new.add(change.path)
        self._upper = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        super().__init__(self._upper, write, by_content=True)
        self.adjust = self._own

    def run(self) -> None:
        """Pack all of it."""
        try:
            super().run()
            os.utime(self._upper, ns=(self._epoch, self._epoch))
        finally:
            os.close(self._upper)

    def _names(self, at: int, folder: bytes) -> Iterator[bytes]:
        for name in sorted({*super()._names(at, folder), *self._removed.get(folder, ())}):
            if name in self._removed.get(folder, ()):
                self._whiteout(folder + _WHITEOUT + name)
            else:
                yield name

    def _whiteout(self, path: bytes) -> None:
        entry = Entry(path, "file")
        entry.mtime_ns = self._epoch
        self.record(entry)

    def add(self, at: int, name: bytes, path: bytes) -> int | None:
        if name.startswith(_WHITEOUT):
            raise LayerError("a name that begins with .wh. means a removal in a layer", f"entry {shown(path)!r}")
        status = os.stat(name, dir_fd=at, follow_symlinks=False)
        if is_whiteout(status):
            return None  # of what does not lie below
        if stat.S_ISSOCK(status.st_mode):  # no layer has any
            folder = os.fstat(at)
            os.unlink(name, dir_fd=at)
            os.utime(at, ns=(folder.st_atime_ns, folder.st_mtime_ns))
            return None
        if status.st_mtime_ns > self._epoch:
            os.utime(name, ns=(self._epoch, self._epoch), dir_fd=at, follow_symlinks=False)
        if path in self._new and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            self._record_owner(at, name, status)
        return super().add(at, name, path)

    def _own(self, entry: Entry) -> None:
        if entry.name in self._new:
            entry.uid, entry.gid = self._creator

    def _record_owner(self, at: int, name: bytes, status: os.stat_result) -> None:
        """As unpacking does it, see ``image.apply``."""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            os.setxattr(fd, OVERRIDE_STAT, b"%d:%d:0o%o" % (*self._creator, stat.S_IMODE(status.st_mode)))
        finally:
            os.close(fd)
