"""What the engine tells of itself and of this machine: version, info, disk use, doctor."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers import __version__

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

API_VERSION = "1.43"


def version() -> dict[str, Any]:
    """As docker-py's ``version()``."""
    return {
        "Platform": {"Name": "nb-containers"},
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": "1.41",
        "Os": "linux",
        "Arch": platform.machine(),
        "KernelVersion": platform.release(),
        "PythonVersion": platform.python_version(),
    }


def info(engine: Engine) -> dict[str, Any]:
    """As docker-py's ``info()``, with ``Isolation``."""
    containers = engine.containers.list(all=True)
    words = [container.status for container in containers]
    launcher = engine.runtime.info()
    return {
        "Containers": len(containers),
        "ContainersRunning": words.count("running"),
        "ContainersPaused": words.count("paused"),
        "ContainersStopped": len(words) - words.count("running") - words.count("paused"),
        "Images": len(engine.images.list()),
        "Driver": "overlay2",
        "CgroupDriver": "cgroupfs" if launcher["cgroup"]["kind"] != "none" else "none",
        "CgroupVersion": launcher["cgroup"]["kind"].removeprefix("v"),
        "KernelVersion": platform.release(),
        "OperatingSystem": _pretty_name(),
        "OSType": "linux",
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": str(engine.settings.home),
        "Name": platform.node(),
        "ServerVersion": __version__,
        "DefaultRuntime": "kernel_runtime",
        "SecurityOptions": ["name=seccomp,profile=default", f"name={launcher['rung']}"],
        "Isolation": launcher,
    }


def df(engine: Engine) -> dict[str, Any]:
    """What images, containers, volumes and the build cache take on disk, bytes."""
    home = engine.settings.home
    images = [{"Id": image.id, "RepoTags": image.tags, "Size": image.attrs["Size"]} for image in engine.images.list()]
    containers = [
        {"Id": container.id, "Names": [f"/{container.name}"], "SizeRw": tree_size(container.record.bundle / "upper")}
        for container in engine.containers.list(all=True)
    ]
    folders = sorted((home / "volumes").glob("*/_data"))
    volumes = [{"Name": path.parent.name, "UsageData": {"Size": tree_size(path)}} for path in folders]
    cache, only_cached = build_cache(engine)
    return {
        "LayersSize": max(0, tree_size(home / "images") - only_cached),
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": cache,
    }


def build_cache(engine: Engine) -> tuple[list[dict[str, Any]], int]:
    """Docker's records of the build cache, the one used last first; and the bytes of blobs that no image has."""
    from jupyter_containers.build.mounted import caches

    store, cache = engine.images.store, engine.builds.cache
    held = store.chain_ids_of_images()
    entries = cache.entries()
    found = [_record(one.key, "regular", one.result.about, one.result.size, one.used) for one in entries]
    for record, entry in zip(found, entries, strict=True):
        record["InUse"] = record["Shared"] = entry.result.layer is None or entry.result.chain_id in held
    layers = [one.result.layer for one, record in zip(entries, found, strict=True) if not record["InUse"]]
    blobs = {layer.blob.digest: layer.blob.size for layer in layers if layer}
    for path, used in caches(cache.root):
        found.append(_record(path.name, "exec.cachemount", "RUN --mount=type=cache", tree_size(path), used))
    return found, sum(blobs.values())


def _record(key: str, kind: str, about: str, size: int, used: float) -> dict[str, Any]:
    return {
        "ID": key,
        "Type": kind,
        "Description": about,
        "InUse": False,
        "Shared": False,
        "Size": size,
        "LastUsed": used,
        "LastUsedAt": datetime.fromtimestamp(used, UTC).isoformat().replace("+00:00", "Z"),
    }


def tree_size(path: Path) -> int:
    """Bytes on disk beneath *path*; what can't be read counts nothing."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def doctor(engine: Engine) -> dict[str, Any]:
    """The ladder of isolation, each rung tried just now; which is in use; cgroup and network."""
    from jupyter_containers.errors import ContainersError

    ladder = engine.runtime.ladder()
    report: dict[str, Any] = {
        "rungs": ladder,
        "kernel": platform.release(),
        "system": _pretty_name(),
        "home": str(engine.settings.home),
        "minimum": engine.settings.minimum_isolation,
    }
    try:
        launcher = engine.runtime.info()
        engine.runtime.rung  # noqa: B018 - refuses one that is weaker than the minimum
    except ContainersError as error:
        return report | {"rung": "", "error": error.what}
    return report | {"rung": launcher["rung"], "cgroup": launcher["cgroup"], "network": launcher["network"]}


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
