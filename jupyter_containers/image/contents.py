"""What a layer has in it, by its tar alone: read once in one pass, kept as an index beside the unpacked layers.

The index depends on the layer's content only, so it is named by the diff id and serves every image and rung. It is
made where somebody asks (the layer view), never for running. Rows are small and hostile: names stay what they were,
showing them safely is ``text``'s. Not here: what layers do to each other (``layerview``).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jupyter_containers.errors import LayerError
from jupyter_containers.image import digest as digests
from jupyter_containers.image.apply import LIMITS
from jupyter_containers.image.compression import Stream
from jupyter_containers.image.layers import Layer
from jupyter_containers.image.rooted import split
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

VERSION = 1
ENTRIES = 1_000_000  # more in one layer are not shown
FILE, FOLDER, SYMLINK, LINK, NODE, WHITEOUT, OPAQUE = "f", "d", "l", "h", "n", "w", "o"
_KINDS = {"file": FILE, "dir": FOLDER, "symlink": SYMLINK, "link": LINK}


class Row(NamedTuple):
    """One entry of a layer.

    Attributes:
        path: cleaned, without a leading slash; bytes that are no UTF-8 as surrogates.
        kind: a letter: one of this module's names. A whiteout's path is what it hides.
        size: bytes, holes included; of a symbolic link its target's length, as docker counts.
        target: of a hard link, the cleaned name of what it links to; else "".
    """

    path: str
    kind: str
    size: int
    target: str = ""


class Contents:
    """The indexes of a store, in directory *root*."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def rows(self, layer: Layer) -> list[Row]:
        """The entries of a layer in its tar's order; read from the blob where there is no index yet.

        Raises:
            LayerError, DigestMismatch: the blob is not what it should be, or has too many entries.
        """
        path = self._path(layer.diff_id)
        with suppress(FileNotFoundError, ValueError):
            kept = json.loads(path.read_bytes())
            if kept.get("version") == VERSION:
                return [Row(*row) for row in kept["rows"]]
        rows = list(read(layer))
        self._keep(path, rows)
        return rows

    def sweep(self, diff_ids: Iterable[str]) -> None:
        """Remove the indexes of all layers but these."""
        kept = {self._path(diff_id).name for diff_id in diff_ids}
        for path in self._root.glob("*.json"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _path(self, diff_id: str) -> Path:
        return self._root / f"{digests.encoded(diff_id)}.json"

    def _keep(self, path: Path, rows: list[Row]) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            temporary.write_text(json.dumps({"version": VERSION, "rows": rows}, separators=(",", ":")))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read(layer: Layer, limits: Mapping[str, int] = LIMITS) -> Iterator[Row]:
    """The entries of a layer's blob, which is checked against its digests at the end."""
    where = f"layer {layer.digest}"
    fd = os.open(layer.blob, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as blob:
        try:
            with Stream(blob.read, limits["ratio"], limits["ratio_floor"]) as stream:
                for count, entry in enumerate(TarReader(iter(stream))):
                    if count >= ENTRIES:
                        raise LayerError(f"it has more than {ENTRIES} entries, too many to show")
                    yield from _row(entry)
                stream.finish(layer.digest, layer.diff_id, layer.size)
        except LayerError as error:
            error.where = f"{where}{', ' if error.where else ''}{error.where}"
            raise


def _row(entry: Entry) -> Iterator[Row]:
    parts = split(entry.name)
    if not parts:
        return  # the root itself; one that leaves the root is never unpacked
    name = parts[-1]
    if name == b".wh..wh..opq":
        yield Row(_text(parts[:-1]), OPAQUE, 0)
    elif name.startswith(b".wh..wh."):
        return  # AUFS bookkeeping
    elif name.startswith(b".wh."):
        yield Row(_text([*parts[:-1], name[4:]]), WHITEOUT, 0)
    else:
        size = len(entry.linkname) if entry.kind == "symlink" else entry.real_size
        target = _text(split(entry.linkname) or []) if entry.kind == "link" else ""
        yield Row(_text(parts), _KINDS.get(entry.kind, NODE), size, target)


def _text(parts: list[bytes]) -> str:
    return os.fsdecode(b"/".join(parts))
