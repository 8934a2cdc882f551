"""Loading images from archives: docker-archive (``docker save``) and oci-archive, compressed or not, also from a pipe.

One pass over the tar spools its files as unfinished blobs of the store; then the archive's own description is read,
checked, and what it names is kept. Nothing of an archive is ever a path: links are followed only from one member
name to another, and only in docker-archives, whose writer makes them for layers that occur twice. Blobs stay as
found, so a configuration keeps its digest, which is the image's id. Not here: ``docker import`` (``imported``).
https://github.com/moby/docker-image-spec · https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_containers.errors import DigestMismatch, InvalidArchive, InvalidReference, LayerError
from jupyter_containers.image import digest as digests
from jupyter_containers.image import media, reference
from jupyter_containers.image.apply import LIMITS
from jupyter_containers.image.blobs import Incoming, Readable
from jupyter_containers.image.compression import Stream, detect
from jupyter_containers.image.layout import Area
from jupyter_containers.image.progress import OnEvent, Reporter
from jupyter_containers.image.reference import Reference
from jupyter_containers.image.rooted import split
from jupyter_containers.image.store import Image, ImageStore
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

MEMBERS = 20_000
CONTAINERD_NAME = "io.containerd.image.name"
_HELP = "`load` reads what `docker save` or an oci-archive writes; `import` reads the tar of a root directory."

Source = Path | str | Readable


@dataclass
class _Archive:
    """The members of an archive: files as unfinished blobs, and links."""

    where: str
    files: dict[str, Incoming] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def blob(self, name: object, links: bool = False) -> Incoming:
        """The file of that name, through links where they are allowed."""
        clean = _clean(str(name)) if isinstance(name, str) else None
        for _ in range(8):
            if clean is None or clean in self.files or clean not in self.links:
                break
            if not links:
                raise InvalidArchive(f"its blob {clean!r:.100} is a link", self.where, _HELP)
            clean = _clean(self.links[clean])
        if clean is None or clean not in self.files:
            raise InvalidArchive(f"it has no file {name!r:.100}, which it names", self.where, _HELP)
        return self.files[clean]

    def json(self, name: str) -> Any:
        """A JSON member, bounded."""
        try:
            return json.loads(self.blob(name).content(self.where))
        except (ValueError, RecursionError) as error:
            raise InvalidArchive(f"its {name} is not JSON ({error})", self.where, _HELP) from None


@dataclass
class _Found:
    """An image described by an archive: blobs to keep, with their digests, and its manifest."""

    blobs: list[tuple[Incoming, str]]
    manifest: bytes
    media_type: str
    names: list[Reference]


def load(store: ImageStore, source: Source, on_event: OnEvent | None = None, unpack: bool = False) -> list[Image]:
    """Load every image of an archive.

    Args:
        store: where they go.
        source: a path, ``"-"`` for standard input, or something to read from (which stays open).
        on_event: is told docker's progress messages.
        unpack: the layers, too, as docker does, so that one that can't be unpacked is refused now.

    Raises:
        InvalidArchive, InvalidImage, DigestMismatch, LayerError: it is no archive of images, or a damaged one.
        StorageFull: no room. In every case the store stays as it was.
    """
    where = _name(source)
    report = Reporter(on_event)
    with store.layout.adding_all() as area, opened(source) as readable:
        archive = _spool(area, readable, where, report)
        found = _oci_images(archive) if "index.json" in archive.files else _docker_images(archive)
        if not found:
            raise InvalidArchive("it holds no image", where, _HELP)
        for item in found:
            for blob, digest in item.blobs:
                blob.commit(digest)
        for item in found if unpack else ():
            store.unpack(item.manifest, item.media_type, on_event)
        images = [store.add(area, item.manifest, item.names, item.media_type) for item in found]
    for item, image in zip(found, images, strict=True):
        _say(report, image, item.names)
    return images


@contextmanager
def opened(source: Source) -> Iterator[Readable]:
    """*source* as something to read from; closed afterwards if it was opened here."""
    if source == "-":
        yield sys.stdin.buffer
    elif isinstance(source, (str, Path)):
        try:
            file = Path(source).open("rb", buffering=0)  # noqa: SIM115 - closed by the with below
        except OSError as error:
            raise InvalidArchive(f"cannot be read: {error.strerror}", str(source)) from None
        with file:
            yield file
    else:
        yield source


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "name", "stream"))


def _say(report: Reporter, image: Image, names: list[Reference]) -> None:
    for name in names:
        report.line(f"Loaded image: {name.familiar}")
    if not names:
        report.line(f"Loaded image ID: {image.id}")


# --- the tar ---


def _spool(area: Area, readable: Readable, where: str, report: Reporter) -> _Archive:
    archive = _Archive(where)
    try:
        with Stream(readable.read, LIMITS["ratio"], LIMITS["ratio_floor"], hashing=False) as stream:
            for entry in (reader := TarReader(iter(stream))):
                _member(archive, entry, reader, area, report)
            stream.finish()
    except LayerError as error:
        raise InvalidArchive(error.what, where, _HELP) from None
    return archive


def _member(archive: _Archive, entry: Entry, reader: TarReader, area: Area, report: Reporter) -> None:
    text = entry.name.decode("utf-8", "surrogateescape")
    name = _clean(text)
    if name is None:
        raise InvalidArchive(f"its member {text!r:.100} leaves the archive", archive.where, _HELP)
    if len(archive.files) + len(archive.links) >= MEMBERS:
        raise InvalidArchive(f"it has more than {MEMBERS} members", archive.where, _HELP)
    if entry.kind in ("symlink", "link"):
        target = entry.linkname.decode("utf-8", "surrogateescape")
        folder = posixpath.dirname(name) if entry.kind == "symlink" else ""
        archive.links[name] = posixpath.join(folder, target)
    elif entry.kind == "file":
        archive.links.pop(name, None)
        archive.files[name] = _spool_file(entry, reader, area, report, name)


def _spool_file(entry: Entry, reader: TarReader, area: Area, report: Reporter, name: str) -> Incoming:
    if entry.segments is not None:
        raise LayerError("a member is a sparse file")
    area.check_room(entry.size)
    blob, told = area.new(), 0
    for piece in reader.content():
        blob.write(piece)
        if blob.size - told >= 8 << 20:
            told = blob.size
            report.moving("Loading layer", _layer_name(name), told, entry.size)
    return blob.close()


def _layer_name(member: str) -> str:
    """Something short and telling: the digest that most writers make file or folder names of."""
    parts = [part.removesuffix(".tar") for part in member.split("/")]
    return next((part for part in parts if len(part) == 64), parts[0])


def _clean(name: str) -> str | None:
    """A member's name in one form, or None where it is not inside the archive."""
    parts = None if name.startswith("/") else split(name.encode("utf-8", "surrogateescape"))
    return None if parts is None else b"/".join(parts).decode("utf-8", "surrogateescape")


# --- docker-archive ---


def _docker_images(archive: _Archive) -> list[_Found]:
    if "manifest.json" not in archive.files:
        raise InvalidArchive("it has neither manifest.json nor index.json", archive.where, _HELP)
    rows = archive.json("manifest.json")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidArchive("its manifest.json is not a list of images", archive.where, _HELP)
    return [_docker_image(archive, row) for row in rows]


def _docker_image(archive: _Archive, row: dict[str, Any]) -> _Found:
    blob = archive.blob(row.get("Config"), links=True)
    stem = posixpath.basename(str(row["Config"])).removesuffix(".json")
    if digests.is_digest(f"sha256:{stem}") and blob.digest != f"sha256:{stem}":
        raise DigestMismatch(f"its configuration has digest {blob.digest} instead of {stem}", archive.where)
    config = media.config(blob.content(archive.where), archive.where)
    members = row.get("Layers") or []
    if not isinstance(members, list) or len(members) != len(config.diff_ids):
        raise InvalidArchive(
            f"its manifest.json and its configuration ({len(config.diff_ids)} layers) are at odds", archive.where, _HELP
        )
    layers = [archive.blob(member, links=True) for member in members]
    descriptors = [_docker_layer(layer, diff, archive) for layer, diff in zip(layers, config.diff_ids, strict=True)]
    described = media.Descriptor(media.OCI_CONFIG, blob.digest, blob.size)
    manifest = media.Manifest(media.OCI_MANIFEST, described, tuple(descriptors), {})
    kept = [(item, item.digest) for item in (blob, *layers)]
    return _Found(kept, manifest.to_bytes(), media.OCI_MANIFEST, _repo_tags(row.get("RepoTags"), archive))


def _docker_layer(layer: Incoming, diff_id: str, archive: _Archive) -> media.Descriptor:
    compression = detect(layer.head())
    if compression == "none" and layer.digest != diff_id:
        raise DigestMismatch(f"a layer has digest {layer.digest} instead of {diff_id}", archive.where)
    return media.Descriptor(media.layer_media_type(compression), layer.digest, layer.size)


def _repo_tags(tags: object, archive: _Archive) -> list[Reference]:
    try:
        return [reference.parse(str(tag)) for tag in tags] if isinstance(tags, list) else []
    except InvalidReference as error:
        raise InvalidArchive(f"it names an image badly: {error}", archive.where) from None


# --- oci-archive ---


def _oci_images(archive: _Archive) -> list[_Found]:
    descriptors = media.index(archive.blob("index.json").content(archive.where), archive.where)
    return [found for item in descriptors for found in _oci_entry(archive, item, _oci_names(item, archive), 0)]


def _oci_entry(archive: _Archive, item: media.Descriptor, names: list[Reference], depth: int) -> list[_Found]:
    if item.media_type in media.INDEXES:
        return _oci_index(archive, item, names, depth)
    data = _oci_blob(archive, item).content(archive.where)
    manifest = media.manifest(data, archive.where, item.media_type)
    kept = [(_oci_blob(archive, part), part.digest) for part in (manifest.config, *manifest.layers)]
    return [_Found(kept, data, item.media_type, names)]


def _oci_index(archive: _Archive, item: media.Descriptor, names: list[Reference], depth: int) -> list[_Found]:
    """The image of an index that fits this machine, or else the first that the archive has."""
    from jupyter_containers.image import platforms

    if depth >= 2:
        raise InvalidArchive("its index is nested too deep", archive.where)
    inner = media.index(_oci_blob(archive, item).content(archive.where), archive.where)
    there = [entry for entry in inner if _oci_path(entry) in archive.files and not _is_attestation(entry)]
    nowhere = platforms.Platform("", "")
    chosen = platforms.best(platforms.machine(), [entry.platform or nowhere for entry in there])
    picked = there[chosen : chosen + 1] if chosen is not None else there[:1]
    return [found for entry in picked for found in _oci_entry(archive, entry, names, depth + 1)]


def _is_attestation(entry: media.Descriptor) -> bool:
    return entry.annotations.get("vnd.docker.reference.type") == "attestation-manifest"


def _oci_path(item: media.Descriptor) -> str:
    return f"blobs/{digests.algorithm(item.digest)}/{digests.encoded(item.digest)}"


def _oci_blob(archive: _Archive, item: media.Descriptor) -> Incoming:
    blob = archive.blob(_oci_path(item))
    if blob.size != item.size or (item.digest.startswith("sha256:") and blob.digest != item.digest):
        raise DigestMismatch(
            f"its blob has {blob.size} bytes with digest {blob.digest} instead of {item.size} with {item.digest}",
            archive.where,
        )
    return blob


def _oci_names(item: media.Descriptor, archive: _Archive) -> list[Reference]:
    """The name: containerd's annotation, or ref.name where it is more than the bare tag the standard has there."""
    name = item.annotations.get(CONTAINERD_NAME) or item.annotations.get(media.REF_NAME, "")
    return _repo_tags([name], archive) if any(mark in name for mark in ":/@") else []
