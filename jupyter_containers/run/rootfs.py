"""The root file system of a container as OCI mounts: an overlay over an image's layers, or the ``host`` image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RootFs:
    """Mounts that make the root, and folders that must exist in the bundle before they can be made."""

    mounts: Sequence[dict[str, Any]]
    folders: Sequence[Path]
    masks: Sequence[str] = ()


def of_layers(bundle: Path, layers: Iterable[Path]) -> RootFs:
    """An overlay: *layers* top first below, the bundle's ``upper`` above."""
    return RootFs([_overlay("/", layers, bundle / "upper", bundle / "work")], [bundle / "upper", bundle / "work"])


def of_host(bundle: Path, skeleton: Path, entries: Iterable[Any], masks: Sequence[str]) -> RootFs:
    """The ``host`` image: a skeleton as root, each part of this machine's system mounted into it.

    What the user may change is an overlay of its own; what belongs to others is bound read-only.
    """
    root = of_layers(bundle, [skeleton])
    mounts, folders = list(root.mounts), list(root.folders)
    for number, entry in enumerate(entries):
        if entry.kind == "overlay":
            upper, work = bundle / "upper-host" / str(number), bundle / "work-host" / str(number)
            mounts.append(_overlay(str(entry.destination), [Path(entry.source)], upper, work))
            folders += [upper, work]
        else:
            options = ["rbind", "rprivate", "ro", "nosuid", "nodev"]
            mounts.append(
                {"destination": str(entry.destination), "type": "bind", "source": str(entry.source), "options": options}
            )
    if len(folders) > len(root.folders):
        folders[2:2] = [bundle / "upper-host", bundle / "work-host"]
    return RootFs(mounts, folders, masks)


def _overlay(destination: str, lower: Iterable[Path], upper: Path, work: Path) -> dict[str, Any]:
    options = [*(f"lowerdir+={layer}" for layer in lower), f"upperdir={upper}", f"workdir={work}"]
    return {"destination": destination, "type": "overlay", "source": "overlay", "options": options}
