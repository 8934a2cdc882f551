"""Where overlayfs finds a name in a stack of layers, looked up by descriptors without mounting anything."""

from __future__ import annotations

import os

from jupyter_containers.image.rooted import DIRECTORY, Parts, is_whiteout


def find(roots: list[bytes], parts: Parts, opaque: bytes) -> int | None:
    """The directory (to be closed) in which overlayfs would find the last of *parts*; None where it would not."""
    for root in roots:
        at, hidden = parent(root, parts, opaque)
        try:
            if at is not None and not is_whiteout(os.stat(parts[-1], dir_fd=at, follow_symlinks=False)):
                return at
            hidden = hidden or at is not None
        except FileNotFoundError:
            pass
        close(at)
        if hidden:
            return None
    return None


def parent(root: bytes, parts: Parts, opaque: bytes) -> tuple[int | None, bool]:
    """The directory of *parts* in one layer, and whether layers below it are hidden there."""
    at, hidden = os.open(root, DIRECTORY), False
    for part in parts[:-1]:
        try:
            down = os.open(part, DIRECTORY, dir_fd=at)
        except FileNotFoundError:
            os.close(at)
            return None, hidden
        except OSError:  # a file, a link or a whiteout
            os.close(at)
            return None, True
        os.close(at)
        at, hidden = down, hidden or opaque.decode() in os.listxattr(down)
    return at, hidden


def close(*fds: int | None) -> None:
    """Close those that are descriptors."""
    for fd in fds:
        if fd is not None:
            os.close(fd)
