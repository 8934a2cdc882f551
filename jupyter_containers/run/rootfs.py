"""The root file system of a container as OCI mounts: an overlay over an image's layers, or the ``host`` image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from jupyter_containers.run.host import HostParts


@dataclass(frozen=True)
class RootFs:
    """Mounts that make the root, and folders that must exist in the bundle before they can be made."""

    mounts: Sequence[dict[str, Any]]
    folders: Sequence[Path]
    masks: Sequence[str] = ()


_FOLDERS = ("dev", "etc", "proc", "sys")
_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def init_layer(home: Path, script: str = "") -> Path:
    """Docker's "-init" layer: empty places for what is mounted into every container, made once per store.

    It lies below the image, which so decides about owners and modes; without it each start would have to make them in
    the container's own layer, where they cost a third of a millisecond and show up as changes.

    Args:
        script: where a cell's script is mounted, for the layer of cells; ``""`` for that of other containers.
    """
    layer = home / "layers" / ("init-cell" if script else "init")
    if not layer.is_dir():
        layer.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = Path(mkdtemp(prefix=".new-", dir=layer.parent))
        try:
            _fill(new, (*_FILES, *filter(None, [script.lstrip("/")])))
            new.rename(layer)
        except OSError:
            rmtree(new)
            if not layer.is_dir():  # else another process was faster
                raise
    return layer


def _fill(layer: Path, files: Iterable[str]) -> None:
    for folder in _FOLDERS:
        (layer / folder).mkdir()
    for name in files:
        (layer / name).parent.mkdir(parents=True, exist_ok=True)
        (layer / name).touch()
    for path in (layer, *layer.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask


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
