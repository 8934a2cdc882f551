"""A blob that grows as it comes, under its lock, and outlives a process that dies meanwhile.

What is there already is hashed again before it is continued: a beginning is believed no more than a whole. Not here:
where its bytes come from (``download``).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_containers.errors import DigestMismatch, RegistryUnreachable
from jupyter_containers.image import digest as digests
from jupyter_containers.image.blobs import CHUNK, storage_errors, sync
from jupyter_containers.image.locks import try_locked
from jupyter_containers.image.media import Descriptor

_LOOK = 0.1  # seconds between looks at a lock that another process has


@contextmanager
def turn(path: Path, cancelled: threading.Event) -> Iterator[None]:
    """Hold the lock of the growing blob *path*, waiting for it as long as nobody cancels."""
    lock = path.with_name(path.name + ".lock")
    while True:
        with try_locked(lock) as mine:
            if mine is not None:
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        if cancelled.wait(_LOOK):
            raise RegistryUnreachable("cancelled while another process gets it", f"blob {path.name}")


class Growing:
    """A blob being written at *path*. A context manager; call :meth:`finish` when it is whole.

    Attributes:
        size: bytes that are there.
        continued: whether some came in another answer than the rest.
    """

    def __init__(self, path: Path, wanted: Descriptor) -> None:
        self.path, self._wanted = path, wanted
        self.size, self.continued = 0, False
        self._hash = hashlib.new(digests.algorithm(wanted.digest))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._file = os.fdopen(fd, "r+b", buffering=0)

    def __enter__(self) -> Growing:
        while chunk := self._file.read(CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)
        self.continued = self.size > 0
        if self.size > self._wanted.size:
            self.restart()
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        if self.size == 0:
            self.discard()

    @property
    def whole(self) -> bool:
        """Whether all bytes are there, right or not."""
        return self.size == self._wanted.size

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            DigestMismatch: it becomes longer than it should be. StorageFull: no room; it is removed.
        """
        if self.size + len(data) > self._wanted.size:
            self._wrong(f"more than the expected {self._wanted.size} bytes came")
        try:
            with storage_errors(self.path):
                rest = memoryview(data)
                while rest:
                    rest = rest[self._file.write(rest) or 0 :]
        except BaseException:
            self.discard()
            raise
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Begin at the beginning again."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(digests.algorithm(self._wanted.digest))
        self.size, self.continued = 0, False

    def right(self) -> bool:
        """Whether the digest is what it should be."""
        return self._hash.hexdigest() == digests.encoded(self._wanted.digest)

    def finish(self, target: Path) -> None:
        """Sync and rename it to *target*.

        Raises:
            DigestMismatch: it is not what it should be; it is removed.
        """
        if not (self.whole and self.right()):
            got = f"{self._hash.name}:{self._hash.hexdigest()}"
            self._wrong(f"{self.size} bytes with digest {got} came instead of {self._wanted.size} bytes")
        with storage_errors(target):
            target.parent.mkdir(mode=0o755, exist_ok=True)
            sync(self.path)
            self.path.replace(target)

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)

    def _wrong(self, what: str) -> None:
        self.discard()
        mend = "The registry or something on the way to it is damaged or hostile."
        raise DigestMismatch(what, f"blob {self._wanted.digest}", mend)
