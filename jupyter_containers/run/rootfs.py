"""The root file system of a container as OCI mounts: an overlay over an image's layers, or the ``host`` image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_containers.run.host import HostParts


@dataclass(frozen=True)
class RootFs:
    """Mounts that make the root, and folders that must exist in the bundle before they can be made."""

    mounts: Sequence[dict[str, Any]]
    folders: Sequence[Path]
    masks: Sequence[str] = ()


def of_layers(bundle: Path, layers: Iterable[Path]) -> RootFs:
    """An overlay: *layers* top first below, the bundle's ``upper`` above."""
    return RootFs([_overlay("/", layers, bundle / "upper", bundle / "work")], [bundle / "upper", bundle / "work"])


def of_host(bundle: Path, parts: HostParts) -> RootFs:
    """The ``host`` image: a skeleton as root, each part of this machine's system mounted into it.

    What the user may change is an overlay of its own; what belongs to others is bound read-only.
    """
    root = of_layers(bundle, [parts.skeleton])
    mounts, folders = list(root.mounts), list(root.folders)
    for number, part in enumerate(parts.mounted):
        if part.overlay:
            upper, work = bundle / f"upper-{number}", bundle / f"work-{number}"
            mounts.append(_overlay(part.destination, part.lower, upper, work))
            folders += [upper, work]
        else:
            mounts.append(_readonly(part.destination, part.lower[0]))
    return RootFs(mounts, folders, parts.masks)


def _readonly(destination: str, source: Path) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro", "nosuid", "nodev"]
    return {"destination": destination, "type": "bind", "source": str(source), "options": options}


def _overlay(destination: str, lower: Iterable[Path], upper: Path, work: Path) -> dict[str, Any]:
    options = [*(f"lowerdir+={layer}" for layer in lower), f"upperdir={upper}", f"workdir={work}"]
    return {"destination": destination, "type": "overlay", "source": "overlay", "options": options}
