"""A build context that comes as a stream: unpacked into a private folder, or taken for a Dockerfile.

As ``docker build -``: what begins like a tar, compressed or not, is the context, anything else is a Dockerfile with an
empty one. Whoever owns the entries, the files are ours; devices are left out. Nothing in the tar can lead out of the
folder (``image.rooted``). Not here: layers, whose whiteouts mean something (``image.unpack``).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from jupyter_containers.errors import InvalidArchive, InvalidArgument, LayerError
from jupyter_containers.image.apply import LIMITS, Unpacker
from jupyter_containers.image.compression import BZIP2, Stream, detect
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import Tree, split
from jupyter_containers.image.tarheader import BLOCK, Entry, check_sum
from jupyter_containers.image.tarstream import TarReader

_MEND = "Make it again, for example with `tar -C FOLDER -c .`."


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes; none at the end."""
        ...


@contextmanager
def received(source: Readable, area: Path, limit: int) -> Iterator[tuple[Path, bytes | None]]:
    """A private folder with what *source* has, removed afterwards; and the Dockerfile that it is instead of a tar.

    Args:
        area: where the folder is made.
        limit: most bytes of a Dockerfile.

    Raises:
        InvalidArchive, StorageFull: a tar cannot be unpacked, or must not be.
        InvalidArgument: a Dockerfile is larger than *limit*.
    """
    area.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="context-", dir=area))
    try:
        head = _head(source)
        text = None if is_tar(head) else _text(source, head, limit)
        if text is None:
            _unpack(source, head, folder)
        yield folder, text
    finally:
        _remove(folder)


def is_tar(head: bytes) -> bool:
    """Whether bytes begin like a compressed file or a tar: a header whose checksum is right, or the end of one."""
    if detect(head, BZIP2) != "none":
        return True
    if len(head) < BLOCK:
        return False
    try:
        check_sum(head[:BLOCK])
    except LayerError:
        return not any(head)
    return True


def _head(source: Readable) -> bytes:
    head = b""
    while len(head) < BLOCK and (more := source.read(BLOCK - len(head))):
        head += more
    return head


def _text(source: Readable, head: bytes, limit: int) -> bytes:
    data = head
    while len(data) <= limit and (more := source.read(1 << 16)):
        data += more
    if len(data) > limit:
        raise InvalidArgument(f"it is no tar, and larger than {limit} bytes for a Dockerfile", "build context", _MEND)
    return data


def _unpack(source: Readable, head: bytes, folder: Path) -> None:
    pending = [head]
    read = lambda size: pending.pop() if pending else source.read(size)  # noqa: E731
    try:
        with (
            Tree(os.fsencode(folder), b"user.overlay.opaque") as tree,
            Stream(read, LIMITS["ratio"], LIMITS["ratio_floor"], hashing=False, more=BZIP2) as stream,
        ):
            unpacker = Unpacker(tree, "rootless-single", LIMITS)
            unpacker.run(_Plain(iter(stream)), lambda _: None)
            stream.finish()
            _open_up(tree)
    except LayerError as error:
        raise InvalidArchive(error.what, f"build context, {error.where}".removesuffix(", "), _MEND) from None


def _open_up(tree: Tree) -> None:
    """Directories that the tar has no entry for are as docker makes them, whatever our umask."""
    for path in tree.implied:
        try:
            fd = tree.strict(path.split(b"/"))
        except OSError:
            continue  # a later entry replaced it
        os.fchmod(fd, 0o755)
        os.close(fd)


class _Plain(TarReader):
    """The entries of a tar as files of ours: no other owners, and no name that layers would take for a removal."""

    def __iter__(self) -> Iterator[Entry]:
        for entry in super().__iter__():
            parts = split(entry.name) or [b""]
            if parts[-1].startswith(b".wh."):
                raise LayerError("a name with .wh. in front would remove something", f"entry {shown(entry.name)!r}")
            entry.uid = entry.gid = 0
            yield entry


def _remove(folder: Path) -> None:
    """Remove a tree, also where its directories' modes forbid it."""
    folder.chmod(0o700)
    for at, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(at, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
