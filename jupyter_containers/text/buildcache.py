"""The build cache as tables: ``builder du``, and its part of ``system df -v``. Pure.

Columns are those of ``docker buildx du`` and ``docker system df -v``. A record is *in use* when an image has its files,
too: removing it gives nothing back. Not here: what is in the cache (the engine).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .formatting import Listing
from .neutral import one_line
from .table import columns
from .template import Fields
from .units import ellipsis, human_duration, human_size, short_id

Record = Mapping[str, Any]

LISTING = Listing(
    "*formatter.buildCacheContext",
    {
        "ID": "ID", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "LastUsedSince": "LAST ACCESSED",
        "CacheType": "CACHE TYPE", "Description": "DESCRIPTION", "InUse": "IN USE", "Shared": "SHARED",
    },
    "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Description}}",
)  # fmt: skip


def row(record: Record, now: float) -> Fields:
    """One record."""
    fields = {
        "ID": short_id(str(record["ID"])),
        "Reclaimable": _word(not record["InUse"]),
        "Size": human_size(record["Size"], 3),
        "LastUsedSince": f"{human_duration(max(0.0, now - record['LastUsed']))} ago",
        "CacheType": str(record["Type"]),
        "Description": ellipsis(one_line(str(record["Description"])), 60),
        "InUse": _word(record["InUse"]),
        "Shared": _word(record["Shared"]),
    }
    return Fields("*formatter.buildCacheContext", fields)


def reclaimable(records: Iterable[Record]) -> int:
    """Bytes that only the cache keeps."""
    return sum(int(one["Size"]) for one in records if not one["InUse"])


def totals(records: Sequence[Record]) -> str:
    """The lines below ``du``'s table."""
    whole, free = sum(int(one["Size"]) for one in records), reclaimable(records)
    rows = (("Shared:", whole - free), ("Private:", free), ("Reclaimable:", free), ("Total:", whole))
    return "".join(f"{label:<15} {human_size(size)}\n" for label, size in rows)


def verbose(records: Sequence[Record], now: float) -> str:
    """The last part of ``system df -v``."""
    cells = [("CACHE ID", "CACHE TYPE", "SIZE", "LAST USED", "SHARED")]
    for record in records:
        get = row(record, now).get
        cells.append((get("ID"), get("CacheType"), get("Size"), get("LastUsedSince"), get("Shared")))
    used = f"Build cache usage: {human_size(sum(int(one['Size']) for one in records))}\n"
    return f"{used}\n{columns(cells)}" if records else used


def _word(value: object) -> str:
    return "true" if value else "false"
