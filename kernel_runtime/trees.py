"""Removing a folder tree by descriptors: never through a symbolic link, whatever the tree holds.

``shutil.rmtree`` would do, but importing it costs the launcher 5 ms and 2 MB in every monitor.
"""

from __future__ import annotations

import os
from contextlib import suppress

GONE = ".gone-"
_DEEPEST = 64


def put_aside(path: str) -> str:
    """Rename *path* to a name that marks it as removed (``.gone-…`` beside it); nobody finds it any more."""
    folder, name = os.path.split(path.rstrip("/"))
    gone = os.path.join(folder, f"{GONE}{name}")
    try:
        os.rename(path, gone)
    except FileNotFoundError:
        return path
    return gone


def remove(path: str) -> None:
    """Remove *path* and all beneath it; a missing path is fine.

    Raises:
        OSError: something could not be removed.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        fd = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove_at(fd, name)
    finally:
        os.close(fd)


def _remove_at(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    _remove_folder(parent, name)


def _remove_folder(parent: int, name: str) -> None:
    """Iterative, one open descriptor a level; a very deep folder is first moved up, so that neither ever runs out."""
    stack = [(parent, name, _open_folder(parent, name))]
    while stack:
        above, here, fd = stack[-1]
        if fd < 0:
            stack.pop()
            continue
        deeper = _empty(fd)
        if deeper is not None and len(stack) > _DEEPEST:
            up = f".deep-{os.getpid()}-{id(stack)}-{os.fstat(fd).st_ino}"
            with suppress(FileNotFoundError):
                os.rename(deeper, up, src_dir_fd=fd, dst_dir_fd=stack[0][2])
        elif deeper is not None:
            stack.append((fd, deeper, _open_folder(fd, deeper)))
            continue
        os.close(fd)
        stack.pop()
        with suppress(FileNotFoundError):
            os.rmdir(here, dir_fd=above)


def _open_folder(parent: int, name: str) -> int:
    """A descriptor of the folder; -1 where it is gone: a sweep and a monitor may remove the same tree."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        return -1


def _empty(fd: int) -> str | None:
    """Unlink what is no folder; the name of the first folder met, ``None`` when nothing is left."""
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    folder: str | None = None
    for name, is_folder in found:
        if not is_folder:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError:
            folder = name
            break
    return folder
