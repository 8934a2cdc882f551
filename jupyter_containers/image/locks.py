"""Locks of the store: files held with flock(2), which the kernel lets go whenever and however their holder dies.

A lock is on the open file, so it also keeps threads of one process apart, and a child that inherits the descriptor
keeps it. Lock files may be removed by who holds them: taking one checks that the file is still the one of that name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[int]:
    """Hold the lock *path*, waiting for it; gives its descriptor."""
    fd = _take(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def try_locked(path: Path) -> Iterator[int | None]:
    """Hold the lock *path* if nobody does; gives its descriptor, or None where it is taken."""
    try:
        fd = _take(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _take(path: Path, how: int) -> int:
    while True:
        fd = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(fd, how)
            mine, there = os.fstat(fd), path.stat()
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return fd
        except FileNotFoundError:
            pass  # its holder removed it meanwhile
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
