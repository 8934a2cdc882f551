"""Single blobs: written with their digest taken on the way, read with it checked.

Where blobs are kept, and who may remove them, is ``layout``'s.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from jupyter_containers.errors import DigestMismatch, InvalidImage, StorageFull
from jupyter_containers.image import digest as digests
from jupyter_containers.image import media

CHUNK = 1 << 20


class Readable(Protocol):
    """What blobs are read from."""

    def read(self, size: int, /) -> bytes:
        """At most *size* bytes, ``b""`` at the end."""
        ...


class Incoming:
    """One blob being written. :meth:`commit` makes it part of the store; until then it is only a temporary file.

    Args:
        path: the temporary file; it must not exist.
        place: where a blob of a digest belongs.
    """

    def __init__(self, path: Path, place: Callable[[str], Path]) -> None:
        self.size = 0
        self._path, self._place = path, place
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    @property
    def digest(self) -> str:
        """Of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Append *data*."""
        self._hash.update(data)
        self.size += len(data)
        with storage_errors(self._path):
            while data:
                data = data[self._file.write(data) or 0 :]

    def head(self, count: int = 16) -> bytes:
        """The first bytes written."""
        with self._path.open("rb") as file:
            return file.read(count)

    def content(self, where: str) -> bytes:
        """All of it, as JSON documents are read: bounded."""
        if self.size > media.JSON_LIMIT:
            raise InvalidImage(f"its JSON is larger than {media.JSON_LIMIT} bytes", where)
        return self._path.read_bytes()

    def close(self) -> Incoming:
        """No more will be written; it may be committed later."""
        self._file.close()
        return self

    def commit(self, digest: str = "", size: int | None = None) -> str:
        """Check, sync and rename into place; the digest. Doing it twice is doing it once.

        Raises:
            DigestMismatch: it is not what it should be.
        """
        self.close()
        if (digest and digest != self.digest) or (size is not None and size != self.size):
            raise DigestMismatch(f"{self.size} bytes with digest {self.digest} came", f"blob {digest} of {size} bytes")
        target = self._place(self.digest)
        if self._path.exists() and not is_there(target, self.size):
            with storage_errors(target):
                sync(self._path)
                self._path.replace(target)
        return self.digest


class VerifiedReader:
    """A blob as a stream that raises :class:`DigestMismatch` at its end when it was not what it should be."""

    def __init__(self, file: BinaryIO, digest: str, size: int | None) -> None:
        self._file, self._digest, self._expected = file, digest, size
        self._hash, self._size = hashlib.new(digests.algorithm(digest)), 0

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes; all when it is negative."""
        data = self._file.read(size)
        self._hash.update(data)
        self._size += len(data)
        if not data or size < 0:
            self._check()
        return data

    def _check(self) -> None:
        got = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if got != self._digest or self._expected not in (None, self._size):
            raise DigestMismatch(
                f"the stored file has {self._size} bytes with digest {got}",
                f"blob {self._digest}",
                "The disk or somebody changed it: remove the image and get it again.",
            )

    def __enter__(self) -> VerifiedReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def is_there(path: Path, size: int | None) -> bool:
    """Whether a blob file exists (and has that size)."""
    try:
        return size in (None, path.stat().st_size)
    except FileNotFoundError:
        return False


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Say :class:`StorageFull` for a disk or quota that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise full(path.parent) from None


def full(path: Path) -> StorageFull:
    """The error for a disk without room at *path*."""
    return StorageFull(
        "the disk is too full to store the image",
        str(path),
        "Free some space (`system prune` removes unused images), or move the store with JUPYTER_CONTAINERS_HOME.",
    )


def sync(path: Path) -> None:
    """Let a file or directory reach the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
