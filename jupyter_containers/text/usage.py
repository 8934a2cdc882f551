"""The texts of ``version``, ``info``, ``system df`` and ``doctor``, from the engine's JSON. Pure.

``version``, ``info`` and ``df`` have docker's layout; ``doctor`` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import buildcache
from . import containers as container_text
from . import images as image_text
from .formatting import Listing
from .table import columns
from .template import Fields
from .units import bytes_size, human_size, short_id

Report = Mapping[str, Any]


def version(about: Report) -> str:
    """``docker version``."""
    name = (about.get("Platform") or {}).get("Name") or "nb-containers"
    rows = [
        ("Version", about.get("Version", "")),
        ("API version", f"{about.get('ApiVersion', '')} (minimum version {about.get('MinAPIVersion', '')})"),
        ("Python version", about.get("PythonVersion", "")),
        ("Kernel version", about.get("KernelVersion", "")),
        ("OS/Arch", f"{about.get('Os', '')}/{about.get('Arch', '')}"),
    ]
    return f"Engine: {name}\n" + "".join(f" {label + ':':<18} {value}\n" for label, value in rows if value)


_INFO = (
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Default Runtime", "DefaultRuntime"),
)
_MACHINE = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
)


def info(found: Report) -> str:
    """``docker info``."""
    lines = [f"Containers: {found.get('Containers', 0)}"]
    lines += [f" {word}: {found.get(f'Containers{word}', 0)}" for word in ("Running", "Paused", "Stopped")]
    lines.append(f"Images: {found.get('Images', 0)}")
    lines += [f"{label}: {found[key]}" for label, key in _INFO if found.get(key) not in (None, "")]
    lines += [f"Isolation: {(found.get('Isolation') or {}).get('rung', '')}", "Security Options:"]
    lines += [f" {_security(option)}" for option in found.get("SecurityOptions") or ()]
    lines += [f"{label}: {found[key]}" for label, key in _MACHINE if found.get(key) not in (None, "")]
    lines.append(f"Total Memory: {bytes_size(found.get('MemTotal', 0))}")
    lines += [f"Name: {found.get('Name', '')}", f"Docker Root Dir: {found.get('DockerRootDir', '')}"]
    return "\n".join(lines) + "\n"


def _security(option: str) -> str:
    pairs = dict(pair.partition("=")[::2] for pair in option.split(","))
    name = pairs.pop("name", "")
    return name + "".join(f"\n  {key.capitalize()}: {value}" for key, value in pairs.items())


# -- df --------------------------------------------------------------------------------------------------------

LISTING = Listing(
    "*formatter.diskUsageContext",
    {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"},
    "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
)


def rows(report: Report, containers: Sequence[Report]) -> list[Fields]:
    """``docker system df``."""
    used = {str(one.get("Image")) for one in containers}
    images = report.get("Images") or ()
    total = int(report.get("LayersSize") or 0)
    free = min(total, sum(int(one.get("Size") or 0) for one in images if one["Id"] not in used))
    written = {one["Id"]: int(one.get("SizeRw") or 0) for one in report.get("Containers") or ()}
    running = {one["Id"] for one in containers if one["State"].get("Running")}
    idle = sum(size for name, size in written.items() if name not in running)
    volumes = {one["Name"]: int((one.get("UsageData") or {}).get("Size") or 0) for one in report.get("Volumes") or ()}
    held = {mount.get("Name") for one in containers for mount in one.get("Mounts") or ()}
    unheld = sum(size for name, size in volumes.items() if name not in held)
    return [
        _row("Images", len(images), sum(one["Id"] in used for one in images), total, free),
        _row("Containers", len(written), len(running), sum(written.values()), idle),
        _row("Local Volumes", len(volumes), sum(name in held for name in volumes), sum(volumes.values()), unheld),
        _build_cache(report.get("BuildCache") or ()),
    ]


def _build_cache(records: Sequence[Report]) -> Fields:
    size = sum(int(one["Size"]) for one in records)
    active = sum(bool(one["InUse"]) for one in records)
    return _row("Build Cache", len(records), active, size, buildcache.reclaimable(records))


def _row(kind: str, total: int, active: int, size: int, free: int) -> Fields:
    shown = human_size(free)
    if size > 0 and kind != "Build Cache":
        shown += f" ({free * 100 // size}%)"
    fields = {
        "Active": str(active),
        "Reclaimable": shown,
        "Size": human_size(size),
        "TotalCount": str(total),
        "Type": kind,
    }
    return Fields("*formatter.diskUsageContext", fields)


def verbose(report: Report, containers: Sequence[Report], images: Sequence[Report], now: float) -> str:
    """``docker system df -v``."""
    parts = [
        "Images space usage:\n",
        _images(containers, images, now),
        "Containers space usage:\n",
        _containers(report, containers, now),
        "Local Volumes space usage:\n",
        _volumes(report, containers),
        buildcache.verbose(report.get("BuildCache") or (), now),
    ]
    return "\n".join(parts)


def _images(containers: Sequence[Report], images: Sequence[Report], now: float) -> str:
    head = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "CONTAINERS")
    cells = [head]
    for attrs in images:
        count = sum(one.get("Image") == attrs["Id"] for one in containers)
        for row in image_text.rows(attrs, now):
            shown = (row.get(name) for name in ("Repository", "Tag", "ID", "CreatedSince", "Size"))
            cells.append((*shown, str(count)))
    return columns(cells)


def _containers(report: Report, containers: Sequence[Report], now: float) -> str:
    sizes = {one["Id"]: int(one.get("SizeRw") or 0) for one in report.get("Containers") or ()}
    cells = [("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES")]
    for attrs in containers:
        row = container_text.row(attrs, now)
        first = (row.get("ID"), short_id(str(attrs.get("Image") or "")), row.get("Command"), row.get("LocalVolumes"))
        last = (human_size(sizes.get(attrs["Id"], 0), 3), row.get("RunningFor"), row.get("Status"), row.get("Names"))
        cells.append((*first, *last))
    return columns(cells)


def _volumes(report: Report, containers: Sequence[Report]) -> str:
    cells = [("VOLUME NAME", "LINKS", "SIZE")]
    for volume in report.get("Volumes") or ():
        links = sum(m.get("Name") == volume["Name"] for one in containers for m in one.get("Mounts") or ())
        cells.append((volume["Name"], str(links), human_size((volume.get("UsageData") or {}).get("Size") or 0)))
    return columns(cells)


# -- doctor ----------------------------------------------------------------------------------------------------


def doctor(found: Report) -> str:
    """The ladder of isolation: each rung, whether it works, why not, what mends it; then cgroup and network."""
    used = str(found.get("rung") or "")
    lines = [
        f"System:     {found.get('system', '')}, Linux {found.get('kernel', '')}",
        f"Store:      {found.get('home', '')}",
    ]
    lines += ["", "Isolation, strongest first:"]
    for rung in found.get("rungs") or ():
        lines += _rung(rung, used)
    if found.get("minimum"):
        lines.append(f"  Nothing weaker than {found['minimum']} is used (minimum_isolation).")
    if found.get("error"):
        lines += ["", f"No container can run here: {found['error']}"]
    for name in ("cgroup", "network"):
        if found.get(name):
            lines += ["", *_part(name, found[name])]
    return "\n".join(lines) + "\n"


def _rung(rung: Report, used: str) -> list[str]:
    name = str(rung.get("rung") or rung.get("name") or "")
    works = bool(rung.get("works", rung.get("ok", not rung.get("why"))))
    mark = "▶" if name == used else "✓" if works else "✗"
    state = "in use" if name == used else "works" if works else "not here"
    lines = [f"  {mark} {name:<16} {state}"]
    return lines + [f"      {label}{rung[key]}" for key, label in _TOLD if rung.get(key)]


_TOLD = (("guarantees", ""), ("what", ""), ("why", "why not: "), ("cause", "why not: "), ("mend", "mend: "))


def _part(name: str, part: Report) -> list[str]:
    lines = [f"{name.capitalize()}:"]
    for key, value in part.items():
        if value not in (None, "", [], {}):
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            lines.append(f"  {key}: {shown}")
    return lines
