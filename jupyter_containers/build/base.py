"""The root that a layer is made upon, seen through its layers without a mount, and with what the layer adds.

Where a COPY's destination leads is found here: symbolic links are followed as if the root were ``/``, so no path leads
out of it (CVE-2021-30465, CVE-2026-55686), and a later file sees what an earlier one made. Paths are text without a
leading slash; ``""`` is the root.
Not here: what is put where (``target``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from jupyter_containers.build.selection import KINDS
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image import stack
from jupyter_containers.image.rooted import LINKS, is_whiteout

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Base:
    """A root of layers.

    Args:
        layers: their directories, top first; none for an empty root.
        opaque: the attribute of directories that hide what is below (``apply.opaque_attribute``).
    """

    def __init__(self, layers: Sequence[bytes], opaque: bytes) -> None:
        self._layers, self._opaque = list(layers), opaque
        self._listings: dict[str, dict[str, str]] = {}
        self._made: dict[str, str] = {}
        self._targets: dict[str, str] = {}

    def kind(self, path: str) -> str:
        """What is at *path*, whose directory is real: ``dir file symlink ...``, or ``""`` for nothing."""
        if not path:
            return "dir"
        if path in self._made:
            return self._made[path]
        folder, _, name = path.rpartition("/")
        return self._listing(folder).get(name, "")

    def put(self, path: str, kind: str, target: str = "") -> None:
        """From now on there is something else at *path*: the layer has it.

        Args:
            target: of a symbolic link.
        """
        if kind != "dir" and self.kind(path) == "dir":
            self._forget_beneath(path)
        self._made[path], self._targets[path] = kind, target

    def resolve(self, path: str, beneath: str = "") -> str:
        """Where *path* leads once symbolic links are followed, its own too; what is not there stays as it is named.

        Args:
            beneath: a real directory that *path* is relative to, and that neither ``..`` nor a link leads out of.

        Raises:
            InvalidArgument: links go round in circles.
        """
        top = [part for part in beneath.split("/") if part]
        here, todo, links = list(top), path.split("/")[::-1], 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = here[:-1] if len(here) > len(top) else here
            elif part not in ("", "."):
                at = "/".join([*here, part])
                if self.kind(at) != "symlink":
                    here.append(part)
                    continue
                links += 1
                if links > LINKS:
                    raise InvalidArgument("too many symbolic links", f"/{at}")
                target = self.target(at)
                here = list(top) if target.startswith("/") else here
                todo += target.split("/")[::-1]
        return "/".join(here)

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file of the layers, at most *limit* bytes; none where there is no ordinary file."""
        real = self.resolve(path)
        at = stack.find(self._layers, [os.fsencode(part) for part in real.split("/")], self._opaque) if real else None
        if at is None:
            return b""
        try:
            fd = os.open(real.rpartition("/")[2], _READ, dir_fd=at)
        except OSError:
            return b""
        finally:
            os.close(at)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return b""
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            return file.read(limit)

    def target(self, path: str) -> str:
        """Where the symbolic link at *path* points to."""
        if path in self._made:
            return self._targets[path]
        parts = [os.fsencode(part) for part in path.split("/")]
        at = stack.find(self._layers, parts, self._opaque)
        if at is None:
            return ""
        try:
            return os.fsdecode(os.readlink(parts[-1], dir_fd=at))
        finally:
            os.close(at)

    # --- layers ---

    def _listing(self, folder: str) -> dict[str, str]:
        """The names in a directory of the merged layers, with their kinds; none where it is no directory."""
        if folder not in self._listings:
            there = bool(self._layers) and (not folder or self._below(folder) == "dir")
            self._listings[folder] = self._merged(folder) if there else {}
        return self._listings[folder]

    def _below(self, path: str) -> str:
        """As :meth:`kind`, of the layers alone."""
        folder, _, name = path.rpartition("/")
        return self._listing(folder).get(name, "")

    def _merged(self, folder: str) -> dict[str, str]:
        found: dict[str, str] = {}
        parts = [os.fsencode(part) for part in folder.split("/") if part]
        for root in self._layers:
            at, hidden = stack.parent(root, [*parts, b"."], self._opaque)
            if at is not None:
                try:
                    for name, kind in _entries(at):
                        found.setdefault(name, kind)
                finally:
                    os.close(at)
            if hidden:
                break
        return {name: kind for name, kind in found.items() if kind}

    def _forget_beneath(self, path: str) -> None:
        """What was in a directory that is replaced is gone."""
        for made in [made for made in self._made if made.startswith(f"{path}/")]:
            del self._made[made], self._targets[made]
        for folder in [one for one in self._listings if one == path or one.startswith(f"{path}/")]:
            self._listings[folder] = {}


def _entries(fd: int) -> list[tuple[str, str]]:
    """The names in a directory of one layer, with their kinds; ``""`` for a whiteout."""
    with os.scandir(fd) as entries:
        return [(entry.name, _kind(entry)) for entry in entries]


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_dir(follow_symlinks=False):
        return "dir"
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_symlink():
        return "symlink"
    status = entry.stat(follow_symlinks=False)
    return "" if is_whiteout(status) else KINDS.get(stat.S_IFMT(status.st_mode), "socket")
