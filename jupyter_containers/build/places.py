"""Places in a root of layers: where a path leads, what of it is missing, and taking away what was made for a mount.

Everything is looked up in the layers themselves, part by part and without following links of the host's, so no path
leads out of them (CVE-2024-1753), and a place is only taken away where no link has come to stand on the way to it
(CVE-2024-23652). Runs in ``worker``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from jupyter_containers.build.base import Base
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image import stack


def locate(layers: Sequence[bytes], path: str, opaque: bytes) -> list[bytes]:
    """The folders that overlayfs would merge at *path*, top first; of a file that one; nothing where nothing is."""
    base = Base(layers, opaque)
    real = base.resolve(path)
    kind = base.kind(real)
    if kind == "dir":
        return list(_folders(layers, real, opaque))
    return [_file(layers, real, opaque)] if kind == "file" else []


def missing(layers: Sequence[bytes], paths: Iterable[str], opaque: bytes) -> list[str]:
    """What has to be made so that there is something at each of *paths*, parents first."""
    base, found = Base(layers, opaque), []
    for path in paths:
        parts = base.resolve(path).split("/")
        for count in range(1, len(parts) + 1):
            at = "/".join(parts[:count])
            if not base.kind(at):
                base.put(at, "dir")
                found.append(at)
    return found


def folders(layers: Sequence[bytes], path: str, opaque: bytes) -> list[str]:
    """As :meth:`missing`, of a folder.

    Raises:
        InvalidArgument: there is something else.
    """
    base = Base(layers, opaque)
    parts = base.resolve(path).split("/")
    for count in range(1, len(parts) + 1):
        at = "/".join(parts[:count])
        if (kind := base.kind(at)) not in ("", "dir"):
            raise InvalidArgument(f"cannot make the folder: there is a {kind}", f"/{at}")
    return missing(layers, [path], opaque)


def take_away(upper: bytes, places: Sequence[str], opaque: bytes) -> None:
    """Remove from a writable layer the *places* that were made for mounts and are empty."""
    for place in sorted(places, key=lambda one: one.count("/"), reverse=True):
        parts = [os.fsencode(part) for part in place.split("/")]
        at, _ = stack.parent(upper, parts, opaque)
        if at is None:
            continue
        try:
            with suppress(OSError):  # it is not there, or not empty: the step's own
                status = os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(parts[-1], dir_fd=at)
                elif stat.S_ISREG(status.st_mode) and not status.st_size:
                    os.unlink(parts[-1], dir_fd=at)
        finally:
            os.close(at)


def _folders(layers: Sequence[bytes], real: str, opaque: bytes) -> Iterator[bytes]:
    parts = [os.fsencode(part) for part in real.split("/") if part]
    for root in layers:
        at, hidden = stack.parent(root, [*parts, b"."], opaque)
        if at is not None:
            os.close(at)
            yield b"/".join([root, *parts])
        if hidden:
            return


def _file(layers: Sequence[bytes], real: str, opaque: bytes) -> bytes:
    parts = [os.fsencode(part) for part in real.split("/")]
    for root in layers:
        at, _ = stack.parent(root, parts, opaque)
        if at is None:
            continue
        try:
            os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
            return b"/".join([root, *parts])
        except FileNotFoundError:
            continue
        finally:
            os.close(at)
    raise InvalidArgument("it was there a moment ago", f"/{real}")
