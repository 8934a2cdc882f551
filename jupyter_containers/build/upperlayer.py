"""From what a step wrote, in overlayfs form, to the tar of a layer; and the files as the layer will have them.

Both are made in one pass, so that the folder can become the unpacked layer as it is. A name is removed by a whiteout
only where something lies below; a directory that hides others says so name by name. So the tar depends on nothing but
the two file trees: the marks that overlayfs happens to leave are not in it. Times later than the build's epoch become
the epoch. Runs in ``worker``.
https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from jupyter_containers.errors import LayerError
from jupyter_containers.image.pack import Packer, Write
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import is_whiteout
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.upper import REMOVED, changes

_WHITEOUT = b".wh."
_SECOND = 10**9


class UpperPacker(Packer):
    """Packs a container's writable layer, and settles its times.

    Args:
        upper: its path.
        lower: the layers below, top first.
        opaque: see ``upper.changes``.
        epoch: seconds since 1970 that no file is younger than afterwards.
    """

    def __init__(self, upper: bytes, lower: Sequence[bytes], opaque: bytes, epoch: int, write: Write) -> None:
        self._epoch = epoch * _SECOND
        self._removed: dict[bytes, list[bytes]] = {}
        for change in changes(upper, lower, opaque):
            if change.kind == REMOVED:
                folder, slash, name = change.path.rpartition(b"/")
                self._removed.setdefault(folder + slash, []).append(name)
        self._upper = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        super().__init__(self._upper, write, by_content=True)

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
        return super().add(at, name, path)
