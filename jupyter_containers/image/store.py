"""The image store: an OCI image layout with names, and its layers unpacked for overlayfs.

``images/`` (``layout``) holds blobs and the index, ``layers/<owners>/`` (``layers``) what is unpacked. An index entry
is a name (annotation org.opencontainers.image.ref.name, the full normalised reference) of a manifest; an image is all
entries that lead to one configuration, whose digest is its id, as docker's. Any process may open the same store.
Not here: where images come from (``archive``, ``imported``, ``registry``; later build), who may go (``removal``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_containers.errors import (
    ContainersError,
    ImageNotFound,
    InvalidArgument,
    InvalidImage,
    InvalidReference,
    suggest,
)
from jupyter_containers.image import digest as digests
from jupyter_containers.image import inspect, media, naming, platforms, reference
from jupyter_containers.image.blobs import VerifiedReader
from jupyter_containers.image.layers import OWNERS, Layer, Layers
from jupyter_containers.image.layout import Area, Layout
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.program import Unshare
from jupyter_containers.image.progress import OnEvent, short
from jupyter_containers.image.reference import Reference

if TYPE_CHECKING:
    from jupyter_containers.image.contents import Contents

Users = Callable[[str], Mapping[str, bool]]  # of an image id: ids of its containers, and whether they run

Rows = list[dict[str, str]]
Parsed = tuple[media.Descriptor, media.Manifest, media.ImageConfig]

_ID = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")


class Kept(Protocol):
    """What must stay although no image has it: the results that the build cache remembers."""

    def blobs(self) -> Iterable[str]:
        """Digests of blobs."""
        ...

    def chain_ids(self) -> Iterable[str]:
        """Unpacked layers."""
        ...


@dataclass(frozen=True)
class Image:
    """An image of the store, as it was when asked for.

    Attributes:
        id: digest of the configuration.
        target: descriptor of the manifest.
        names: every reference to it, tags and digests.
    """

    id: str
    target: media.Descriptor
    manifest: media.Manifest
    config: media.ImageConfig
    names: tuple[Reference, ...]

    @property
    def tags(self) -> list[str]:
        """``RepoTags``: familiar names with tag."""
        return [name.familiar for name in self.names if not name.digest]

    @property
    def digests(self) -> list[str]:
        """``RepoDigests``: familiar names with digest."""
        return [f"{name.familiar_name}@{name.digest}" for name in self.names if name.digest]

    @property
    def short_id(self) -> str:
        """The 12 digits that docker shows."""
        return short(self.id)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its configuration."""
        return dict(self.config.run.get("Labels") or {})

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.config.platform

    @property
    def shown(self) -> str:
        """How to name it to a person."""
        return self.tags[0] if self.tags else self.short_id


class ImageStore:
    """Images in directory *home*.

    Args:
        home: the store, made where it is missing, mode 0700.
        owners: which ids unpacked files may have: ``root``, ``rootless`` or ``rootless-single``.
        unshare: makes of a command one that runs it in the containers' user namespace; None as root.
        limits: other bounds for layers than ``apply.LIMITS``.
        kept: what stays although no image has it.
    """

    def __init__(
        self,
        home: Path,
        owners: str,
        unshare: Unshare | None = None,
        limits: Mapping[str, int] | None = None,
        kept: Kept | None = None,
    ) -> None:
        if owners not in OWNERS:
            raise InvalidArgument(f"{owners!r} is no kind of owners", "image store", suggest(owners, OWNERS))
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.stat().st_mode & 0o077:
            home.chmod(0o700)  # setuid files of images are for nobody else (CVE-2021-41091)
        self._kept = kept
        self.layout = Layout(home / "images", kept.blobs if kept else tuple)
        self.unpacked = Layers(home / "layers" / owners, owners, unshare, limits)
        self._home = home
        self._parsed: dict[str, Parsed] = {}
        if self.layout.unfinished() or self.unpacked.unfinished():
            self.sweep()

    @cached_property
    def contents(self) -> Contents:
        """The indexes of layers' contents."""
        from jupyter_containers.image.contents import Contents  # for who looks into layers

        return Contents(self._home / "layers" / "contents")

    # --- blobs, for what brings images ---

    def put_blob(self, area: Area, source: Any, digest: str = "", size: int | None = None) -> media.Descriptor:
        """Add a blob from bytes or a readable, checked; *area* is from ``layout.adding()``."""
        return area.put(source, digest, size)

    def open_blob(self, digest: str, size: int | None = None) -> VerifiedReader:
        """A blob as a stream that raises DigestMismatch at its end when it is damaged."""
        return self.layout.open_blob(digest, size)

    def add(self, area: Area, manifest: bytes, names: Iterable[Reference] = (), media_type: str = "") -> Image:
        """Make an image of a manifest whose blobs were put, and give it *names*.

        Raises:
            InvalidImage: the manifest or its configuration is not valid, or a blob is missing.
        """
        where = f"manifest {digests.of(manifest)}"
        parsed = media.manifest(manifest, where, media_type)
        for part in (parsed.config, *parsed.layers):
            if not self.layout.has(part.digest, part.size):
                raise InvalidImage(f"its blob {part.digest} of {part.size} bytes is missing", where)
        media.check_layers(parsed, media.config(self.layout.read_json(parsed.config), where), where)
        stored = area.put(manifest)
        target = media.Descriptor(parsed.media_type, stored.digest, stored.size)
        with self.layout.editing() as entries:
            for name in names:
                naming.move(entries, str(name), target)
            if not any(entry.get("digest") == target.digest for entry in entries):
                entries.append(target.to_json())
            found = self._grouped(media.descriptor(entry, "index.json") for entry in entries)
        return found[parsed.config.digest]

    # --- reading ---

    def list(self) -> list[Image]:
        """All images, newest first."""
        return sorted(self._images().values(), key=lambda image: image.config.created, reverse=True)

    def resolve(self, name: str) -> Image:
        """The image with this reference, id, or beginning of an id: in this order, as docker.

        Raises:
            ImageNotFound: there is none.
            InvalidArgument: several ids begin so.
        """
        images = self._images()
        if name in images:
            return images[name]
        wanted = naming.lenient(name)
        if wanted is not None:
            for image in images.values():
                if any(naming.same(wanted, other) for other in image.names):
                    return image
        if found := _ID.fullmatch(name):
            matching = [image for id_, image in images.items() if digests.encoded(id_).startswith(found[1])]
            if len(matching) > 1:
                raise InvalidArgument(f"{len(matching)} images have an id that begins so", f"image {name}")
            if matching:
                return matching[0]
        if wanted is None and not found:
            reference.parse(name)  # says why it is not a reference
        known = [tag for image in images.values() for tag in {*image.tags, *(t.split(":")[0] for t in image.tags)}]
        shown = wanted.familiar if wanted else name
        raise ImageNotFound(f"no such image: {shown}", "", suggest(name, known) or "`images` lists what there is.")

    def chain(self, image: Image) -> Sequence[Layer]:
        """The layers of an image, bottom first, and where they are or would be."""
        return self.layers_of(image.manifest, image.config)

    def layers_of(self, manifest: media.Manifest, config: media.ImageConfig) -> Sequence[Layer]:
        """As :meth:`chain`, of an image that is perhaps not in the store yet."""
        return self.chain_of(config.diff_ids, manifest.layers)

    def chain_of(self, diff_ids: Sequence[str], blobs: Sequence[media.Descriptor]) -> Sequence[Layer]:
        """As :meth:`chain`, of layers that are no image's yet, bottom first."""
        rows = zip(digests.chain_ids(list(diff_ids)), diff_ids, blobs, strict=True)
        return [Layer(c, diff, self.layout.path(blob.digest), blob.digest, blob.size) for c, diff, blob in rows]

    def layers(self, image: Image, on_event: OnEvent | None = None) -> Sequence[Path]:
        """The directories of the image's layers, top first; unpacked now where they are not yet.

        Hold ``layout.using()`` from resolving the image until something notes that it is in use (a container's record),
        or a removal may take them away again.
        """
        return self.unpacked.unpacked(self.chain(image), on_event)

    def inspect(self, image: Image) -> dict[str, Any]:
        """``docker image inspect``."""
        chain = [layer.chain_id for layer in reversed(self.chain(image))]
        there = all(self.unpacked.stamp(chain_id) for chain_id in chain)
        places = [str(self.unpacked.path(chain_id)) for chain_id in chain] if there else []
        return inspect.image(image, sum(self.sizes(image)), places)

    def history(self, image: Image) -> Sequence[dict[str, Any]]:
        """``docker history``."""
        return inspect.history(image, self.sizes(image))

    def layer_view(self, image: Image, files: bool = False) -> dict[str, Any]:
        """What each layer adds, changes, removes and wastes; see :func:`jupyter_containers.image.inspect.layers`."""
        from jupyter_containers.image import layerview

        chain = self.chain(image)
        changes = layerview.stacked(self.contents.rows(layer) for layer in chain)
        return inspect.layers(image, chain, changes, layerview.efficiency(changes), files)

    def sizes(self, image: Image) -> Sequence[int]:
        """Bytes in each layer, bottom first: of its files where it is unpacked, of its blob otherwise."""
        stamps = ((layer, self.unpacked.stamp(layer.chain_id)) for layer in self.chain(image))
        return [int(stamp["bytes"]) if stamp else layer.size for layer, stamp in stamps]

    # --- changing ---

    def unpack(self, manifest: bytes, media_type: str = "", on_event: OnEvent | None = None) -> None:
        """Unpack the layers of a manifest whose blobs were put, before :meth:`add` makes an image of it.

        For what brings images: a layer that can't be unpacked is refused before anything has a name.

        Raises:
            InvalidImage, LayerError, DigestMismatch, StorageFull: nothing is left of the layers.
        """
        where = f"manifest {digests.of(manifest)}"
        parsed = media.manifest(manifest, where, media_type)
        config = media.config(self.layout.read_json(parsed.config), where)
        media.check_layers(parsed, config, where)
        self.unpacked.unpacked(self.layers_of(parsed, config), on_event)

    def tag(self, name: str, new: str) -> Image:
        """Give the image *name* the name *new* as well."""
        wanted = reference.parse(new)
        if wanted.digest or wanted.familiar_name in digests.ALGORITHMS:
            raise InvalidReference("a new name has a tag, and no digest or its algorithm", f"reference {new!r}")
        with self.layout.using():
            image = self.resolve(name)
            with self.layout.editing() as entries:
                naming.move(entries, str(wanted), image.target)
            return self.resolve(str(wanted))

    def name(self, image: Image, name: Reference) -> None:
        """Let *name*, also one with a digest, lead to the image, unless somebody has removed it meanwhile."""
        with self.layout.editing() as entries:
            if any(self._leads_to(entry, image) for entry in entries):
                naming.move(entries, str(name), image.target)

    def remove(self, name: str, force: bool = False, users: Users | None = None) -> Rows:
        """``docker rmi``; see :func:`jupyter_containers.image.removal.remove`."""
        from jupyter_containers.image import removal

        return removal.remove(self, name, force, users).rows

    def needed(self) -> set[str]:
        """Chain ids of all images, and of what else is kept."""
        return self.chain_ids_of_images() | set(self._kept.chain_ids() if self._kept else ())

    def chain_ids_of_images(self) -> set[str]:
        """Chain ids of all images."""
        return {layer.chain_id for image in self.list() for layer in self.chain(image)}

    def untag(self, image: Image, names: Sequence[Reference], keep: bool = False) -> bool:
        """Take *names* of an image away; whether no entry leads to it any more (with *keep*, one without a name does).

        An image that has got another name meanwhile stays.
        """
        gone = {str(name) for name in names}
        with self.layout.editing() as entries:
            for entry in [entry for entry in entries if naming.name_of(entry) in gone]:
                naming.drop(entries, entry)
            mine = [entry for entry in entries if self._leads_to(entry, image)]
            last = not keep and not any(naming.name_of(entry) for entry in mine)
            if last:
                entries[:] = [entry for entry in entries if entry not in mine]
            return last

    def sweep(self) -> None:
        """Remove blobs that nothing names, and what processes left that died."""
        self.layout.sweep()
        self.unpacked.sweep()

    # --- inside ---

    def _images(self) -> dict[str, Image]:
        return self._grouped(self.layout.entries())

    def _grouped(self, entries: Iterable[media.Descriptor]) -> dict[str, Image]:
        """Images by id: all entries that lead to one configuration."""
        found: dict[str, Image] = {}
        for entry in entries:
            if (parsed := self._read(entry)) is None:
                continue
            target, manifest, config = parsed
            id_ = manifest.config.digest
            image = found.get(id_) or Image(id_, target, manifest, config, ())
            name = naming.lenient(entry.annotations.get(media.REF_NAME, ""))
            found[id_] = replace(image, names=(*image.names, name)) if name and name not in image.names else image
        return found

    def _read(self, entry: media.Descriptor) -> Parsed | None:
        """A manifest and its configuration; of an index, those for this machine. None where they cannot be used."""
        if (known := self._parsed.get(entry.digest)) is not None:
            return known
        try:
            parsed = self._parse(entry)
        except ContainersError:
            return None  # an artifact, or damaged by somebody
        if parsed is not None:
            self._parsed[entry.digest] = parsed
        return parsed

    def _parse(self, entry: media.Descriptor) -> Parsed | None:
        where, data = f"blob {entry.digest}", self.layout.read_json(entry)
        if entry.media_type in media.INDEXES:
            offered = [item for item in media.index(data, where) if item.media_type in media.MANIFESTS]
            chosen = platforms.best(platforms.machine(), [item.platform or Platform("", "") for item in offered])
            return None if chosen is None else self._parse(offered[chosen])
        manifest = media.manifest(data, where, entry.media_type)
        config = media.config(self.layout.read_json(manifest.config), where)
        media.check_layers(manifest, config, where)
        return media.Descriptor(manifest.media_type, entry.digest, entry.size), manifest, config

    def _leads_to(self, entry: media.JSON, image: Image) -> bool:
        parsed = self._read(media.descriptor(entry, "index.json"))
        return parsed is not None and parsed[1].config.digest == image.id
