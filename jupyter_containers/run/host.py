"""The ``host`` image on disk: from its description (:mod:`jupyter_containers.image.host`) to what a root is made of.

A *skeleton* holds folders, links and mount points and is the lowest layer of each container's root; a *cover* holds
whiteouts that hide credentials beneath a copy-on-write part. Both are made once for each description, by rename.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_containers.image.host import Entry, HostImage


@dataclass(frozen=True)
class Part:
    """One part of this machine in a container: copy-on-write over *lower* (top first), or bound read-only."""

    destination: str
    lower: Sequence[Path]
    overlay: bool


@dataclass(frozen=True)
class HostParts:
    """The skeleton, the parts in the order in which they are mounted, and paths that the runtime must mask."""

    skeleton: Path
    mounted: Sequence[Part]
    masks: Sequence[str]


def parts(image: HostImage, folder: Path) -> HostParts:
    """What *image* is made of; skeleton and covers are made beneath *folder* where they are missing."""
    made = folder / image.id.removeprefix("sha256:")[:32]
    covered = _covered(image)
    if not made.is_dir():
        _make(image, covered, made)
    mounted = [_part(entry, made, covered) for entry in image.entries if entry.kind in ("overlay", "readonly")]
    hidden = {path for paths in covered.values() for path in paths}
    return HostParts(made / "skeleton", mounted, tuple(path for path in image.masks if path not in hidden))


def _part(entry: Entry, made: Path, covered: dict[str, list[str]]) -> Part:
    lower = [Path(entry.source)]
    if entry.destination in covered:
        lower.insert(0, made / _cover_name(entry.destination))
    return Part(entry.destination, lower, entry.kind == "overlay")


def _covered(image: HostImage) -> dict[str, list[str]]:
    """Masked paths by the overlay part that holds them; only root can make whiteouts outside a namespace."""
    found: dict[str, list[str]] = {}
    if os.geteuid() != 0:
        return found
    destinations = {entry.destination: entry.kind for entry in image.entries}
    for path in image.masks:
        above = path
        while above not in destinations and above != "/":
            above = str(Path(above).parent)
        if destinations.get(above) == "overlay":
            found.setdefault(above, []).append(path)
    return found


def _cover_name(destination: str) -> str:
    return "cover" + destination.replace("/", "-")


def _make(image: HostImage, covered: dict[str, list[str]], made: Path) -> None:
    temporary = made.with_name(f".new-{os.getpid()}-{secrets.token_hex(4)}")
    skeleton = temporary / "skeleton"
    skeleton.mkdir(parents=True, mode=0o755)
    skeleton.chmod(0o755)
    for entry in image.entries:
        _make_entry(entry, skeleton, image)
    for destination, paths in covered.items():
        _make_cover(temporary / _cover_name(destination), destination, paths)
    try:
        temporary.rename(made)
    except OSError:  # another process was quicker
        if not made.is_dir():
            raise


def _make_entry(entry: Entry, skeleton: Path, image: HostImage) -> None:
    path = skeleton / entry.destination.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "symlink":
        path.symlink_to(entry.source)
    elif entry.kind == "dir" or Path(entry.source).is_dir():
        path.mkdir(exist_ok=True)
        path.chmod(entry.mode)
    else:
        path.touch()


def _make_cover(cover: Path, destination: str, paths: Sequence[str]) -> None:
    """A layer with a whiteout for each path; its folders look like those that they cover."""
    _copy_folder(Path(destination), cover)
    for path in paths:
        inner = cover
        for name in Path(path).relative_to(destination).parts[:-1]:
            _copy_folder(Path(destination) / inner.relative_to(cover) / name, inner / name)
            inner = inner / name
        os.mknod(inner / Path(path).name, stat.S_IFCHR | 0o000, os.makedev(0, 0))


def _copy_folder(source: Path, target: Path) -> None:
    found = source.stat()
    target.mkdir(exist_ok=True)
    os.chown(target, found.st_uid, found.st_gid)
    target.chmod(stat.S_IMODE(found.st_mode))
