"""Docker's JSON for images: ``docker image inspect`` and ``docker history`` (Engine API 1.43).

Pure functions of what the store knows. https://docs.docker.com/reference/api/engine/version/v1.43/#tag/Image
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_containers.image.layers import Layer
    from jupyter_containers.image.layerview import Changes
    from jupyter_containers.image.store import Image

JSON = dict[str, Any]

# Docker's container configuration in its order: what it always shows, and what only where it is said.
_ALWAYS: JSON = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "ExposedPorts": None, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
    "Healthcheck": None, "ArgsEscaped": False, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "NetworkDisabled": False, "MacAddress": "", "OnBuild": None, "Labels": None, "StopSignal": "", "StopTimeout": None,
    "Shell": None,
}  # fmt: skip
_WHERE_SAID = (
    "ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout", "Shell",
)  # fmt: skip
_NEVER = "0001-01-01T00:00:00Z"


def image(found: Image, size: int, layers: Sequence[str] = (), tagged: float | None = None) -> JSON:
    """``docker image inspect`` of one image.

    Args:
        found: the image.
        size: bytes of its layers.
        layers: the directories of its unpacked layers, top first; none where they are not unpacked.
        tagged: when it last got a name, seconds since the epoch.
    """
    raw, platform = found.config.raw, found.config.platform
    return {
        "Id": found.id,
        "RepoTags": found.tags,
        "RepoDigests": found.digests,
        "Parent": "",
        "Comment": _text(raw.get("comment")) or _comment(found),
        "Created": found.config.created or _NEVER,
        "Container": _text(raw.get("container")),
        "ContainerConfig": config(raw.get("container_config")),
        "DockerVersion": _text(raw.get("docker_version")),
        "Author": _text(raw.get("author")),
        "Config": config(found.config.run),
        "Architecture": platform.architecture,
        **({"Variant": platform.variant} if platform.variant else {}),
        "Os": platform.os,
        **({"OsVersion": raw["os.version"]} if _text(raw.get("os.version")) else {}),
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Data": _graph(layers), "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list(found.config.diff_ids)},
        "Metadata": {"LastTagTime": _time(tagged) if tagged else _NEVER},
    }


def config(said: object) -> JSON:
    """A container configuration as docker shows it; *said* is the one of an image, with what it leaves out."""
    found = said if isinstance(said, dict) else {}
    shown = {key: found.get(key) or default for key, default in _ALWAYS.items()}
    return {key: value for key, value in shown.items() if value or key not in _WHERE_SAID}


def _graph(layers: Sequence[str]) -> JSON | None:
    """Where the layers lie. Ours have no merged and no work directory: those are a container's."""
    if not layers:
        return None
    top, *below = layers
    return ({"LowerDir": ":".join(below)} if below else {}) | {"UpperDir": top}


def history(found: Image, sizes: Sequence[int]) -> list[JSON]:
    """``docker history`` of one image, newest first; *sizes* of its layers, bottom first."""
    left, rows = list(sizes), []
    for step in found.config.history:
        size = 0 if step.get("empty_layer") or not left else left.pop(0)
        rows.append({
            "Id": "<missing>", "Created": _seconds(_text(step.get("created"))),
            "CreatedBy": _text(step.get("created_by")), "Tags": None, "Size": size,
            "Comment": _text(step.get("comment")),
        })  # fmt: skip
    if rows:
        rows[-1] |= {"Id": found.id, "Tags": found.tags or None}
    return rows[::-1]


def layers(found: Image, chain: Sequence[Layer], changes: Sequence[Changes], efficiency: float, files: bool) -> JSON:
    """The layer view of one image, bottom first; ours, docker has none.

    Args:
        found: the image.
        chain: its layers. changes: what each of them does.
        efficiency: the share of its bytes that somebody sees.
        files: also every name that each layer changes.
    """
    steps = [step for step in found.config.history if not step.get("empty_layer")]
    steps += [{}] * (len(chain) - len(steps))
    rows = [
        _layer(number, *parts, files)
        for number, parts in enumerate(zip(chain, changes, steps[: len(chain)], strict=True), 1)
    ]
    return {
        "Id": found.id,
        "RepoTags": found.tags,
        "Size": sum(change.size for change in changes),
        "WastedBytes": sum(change.wasted for change in changes),
        "Efficiency": round(efficiency, 4),
        "Layers": rows,
    }


def _layer(number: int, layer: Layer, change: Changes, step: JSON, files: bool) -> JSON:
    found: JSON = {
        "Layer": number,
        "DiffId": layer.diff_id,
        "ChainId": layer.chain_id,
        "Digest": layer.digest,
        "Created": _text(step.get("created")),
        "CreatedBy": _text(step.get("created_by")),
        "Comment": _text(step.get("comment")),
        "Size": change.size,
        "BlobSize": layer.size,
        "Added": change.added,
        "Changed": change.changed,
        "Removed": change.removed,
        "WastedBytes": change.wasted,
    }
    if files:
        names = ("Kind", "Path", "Size", "Count")
        found["Files"] = [dict(zip(names, row, strict=True)) for row in change.files]
    return found


def _comment(found: Image) -> str:
    steps = found.config.history
    return _text(steps[-1].get("comment")) if steps else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0
