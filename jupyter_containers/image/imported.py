"""``docker import``: the tar of a root directory becomes an image of one layer.

The tar is read once: stored as it comes (compressed or not), inflated for its diff id, and its entries looked at, so
that what cannot be unpacked later is refused now. Not here: archives of images (``archive``).
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jupyter_containers.errors import InvalidArchive, LayerError
from jupyter_containers.image import media, platforms, reference
from jupyter_containers.image.apply import LIMITS
from jupyter_containers.image.archive import Source, opened
from jupyter_containers.image.blobs import Incoming, Readable
from jupyter_containers.image.compression import Stream
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.progress import OnEvent, Reporter
from jupyter_containers.image.rooted import split
from jupyter_containers.image.store import Image, ImageStore
from jupyter_containers.image.tarstream import TarReader

_HELP = "`import` reads the tar of a root directory; `load` reads what `docker save` writes."


def import_root_tar(
    store: ImageStore,
    source: Source,
    *,
    repository: str = "",
    tag: str = "",
    config: Mapping[str, Any] | None = None,
    message: str = "",
    platform: Platform | None = None,
    on_event: OnEvent | None = None,
    unpack: bool = False,
) -> Image:
    """Make an image of a root directory's tar.

    Args:
        store: where it goes.
        source: a path, ``"-"`` for standard input, or something to read from.
        repository: the name to give; none where it is empty.
        tag: its tag, ``latest`` where empty.
        config: the ``config`` object of its configuration (``Cmd``, ``Env`` ...).
        message: the comment of its history.
        platform: what the tar's programs run on; this machine where None.
        on_event: is told docker's progress messages.
        unpack: its layer, too, as docker does.

    Raises:
        InvalidArchive: it is no tar, or one that is not a root directory.
        InvalidReference: the name is not acceptable.
    """
    names = [reference.parse(f"{repository}:{tag}" if tag else repository)] if repository else []
    report = Reporter(on_event)
    with store.layout.adding_all() as area, opened(source) as readable:
        blob = area.new()
        where = str(getattr(readable, "name", "stream"))
        layer, diff_id = _layer(blob, readable, where, report)
        blob.commit()
        data = media.dumps(_config(config or {}, platform or platforms.machine(), diff_id, message, where))
        described = area.put(data)
        manifest = media.Manifest(
            media.OCI_MANIFEST, media.Descriptor(media.OCI_CONFIG, described.digest, described.size), (layer,), {}
        )
        if unpack:
            store.unpack(manifest.to_bytes(), on_event=on_event)
        image = store.add(area, manifest.to_bytes(), names)
    report.send({"status": image.id})
    return image


def _layer(blob: Incoming, readable: Readable, where: str, report: Reporter) -> tuple[media.Descriptor, str]:
    told = 0

    def read(size: int) -> bytes:
        nonlocal told
        data = readable.read(size)
        blob.write(data)
        if blob.size - told >= 8 << 20:
            told = blob.size
            report.moving("Importing", "", told)
        return data

    try:
        with Stream(read, LIMITS["ratio"], LIMITS["ratio_floor"]) as stream:
            _check_entries(TarReader(iter(stream)))
            stream.finish()
    except LayerError as error:
        raise InvalidArchive(error.what, f"{where}{', ' if error.where else ''}{error.where}", _HELP) from None
    return media.Descriptor(media.layer_media_type(stream.compression), blob.digest, blob.size), stream.diff_id


def _check_entries(reader: TarReader) -> None:
    count = 0
    for entry in reader:
        count += 1
        if split(entry.name) is None:
            raise LayerError("its name leaves the root", f"entry {entry.name!r:.120}")
        if count > LIMITS["entries"]:
            raise LayerError(f"it has more than {LIMITS['entries']} entries")
    if not count:
        raise LayerError("it is empty")


def _config(config: Mapping[str, Any], platform: Platform, diff_id: str, message: str, where: str) -> media.JSON:
    created = _created()
    comment = message or f"Imported from {posixpath.basename(where)}"
    data: media.JSON = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": comment}],
    }
    return data | ({"variant": platform.variant} if platform.variant else {})


def _created() -> str:
    """Now, or what SOURCE_DATE_EPOCH says: then the same tar gives the same image anywhere."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isdigit() else time.time()
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
