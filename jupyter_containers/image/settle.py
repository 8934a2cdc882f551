"""What a layer leaves to those beneath it, settled once they are unpacked.

Layers are unpacked side by side, each as if alone. Two things depend on the layers below: directories that a layer
has only because something in them changed keep owner, mode and attributes of the directory below, and whiteouts that
hide nothing are dropped (overlayfs would list their names in a directory that is not merged).
"""

from __future__ import annotations

import os
import stat

from jupyter_containers.image import stack
from jupyter_containers.image.rooted import DIRECTORY, Parts, is_whiteout


def settle(target: bytes, implied: list[Parts], whiteouts: list[Parts], lower: list[bytes], opaque: bytes) -> int:
    """Settle the layer in *target* upon *lower* (top first); how many things changed.

    Args:
        target: the layer's directory.
        implied: directories that it did not describe.
        whiteouts: what it hides.
        lower: directories of the layers beneath.
        opaque: the attribute of directories that hide what is below.
    """
    return sum(_adopt(target, parts, lower, opaque) for parts in implied) + sum(
        _drop(target, parts, lower, opaque) for parts in whiteouts
    )


def _adopt(target: bytes, parts: Parts, lower: list[bytes], opaque: bytes) -> bool:
    found, mine = stack.find(lower, parts, opaque), stack.find([target], parts, opaque)
    try:
        if found is None or mine is None:
            return False
        model, copy = (os.open(parts[-1], DIRECTORY, dir_fd=fd) for fd in (found, mine))
        try:
            _copy_status(model, copy)
        finally:
            os.close(model)
            os.close(copy)
        return True
    except (NotADirectoryError, FileNotFoundError):
        return False  # below it is no directory
    finally:
        stack.close(found, mine)


def _drop(target: bytes, parts: Parts, lower: list[bytes], opaque: bytes) -> bool:
    at, hidden = stack.parent(target, parts, opaque)
    if at is None:
        return False
    below = None if hidden else stack.find(lower, parts, opaque)
    try:
        idle = below is None and is_whiteout(os.stat(parts[-1], dir_fd=at, follow_symlinks=False))
        if idle:
            os.unlink(parts[-1], dir_fd=at)
        return idle
    except FileNotFoundError:
        return False
    finally:
        stack.close(at, below)


def _copy_status(model: int, mine: int) -> None:
    status = os.fstat(model)
    os.fchown(mine, status.st_uid, status.st_gid)
    os.fchmod(mine, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(model):
        if name.startswith("user.") and not name.startswith("user.overlay."):
            os.setxattr(mine, name, os.getxattr(model, name))
    os.utime(mine, ns=(status.st_atime_ns, status.st_mtime_ns))
