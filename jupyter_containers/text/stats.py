"""The rows of ``docker stats``, from two samples of a container's cgroup. Pure.

What no cgroup tells here (network, block devices, and everything on a machine without cgroups) is ``--``, docker's own
mark for "not known". Memory includes the page cache. Source: docker/cli ``command/container/formatter_stats.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .formatting import Listing
from .template import Fields
from .units import bytes_size, short_id

UNKNOWN = "--"
_PAIR = f"{UNKNOWN} / {UNKNOWN}"

LISTING = Listing(
    "*container.statsContext",
    {
        "Container": "CONTAINER",
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
)


@dataclass(frozen=True)
class Sample:
    """What one look at a container found.

    Args:
        at: seconds of a monotonic clock.
        running: whether it runs; the rest says nothing where it does not.
        stats: ``cpu_seconds``, ``memory_current``, ``memory_limit`` (bytes), ``pids_current``; a key is absent where
            nothing is known.
    """

    at: float
    running: bool
    stats: Mapping[str, float] = field(default_factory=dict)


def row(asked: str, attrs: Mapping[str, Any], before: Sample, now: Sample, memory: int, no_trunc: bool) -> Fields:
    """One container.

    Args:
        asked: the name it was asked for by.
        attrs: ``docker inspect``'s JSON.
        before, now: the two samples that CPU time is counted between.
        memory: bytes of the machine, the limit of a container that has none.
        no_trunc: the whole id.
    """
    cells = _cells(before, now, memory) if now.running else _STOPPED
    identity = {
        "Container": asked,
        "ID": attrs["Id"] if no_trunc else short_id(attrs["Id"]),
        "Name": attrs["Name"].removeprefix("/"),
    }
    return Fields(LISTING.type_name, {**identity, **cells})


# docker's numbers for a container that does not run
_STOPPED = {
    "BlockIO": "0B / 0B",
    "CPUPerc": "0.00%",
    "MemPerc": "0.00%",
    "MemUsage": "0B / 0B",
    "NetIO": "0B / 0B",
    "PIDs": "0",
}


def _cells(before: Sample, now: Sample, memory: int) -> dict[str, str]:
    used, limit = now.stats.get("memory_current"), now.stats.get("memory_limit", memory)
    count = now.stats.get("pids_current")
    return {
        "BlockIO": _PAIR,
        "CPUPerc": _cpu(before, now),
        "MemPerc": UNKNOWN if used is None or not limit else f"{used * 100 / limit:.2f}%",
        "MemUsage": _PAIR if used is None else f"{bytes_size(used)} / {bytes_size(limit)}",
        "NetIO": _PAIR,
        "PIDs": UNKNOWN if count is None else str(int(count)),
    }


def _cpu(before: Sample, now: Sample) -> str:
    first, last = before.stats.get("cpu_seconds"), now.stats.get("cpu_seconds")
    passed = now.at - before.at
    if first is None or last is None or passed <= 0:
        return UNKNOWN
    return f"{max(0.0, last - first) * 100 / passed:.2f}%"
