"""Pulling: from a reference to an image of the store, unpacked, with docker's messages.

The order of work is in ARCHITECTURE.md. Everything happens while the store is held for adding, so that no prune takes
away a blob or a layer in between; a pull that fails or is killed leaves partial blobs for the next one, and nothing
that counts. Not here: streams (``download``), the protocol (``client``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from jupyter_containers.errors import (
    ContainersError,
    ImageNotFound,
    InvalidArgument,
    InvalidImage,
    RegistryDenied,
    RegistryError,
    StorageFull,
)
from jupyter_containers.image import media, platforms, reference
from jupyter_containers.image.layers import Layer
from jupyter_containers.image.layout import Area
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.progress import OnEvent, Reporter, short
from jupyter_containers.image.reference import Reference
from jupyter_containers.image.registry import sources
from jupyter_containers.image.registry.access import Access, endpoints
from jupyter_containers.image.registry.choose import image_manifest
from jupyter_containers.image.registry.client import Document, Registry
from jupyter_containers.image.registry.download import AT_ONCE, Downloads
from jupyter_containers.image.store import Image, ImageStore


@dataclass(frozen=True)
class Pulled:
    """What a pull brought.

    Attributes:
        digest: what the registry has under the reference: of the index, where there is one.
        newer: whether the name leads to another image than before.
    """

    image: Image
    name: Reference
    digest: str
    newer: bool


def pull(
    store: ImageStore,
    text: str,
    access: Access,
    platform: str = "",
    all_tags: bool = False,
    on_event: OnEvent | None = None,
) -> list[Pulled]:
    """Pull the image of a reference, or of every tag of a repository.

    Args:
        platform: ``--platform``; this machine's where it is empty.
        all_tags: *text* has no tag, and all of the repository's are pulled.
        on_event: is told docker's progress messages.

    Raises:
        ImageNotFound, RegistryDenied, RegistryUnreachable, RegistryError: the registry does not have it, or not for us.
        InvalidImage, DigestMismatch, WrongPlatform, LayerError, StorageFull: it has it, and it is of no use here.
    """
    wanted = platforms.parse(platform) if platform else platforms.machine()
    named = reference.parse_name(text)
    if all_tags and (named.tag or named.digest):
        raise InvalidArgument("tag can't be used with --all-tags/-a", f"reference {text!r}")
    work = _Pull(store, access, wanted, bool(platform), on_event)
    if not all_tags:
        return [work.one(named.tagged())]
    with work.registry(named) as registry:
        tags = registry.tags()
    if not tags:
        raise ImageNotFound(f"no tags in {named.familiar}")
    return [work.one(replace(named, tag=tag), tell=False) for tag in tags]


class _Pull:
    """One call of :func:`pull`."""

    def __init__(
        self, store: ImageStore, access: Access, wanted: Platform, by_name: bool, on_event: OnEvent | None
    ) -> None:
        self._store, self._access, self._wanted, self._by_name = store, access, wanted, by_name
        self._on_event, self._report = on_event, Reporter(on_event)

    @contextmanager
    def registry(self, name: Reference) -> Iterator[Registry]:
        """The registry itself, no mirror."""
        ways = endpoints(name.domain, self._access)[-1]
        with _explained(name), Registry(ways, name.path, self._access) as registry:
            yield registry

    def one(self, name: Reference, tell: bool = True) -> Pulled:
        """Pull one image: from the first mirror that has it whole, else from the registry."""
        *mirrors, own = endpoints(name.domain, self._access)
        for ways in mirrors:
            try:
                with Registry(ways, name.path, self._access) as registry:
                    return self._from(registry, name, tell)
            except StorageFull:
                raise
            except ContainersError as error:
                self._report.send({"status": f"Mirror {ways[0].shown} not used: {error}"})
        with _explained(name), Registry(own, name.path, self._access) as registry:
            return self._from(registry, name, tell)

    def _from(self, registry: Registry, name: Reference, tell: bool) -> Pulled:
        where = f"image {name.familiar}"
        self._report.send({"status": f"Pulling from {name.path}", "id": name.digest or name.tag})
        found = registry.manifest(name.digest or name.tag, name.digest)
        chosen = image_manifest(registry, found, self._wanted, where)
        manifest = media.manifest(chosen.data, where, chosen.media_type)
        before = self._known(name)
        with self._store.layout.adding() as area:
            image = self._add(area, registry, name, found, chosen, manifest)
        self._report.send({"status": f"Digest: {found.digest}"})
        newer = before != image.id
        if tell:
            what = "Downloaded newer image for" if newer else "Image is up to date for"
            self._report.send({"status": f"Status: {what} {name.familiar}"})
        return Pulled(image, name, found.digest, newer)

    def _add(
        self,
        area: Area,
        registry: Registry,
        name: Reference,
        found: Document,
        chosen: Document,
        manifest: media.Manifest,
    ) -> Image:
        where = f"image {name.familiar}"
        if manifest.config.size > media.JSON_LIMIT:
            raise InvalidImage(f"its configuration has {manifest.config.size} bytes, at most {media.JSON_LIMIT}", where)
        has = self._store.layout.has
        area.check_room(sum(layer.size for layer in manifest.layers if not has(layer.digest, layer.size)))
        with Downloads(registry, self._store.layout, self._report) as downloads:
            downloads.start(manifest.config, told=False)
            downloads.wait(manifest.config.digest)
            config = media.config(self._store.layout.read_json(manifest.config), where)
            media.check_layers(manifest, config, where)
            if self._by_name:
                platforms.check(config.platform, self._wanted, where)
            layers = self._store.layers_of(manifest, config)
            todo = self._announce(layers)
            for layer in manifest.layers:
                downloads.start(layer)
            self._store.unpacked.unpacked(layers, self._renamed(layers, todo), downloads)
            downloads.finish()
        for late in todo.values():  # another process has unpacked it meanwhile
            self._say(late, "Pull complete")
        for part in (manifest.config, *manifest.layers):
            sources.note(self._store.layout.sources, part.digest, name.name)
        names = [replace(name, digest="")] if name.tag else []
        names.append(replace(name, tag="", digest=found.digest))
        return self._store.add(area, chosen.data, names, chosen.media_type)

    def _announce(self, layers: Sequence[Layer]) -> dict[str, Layer]:
        """Docker's first words on each layer; those that are to come, by the name they are told of with."""
        missing = 0
        todo: dict[str, Layer] = {}
        for layer in layers:
            there = self._store.layout.has(layer.digest, layer.size)
            known = there and self._store.unpacked.is_unpacked(layer.chain_id)
            status = "Already exists" if known else "Pulling fs layer"
            self._say(layer, status)
            todo |= {} if known else {short(layer.digest): layer}
            missing += not there
            if not there and missing > AT_ONCE:
                self._say(layer, "Waiting")
        return todo

    def _say(self, layer: Layer, status: str) -> None:
        self._report.send({"status": status, "progressDetail": {}, "id": short(layer.digest)})

    def _renamed(self, layers: Sequence[Layer], todo: dict[str, Layer]) -> OnEvent:
        """Unpacking speaks of diff ids, docker's messages of a pull of blobs; what is complete leaves *todo*."""
        names = {short(layer.diff_id): short(layer.digest) for layer in layers}

        def told(event: dict[str, Any]) -> None:
            name = names.get(str(event.get("id")), "")
            self._report.send({**event, "id": name})
            if event.get("status") == "Pull complete":
                todo.pop(name, None)

        return told

    def _known(self, name: Reference) -> str:
        """The id of the image that has the name now."""
        try:
            return self._store.resolve(str(name)).id
        except ContainersError:
            return ""


@contextmanager
def _explained(name: Reference) -> Iterator[None]:
    """Docker's words for what a registry does not have or give."""
    shown = name.tagged().familiar
    try:
        yield
    except RegistryDenied as error:
        what = f"pull access denied for {name.familiar_name}, repository does not exist or may require 'docker login'"
        raise RegistryDenied(f"{what}: {error.what}", error.where, error.mend, error.code) from None
    except RegistryError as error:
        if error.code != 404:
            raise
        said = error.what.removeprefix("it answered 404").strip(" ()") or "manifest unknown"
        raise ImageNotFound(f"manifest for {shown} not found: {said}", error.where) from None
