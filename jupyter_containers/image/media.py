"""Typed views of OCI and Docker JSON: descriptors, manifests, indexes, configurations.

Values are read, checked and bounded here, once; the bytes they came from stay what their digest says. Both families
of media types mean the same. Not here: where the bytes come from (``layout``), docker's inspect form (``inspect``).
https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_containers.errors import InvalidImage, InvalidReference
from jupyter_containers.image import digest as digests
from jupyter_containers.image.platforms import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"

MANIFESTS, INDEXES = (OCI_MANIFEST, DOCKER_MANIFEST), (OCI_INDEX, DOCKER_INDEX)
REF_NAME = "org.opencontainers.image.ref.name"

JSON_LIMIT = 4 << 20  # of a manifest, as distribution-spec; a configuration may not be larger either
LAYER_LIMIT = 500  # what overlayfs can stack
INDEX_LIMIT = 10_000

JSON = dict[str, Any]


@dataclass(frozen=True)
class Descriptor:
    """What a blob is: media type, digest and size, and what is said about it."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def to_json(self) -> JSON:
        """The descriptor as OCI writes it."""
        data: JSON = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        if self.platform:
            parts = {"architecture": self.platform.architecture, "os": self.platform.os}
            data["platform"] = parts | ({"variant": self.platform.variant} if self.platform.variant else {})
        return data


@dataclass(frozen=True)
class Manifest:
    """An image of one platform: its configuration and its layers, bottom first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """The manifest as canonical JSON (sorted, no spaces): same content, same digest."""
        data: JSON = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        return dumps(data | ({"annotations": dict(self.annotations)} if self.annotations else {}))


@dataclass(frozen=True)
class ImageConfig:
    """A configuration blob. ``raw`` is its whole JSON; the rest are the parts that every reader needs."""

    raw: JSON
    platform: Platform
    diff_ids: tuple[str, ...]
    created: str

    @property
    def run(self) -> JSON:
        """The ``config`` object: Env, Cmd, Entrypoint, WorkingDir, User, Labels ..."""
        value = self.raw.get("config")
        return value if isinstance(value, dict) else {}

    @property
    def history(self) -> list[JSON]:
        """One object per instruction that made the image, oldest first."""
        value = self.raw.get("history")
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def dumps(value: object) -> bytes:
    """Canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def loads(data: bytes, where: str) -> JSON:
    """The JSON object in *data*, at most :data:`JSON_LIMIT` bytes."""
    if len(data) > JSON_LIMIT:
        raise InvalidImage(f"its JSON is larger than {JSON_LIMIT} bytes", where)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"it is not JSON ({error})", where) from None
    if not isinstance(value, dict):
        raise InvalidImage("it is not a JSON object", where)
    return value


def descriptor(value: object, where: str) -> Descriptor:
    """A checked descriptor."""
    if not isinstance(value, dict):
        raise InvalidImage("a descriptor is missing", where)
    size, media_type = value.get("size"), value.get("mediaType", "")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(media_type, str):
        raise InvalidImage("a descriptor has no valid size or media type", where)
    try:
        digest = digests.check(value.get("digest", ""), where)
    except InvalidReference as error:
        raise InvalidImage(error.what, where) from None
    return Descriptor(media_type, digest, size, _annotations(value), _platform(value.get("platform")))


def manifest(data: bytes, where: str, media_type: str = "") -> Manifest:
    """The image manifest in *data*; *media_type* is what its descriptor or HTTP header said it is.

    Raises:
        InvalidImage: it is none, an index at the same time (CVE-2021-41190), or out of bounds.
    """
    value = loads(data, where)
    media_type = _check_kind(value, media_type, where)
    layers = value.get("layers")
    if "manifests" in value or not isinstance(layers, list):
        raise InvalidImage("it is not an image manifest", where)
    if len(layers) > LAYER_LIMIT:
        raise InvalidImage(f"it has {len(layers)} layers (at most {LAYER_LIMIT})", where)
    return Manifest(
        media_type or OCI_MANIFEST,
        descriptor(value.get("config"), where),
        tuple(descriptor(layer, where) for layer in layers),
        _annotations(value),
    )


def index(data: bytes, where: str, media_type: str = "") -> list[Descriptor]:
    """The descriptors of the image index in *data*."""
    value = loads(data, where)
    _check_kind(value, media_type, where)
    found = value.get("manifests")
    if "layers" in value or "config" in value or not isinstance(found, list):
        raise InvalidImage("it is not an image index", where)
    if len(found) > INDEX_LIMIT:
        raise InvalidImage(f"it has {len(found)} entries (at most {INDEX_LIMIT})", where)
    return [descriptor(item, where) for item in found]


def config(data: bytes, where: str) -> ImageConfig:
    """The image configuration in *data*."""
    value = loads(data, where)
    rootfs = value.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    diff_ids = [] if diff_ids is None else diff_ids
    if not isinstance(diff_ids, list) or not all(isinstance(d, str) and digests.is_digest(d) for d in diff_ids):
        raise InvalidImage("its configuration lists no valid layers (rootfs.diff_ids)", where)
    platform = _platform(value)
    if platform is None:
        raise InvalidImage("its configuration names no platform", where, "It may be an artifact, not an image.")
    created = value.get("created")
    return ImageConfig(value, platform, tuple(diff_ids), created if isinstance(created, str) else "")


def check_layers(found: Manifest, configuration: ImageConfig, where: str) -> None:
    """A manifest and its configuration must speak of as many layers."""
    if len(found.layers) != len(configuration.diff_ids):
        raise InvalidImage(
            f"its manifest has {len(found.layers)} layers, its configuration {len(configuration.diff_ids)}", where
        )


def layer_media_type(compression: str) -> str:
    """OCI's media type for a layer of a compression that ``compression.detect`` names."""
    return OCI_LAYER if compression == "none" else f"{OCI_LAYER}+{compression}"


def _check_kind(value: JSON, media_type: str, where: str) -> str:
    said = value.get("mediaType", "")
    if value.get("schemaVersion") == 1 or media_type.startswith(SCHEMA1):
        raise InvalidImage("it is a schema 1 manifest, which no engine reads any more", where, "Push it again.")
    if not isinstance(said, str) or (said and media_type and said != media_type):
        raise InvalidImage(f"it says to be {said!r:.80} but was found as {media_type!r:.80}", where)
    return said or media_type


def _annotations(value: JSON) -> dict[str, str]:
    found = value.get("annotations")
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    names = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(name, str) and len(name) < 64 for name in names) or not names[0] or not names[1]:
        return None
    return Platform(*names)
