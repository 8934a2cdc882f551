"""Docker's JSON for images: ``docker image inspect`` and ``docker history`` (Engine API 1.43).

Pure functions of what the store knows. https://docs.docker.com/reference/api/engine/version/v1.43/#tag/Image
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_containers.image.store import Image

JSON = dict[str, Any]

# What docker shows for what a configuration does not say.
_CONFIG: JSON = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "", "Volumes": None,
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
}  # fmt: skip
_NEVER = "0001-01-01T00:00:00Z"


def image(found: Image, size: int, tagged: float | None = None) -> JSON:
    """``docker image inspect`` of one image.

    Args:
        found: the image.
        size: bytes of its layers.
        tagged: when it last got a name, seconds since the epoch.
    """
    raw = found.config.raw
    data: JSON = {
        "Id": found.id,
        "RepoTags": found.tags,
        "RepoDigests": found.digests,
        "Parent": "",
        "Comment": _text(raw.get("comment")) or _comment(found),
        "Created": found.config.created or _NEVER,
        "DockerVersion": _text(raw.get("docker_version")),
        "Author": _text(raw.get("author")),
        "Config": _CONFIG | found.config.run,
        "Architecture": found.config.platform.architecture,
        "Os": found.config.platform.os,
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(found.config.diff_ids)},
        "Metadata": {"LastTagTime": _time(tagged) if tagged else _NEVER},
    }
    if found.config.platform.variant:
        data["Variant"] = found.config.platform.variant
    return data


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
