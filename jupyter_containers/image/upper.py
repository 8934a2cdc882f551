"""What the writable layer of a container changes: added, changed and removed names, read from overlayfs' own marks.

One place for ``diff`` and ``commit``. A name is *removed* where the layer has a whiteout for something that lies below
(or its directory is opaque and has it no more), *changed* where something of that name lies below, else *added*. A
directory that is there only because something in it changed is *changed*, as docker says. Runs where the files can be
read (``image.unpack``, verb ``changes``). https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from jupyter_containers.image import stack
from jupyter_containers.image.rooted import DIRECTORY, Parts, is_whiteout

ADDED, CHANGED, REMOVED = "A", "C", "D"  # docker diff's letters


@dataclass(frozen=True)
class Change:
    """One changed name.

    Attributes:
        kind: ``A``, ``C`` or ``D``.
        path: without a leading slash, as stored.
    """

    kind: str
    path: bytes


def changes(upper: bytes, lower: Sequence[bytes], opaque: bytes) -> Iterator[Change]:
    """The changes of directory *upper* upon *lower* (top first), parents before children, names in order.

    Args:
        opaque: the attribute that overlayfs puts on a directory which hides what is below (``apply.opaque_attribute``).
    """
    lister = _Lister(list(lower), os.fsdecode(opaque))
    walk = [lister.folder(os.open(upper, DIRECTORY), [], below=True, shut=False)]
    try:
        while walk:
            change = next(walk[-1], None)
            if change is None:
                walk.pop()
            elif isinstance(change, Change):
                yield change
            else:
                walk.append(change)
    finally:
        for folder in reversed(walk):
            folder.close()


Folder = Generator["Change | Folder", None, None]


class _Lister:
    """Lists folders one by one: a folder gives changes, and the folders in it instead of descending into them."""

    def __init__(self, lower: list[bytes], opaque: str) -> None:
        self._lower, self._opaque = lower, opaque

    def folder(self, fd: int, parts: Parts, below: bool, shut: bool) -> Folder:
        """The changes in directory *fd*, which is closed.

        Args:
            below: whether lower layers have this directory too. shut: whether they don't shine through it.
        """
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(fd))
            shut = shut or self._opaque in os.listxattr(fd)
            hidden = self._hidden(parts, names) if below and shut else set()
            for name in sorted({*names, *hidden}):
                if name in hidden:
                    yield Change(REMOVED, b"/".join([*parts, name]))
                else:
                    yield from self._one(fd, [*parts, name], below, shut)
        finally:
            os.close(fd)

    def _one(self, at: int, parts: Parts, below: bool, shut: bool) -> Folder:
        path, status = b"/".join(parts), os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
        there = self._below(parts) if below else None
        if is_whiteout(status):
            if there is not None:
                yield Change(REMOVED, path)
            return
        yield Change(ADDED if there is None else CHANGED, path)
        if stat.S_ISDIR(status.st_mode):
            merged = there is not None and stat.S_ISDIR(there.st_mode)
            yield self.folder(os.open(parts[-1], DIRECTORY, dir_fd=at), parts, merged, shut)

    def _hidden(self, parts: Parts, names: Sequence[bytes]) -> set[bytes]:
        """What lower layers have in an opaque directory that has it no more."""
        found: set[bytes] = set()
        for root in self._lower:
            at, _ = stack.parent(root, [*parts, b"."], self._attribute)
            if at is not None:
                found |= {os.fsencode(name) for name in os.listdir(at)}
            stack.close(at)
        return {name for name in found if name not in names and self._below([*parts, name]) is not None}

    def _below(self, parts: Parts) -> os.stat_result | None:
        at = stack.find(self._lower, parts, self._attribute)
        if at is None:
            return None
        try:
            return os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
        finally:
            os.close(at)

    @property
    def _attribute(self) -> bytes:
        return os.fsencode(self._opaque)
