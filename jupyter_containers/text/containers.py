"""The rows of ``docker ps``, from ``docker inspect``'s JSON. Pure.

Source: docker/cli ``formatter/container.go``; the words of STATUS are the daemon's ``State.String``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .formatting import Listing, label_head
from .ports import displayable
from .template import Fields
from .template.printf import quoted
from .units import ago, created_at, ellipsis, human_duration, human_size, moment, short_id

_RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{.State}}\n"
    "status: {{.Status}}\nnames: {{.Names}}\nlabels: {{- if .Labels}} {{.Labels}}{{end}}\n"
    "ports: {{- if .Ports}} {{.Ports}}{{end}}\n"
)
_COLUMNS = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}


def listing(size: bool = False) -> Listing:
    """The table of ``ps``; *size* adds the column of ``-s``."""
    columns = _COLUMNS + "\t{{.Size}}" if size else _COLUMNS
    raw = _RAW + "size: {{.Size}}\n" if size else _RAW
    return Listing("*formatter.ContainerContext", HEADERS, columns, raw=raw, methods={"Label": label_head})


def row(attrs: Mapping[str, Any], now: float, no_trunc: bool = False, sizes: Callable[[], str] | None = None) -> Fields:
    """One container.

    Args:
        attrs: ``docker inspect``'s JSON.
        now: seconds since 1970.
        no_trunc: whole ids, commands and mounts.
        sizes: makes the SIZE cell when it is asked for.
    """
    labels: Mapping[str, str] = attrs["Config"].get("Labels") or {}
    fields = {
        "Command": lambda: quoted(command(attrs) if no_trunc else ellipsis(command(attrs), 20)),
        "CreatedAt": lambda: created_at(attrs["Created"]),
        "ID": attrs["Id"] if no_trunc else short_id(attrs["Id"]),
        "Image": lambda: image(attrs, no_trunc),
        "Labels": lambda: ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "LocalVolumes": lambda: str(sum(mount["Type"] == "volume" for mount in attrs.get("Mounts") or ())),
        "Mounts": lambda: mounts(attrs, no_trunc),
        "Names": attrs["Name"].removeprefix("/"),
        "Networks": lambda: ",".join(sorted(attrs["NetworkSettings"].get("Networks") or ())),
        "Ports": lambda: displayable(attrs["NetworkSettings"].get("Ports") or {}),
        "RunningFor": lambda: ago(attrs["Created"], now),
        "Size": sizes or "0B",
        "State": attrs["State"]["Status"],
        "Status": lambda: status(attrs["State"], now),
    }
    return Fields("*formatter.ContainerContext", fields, {"Label": lambda name: labels.get(name, "")})


def command(attrs: Mapping[str, Any]) -> str:
    """The command line in one string, arguments with spaces in single quotes, as the daemon makes it."""
    words = [attrs.get("Path", ""), *(f"'{word}'" if " " in word else word for word in attrs.get("Args") or ())]
    return " ".join(words).strip()


def image(attrs: Mapping[str, Any], no_trunc: bool) -> str:
    """The image as it was named, without a digest where it also has a tag."""
    name = str(attrs["Config"].get("Image") or "")
    if not name:
        return "<no image>"
    if no_trunc:
        return name
    if name.removeprefix("sha256:") == str(attrs.get("Image", "")).removeprefix("sha256:"):
        return short_id(name)
    plain, _at, _digest = name.partition("@")
    return plain if ":" in plain.rpartition("/")[2] else name


def mounts(attrs: Mapping[str, Any], no_trunc: bool) -> str:
    """Names of volumes and host paths."""
    found = sorted(attrs.get("Mounts") or (), key=lambda mount: str(mount.get("Destination", "")))
    names = [mount.get("Name") or mount.get("Source") or "" for mount in found]
    return ",".join(name if no_trunc else ellipsis(name, 15) for name in names if name)


def size_cell(written: float, whole: float) -> str:
    """``3B (virtual 1.98MB)``."""
    shown = human_size(written, 3)
    return f"{shown} (virtual {human_size(whole, 3)})" if whole > 0 else shown


def status(state: Mapping[str, Any], now: float) -> str:
    """``Up 3 minutes``, ``Exited (0) 2 seconds ago``, ``Created`` …"""
    if state.get("Running"):
        up = human_duration(max(0.0, now - moment(state["StartedAt"])))
        return f"Up {up}{_remark(state)}"
    finished = moment(state.get("FinishedAt", ""))
    passed = human_duration(max(0.0, now - finished))
    if state.get("Restarting"):
        return f"Restarting ({state['ExitCode']}) {passed} ago"
    if state["Status"] == "removing":
        return "Removal In Progress"
    if state.get("Dead"):
        return "Dead"
    if state["Status"] == "created" or (not moment(state.get("StartedAt", "")) and not finished):
        return "Created"
    return f"Exited ({state['ExitCode']}) {passed} ago"


def _remark(state: Mapping[str, Any]) -> str:
    health = (state.get("Health") or {}).get("Status", "none")
    if state.get("Paused"):
        return " (Paused)"
    if health in ("none", ""):
        return ""
    return " (health: starting)" if health == "starting" else f" ({health})"


def newest_first(found: Sequence[Any]) -> list[Any]:
    """Containers in the order of ``ps``; objects with ``attrs``."""
    return sorted(found, key=lambda item: str(item.attrs["Created"]), reverse=True)
