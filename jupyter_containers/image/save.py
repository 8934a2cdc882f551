"""Saving images: one tar that is an OCI image layout, and for docker a docker-archive at the same time.

``docker-archive`` is what docker 25 and later write and what 20.10, podman and skopeo read: the layout's blobs, with
``manifest.json`` and ``repositories`` beside ``index.json``. ``oci-archive`` leaves those two out. Blobs are streamed
as they lie in the store, compressed or not, so every digest stays; entries are in order, of nobody and of no time, so
the same images give the same bytes. Not here: reading archives (``archive``).
https://github.com/opencontainers/image-spec/blob/main/image-layout.md · https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jupyter_containers.errors import InvalidArgument, InvalidReference, suggest
from jupyter_containers.image import digest as digests
from jupyter_containers.image import media, naming, reference, tarwriter
from jupyter_containers.image.blobs import CHUNK
from jupyter_containers.image.progress import OnEvent, Reporter
from jupyter_containers.image.reference import Reference
from jupyter_containers.image.store import Image, ImageStore

FORMATS = ("docker-archive", "oci-archive")
CONTAINERD_NAME = "io.containerd.image.name"
_REPORT = 8 << 20  # bytes between two messages

Chosen = list[tuple[Image, list[Reference]]]


def chunks(
    store: ImageStore, names: Sequence[str], form: str = FORMATS[0], on_event: OnEvent | None = None
) -> Iterator[bytes]:
    """The archive of the images that *names* ask for, in pieces; memory does not grow with the images.

    Args:
        store: where they are.
        names: as docker takes them: ``repository:tag``, a repository for all its tags, or an id (saved nameless).
        form: one of :data:`FORMATS`.
        on_event: is told docker's progress messages.

    Raises:
        ImageNotFound: before anything is written.
        DigestMismatch: a blob is damaged; what was written must be thrown away.
    """
    if form not in FORMATS:
        raise InvalidArgument(f"unknown format {form!r}", "--format", suggest(form, FORMATS) or _known())
    report = Reporter(on_event)
    with store.layout.keeping():
        chosen = choose(store, names)
        blobs = _blobs(chosen)
        yield tarwriter.header(tarwriter.folder("blobs"))
        for algorithm in sorted({digests.algorithm(digest) for digest in blobs}):
            yield tarwriter.header(tarwriter.folder(f"blobs/{algorithm}"))
        for digest in sorted(blobs):
            yield from _blob(store, blobs[digest], report)
        for name, data in sorted(_documents(chosen, form).items()):
            yield tarwriter.header(tarwriter.plain(name, len(data))) + data + tarwriter.padding(len(data))
        yield tarwriter.END


def choose(store: ImageStore, names: Iterable[str]) -> Chosen:
    """The images that *names* ask for, each once, with the names that it is saved under."""
    found: dict[str, tuple[Image, list[Reference]]] = {}
    for name in names:
        for image, tag in _asked(store, name):
            _, tags = found.setdefault(image.id, (image, []))
            if tag is not None and tag not in tags:
                tags.append(tag)
    return list(found.values())


def _asked(store: ImageStore, name: str) -> list[tuple[Image, Reference | None]]:
    if repository := _repository(name):
        every = [(image, tag) for image in store.list() for tag in image.names if not tag.digest]
        tagged = [(image, tag) for image, tag in every if tag.name == repository.name]
        if tagged:
            return [(image, tag) for image, tag in sorted(tagged, key=lambda pair: pair[1].tag)]
    image = store.resolve(name)
    wanted = naming.lenient(name)
    tags = [tag for tag in image.names if wanted and naming.same(wanted, tag) and not tag.digest]
    return [(image, tags[0] if tags else None)]


def _repository(name: str) -> Reference | None:
    """The name without a tag that *name* may be; None where it has a tag or a digest, or is no name."""
    try:
        found = reference.parse_name(name)
    except InvalidReference:
        return None
    return None if found.tag or found.digest else found


def _known() -> str:
    return f"It is one of: {', '.join(FORMATS)}."


# --- blobs ---


def _blobs(chosen: Chosen) -> dict[str, media.Descriptor]:
    parts = (part for image, _ in chosen for part in (image.target, image.manifest.config, *image.manifest.layers))
    return {part.digest: part for part in parts}


def _blob(store: ImageStore, part: media.Descriptor, report: Reporter) -> Iterator[bytes]:
    yield tarwriter.header(tarwriter.plain(_path(part.digest), part.size))
    done = told = 0
    with store.open_blob(part.digest, part.size) as blob:
        while data := blob.read(CHUNK):
            yield data
            done += len(data)
            if done - told >= _REPORT:
                told = done
                report.moving("Saving", part.digest, done, part.size)
    report.done("Saved", part.digest)
    yield tarwriter.padding(part.size)


def _path(digest: str) -> str:
    return f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"


# --- descriptions ---


def _documents(chosen: Chosen, form: str) -> dict[str, bytes]:
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": _entries(chosen)}
    found = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": media.dumps(index)}
    if form == "docker-archive":
        found["manifest.json"] = media.dumps([_row(image, tags) for image, tags in chosen])
        found["repositories"] = _repositories(chosen)
    return found


def _entries(chosen: Chosen) -> list[media.JSON]:
    """The index: one descriptor for each name, with the full name as podman's and as containerd's annotation."""
    found = []
    for image, tags in chosen:
        bare = {key: value for key, value in image.target.to_json().items() if key != "annotations"}
        found += [bare | {"annotations": {media.REF_NAME: str(tag), CONTAINERD_NAME: str(tag)}} for tag in tags]
        found += [bare] if not tags else []
    return found


def _row(image: Image, tags: Sequence[Reference]) -> dict[str, Any]:
    return {
        "Config": _path(image.id),
        "RepoTags": [tag.familiar for tag in tags] or None,
        "Layers": [_path(layer.digest) for layer in image.manifest.layers],
    }


def _repositories(chosen: Chosen) -> bytes:
    """Of docker before 1.10; its values are ids of top layers, which nothing looks up any more."""
    found: dict[str, dict[str, str]] = {}
    for image, tags in chosen:
        top = image.manifest.layers[-1].digest if image.manifest.layers else image.id
        for tag in tags:
            found.setdefault(tag.familiar_name, {})[tag.tag] = digests.encoded(top)
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode()
