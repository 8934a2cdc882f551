"""The rows of ``docker images`` and ``docker history``, from the engine's JSON. Pure.

Source: docker/cli ``formatter/image.go`` and ``formatter/history``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .formatting import Listing
from .template import Fields
from .units import ago, created_at, ellipsis, human_size, moment, short_id

_HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_RAW = (
    "repository: {{.Repository}}\n{{if .Tag}}tag: {{.Tag}}\n{{end}}image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\n"
    "virtual_size: {{.Size}}\n"
)
NONE = "<none>"


def listing(digests: bool = False) -> Listing:
    """The table of ``images``; *digests* adds that column."""
    digest = "{{.Digest}}\t" if digests else ""
    columns = "{{.Repository}}\t{{.Tag}}\t" + digest + "{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    return Listing("*formatter.imageContext", _HEADERS, columns, raw=_RAW)


def rows(attrs: Mapping[str, Any], now: float, no_trunc: bool = False, digests: bool = False) -> list[Fields]:
    """One row for each name of an image, or one of ``<none>``."""
    names = list(_names(attrs, digests)) or [(NONE, NONE, NONE)]
    return [_row(attrs, now, no_trunc, name) for name in names]


def _names(attrs: Mapping[str, Any], digests: bool) -> Iterable[tuple[str, str, str]]:
    by_repository = dict(reference.split("@", 1) for reference in attrs.get("RepoDigests") or ())
    tagged = set()
    for reference in attrs.get("RepoTags") or ():
        repository, _colon, tag = reference.rpartition(":")
        tagged.add(repository)
        yield repository, tag, by_repository.get(repository, NONE) if digests else NONE
    for repository, digest in by_repository.items():
        if repository not in tagged:
            yield repository, NONE, digest


def _row(attrs: Mapping[str, Any], now: float, no_trunc: bool, name: tuple[str, str, str]) -> Fields:
    size = attrs.get("Size") or 0
    fields = {
        "Containers": "N/A",
        "CreatedAt": lambda: created_at(attrs["Created"]),
        "CreatedSince": lambda: ago(attrs["Created"], now),
        "Digest": name[2],
        "ID": attrs["Id"] if no_trunc else short_id(attrs["Id"]),
        "Repository": name[0],
        "SharedSize": "N/A",
        "Size": lambda: human_size(size, 3),
        "Tag": name[1],
        "UniqueSize": "N/A",
        "VirtualSize": lambda: human_size(size),
    }
    return Fields("*formatter.imageContext", fields)


_HISTORY_HEADERS = {
    "ID": "IMAGE",
    "CreatedBy": "CREATED BY",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def history_listing(human: bool = True) -> Listing:
    """The table of ``history``; not *human* has times and bytes."""
    created = "{{.CreatedSince}}" if human else "{{.CreatedAt}}"
    columns = "{{.ID}}\t" + created + "\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    return Listing("*history.historyContext", _HISTORY_HEADERS, columns)


def history_row(entry: Mapping[str, Any], now: float, no_trunc: bool, human: bool) -> Fields:
    """One layer or instruction; *entry* is a row of the Engine API's ``/images/NAME/history``."""
    by = str(entry.get("CreatedBy") or "").replace("\t", " ")
    when = _moment_text(entry.get("Created"))
    ident = str(entry.get("Id") or "<missing>")
    size = entry.get("Size") or 0
    fields = {
        "Comment": str(entry.get("Comment") or ""),
        "CreatedAt": lambda: when,
        "CreatedBy": lambda: by if no_trunc else ellipsis(by, 45),
        "CreatedSince": lambda: ago(when, now),
        "ID": ident if no_trunc else ident if ident == "<missing>" else short_id(ident),
        "Size": lambda: human_size(size, 3) if human else str(size),
    }
    return Fields("*history.historyContext", fields)


def _moment_text(created: object) -> str:
    """The API has seconds here; some engines give RFC 3339."""
    from datetime import UTC, datetime

    if isinstance(created, (int, float)):
        return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(created or "")


def newest_first(found: Iterable[Any]) -> list[Any]:
    """Images in the order of ``images``; objects with ``attrs``."""
    return sorted(found, key=lambda item: moment(str(item.attrs.get("Created") or "")), reverse=True)
