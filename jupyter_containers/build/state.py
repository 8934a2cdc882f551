"""What a stage is after some of its steps: layers, and what its image's configuration will be.

States are values: a step makes a new one of the one before. What a state's files are is said by its chain id alone,
so two ways that lead to the same layers lead to the same cached results afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from jupyter_containers.image import digest as digests
from jupyter_containers.image import media
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.store import Image

# ZIP, and so wheels, know no earlier time; Nix takes the same one (https://reproducible-builds.org/docs/timestamps).
EARLIEST = 315532800  # 1980-01-01T00:00:00Z
SCRATCH = "scratch"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # BuildKit's system.DefaultPathEnv

_TYPES = {
    media.DOCKER_LAYER: media.OCI_LAYER,
    f"{media.DOCKER_LAYER}.gzip": f"{media.OCI_LAYER}+gzip",
    f"{media.DOCKER_LAYER}.zstd": f"{media.OCI_LAYER}+zstd",
}


@dataclass(frozen=True)
class Layer:
    """One layer: its blob, and the digest of the tar in it."""

    blob: media.Descriptor
    diff_id: str


@dataclass(frozen=True)
class State:
    """A stage between two steps.

    Attributes:
        platform: what its programs run on.
        epoch: seconds since 1970 that nothing new is younger than; the image's ``created``.
        layers: bottom first.
        config: the ``config`` object of an image's configuration.
        history: one object per instruction, those of the base included.
        author: ``MAINTAINER``'s.
        about: the stage or image, for messages.
    """

    platform: Platform
    epoch: int
    layers: tuple[Layer, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[media.JSON, ...] = ()
    author: str = ""
    about: str = ""

    @property
    def diff_ids(self) -> list[str]:
        """Of the layers, bottom first."""
        return [layer.diff_id for layer in self.layers]

    @property
    def chain_id(self) -> str:
        """What its files are: the chain id of all layers; ``scratch`` where there are none."""
        return digests.chain_ids(self.diff_ids)[-1] if self.layers else SCRATCH

    @property
    def env(self) -> dict[str, str]:
        """The variables of its configuration."""
        return dict(entry.partition("=")[::2] for entry in self.config.get("Env") or [])

    def findable(self) -> State:
        """The state with a ``PATH``: a stage whose base has none gets docker's default, as BuildKit has it."""
        if "PATH" in self.env:
            return self
        return replace(self, config={**self.config, "Env": [*(self.config.get("Env") or []), f"PATH={PATH}"]})

    def then(self, created_by: str, layer: Layer | None = None, config: Mapping[str, Any] | None = None) -> State:
        """The state after the instruction *created_by*, which made a layer or changed the configuration."""
        entry: media.JSON = {"created": timestamp(self.epoch), "created_by": created_by, "comment": "nb-containers"}
        if layer is None:
            entry["empty_layer"] = True
        return replace(
            self,
            layers=(*self.layers, layer) if layer else self.layers,
            config=self.config if config is None else config,
            history=(*self.history, entry),
        )

    def image_config(self) -> bytes:
        """The image's configuration as canonical JSON."""
        data: media.JSON = {
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "created": timestamp(self.epoch),
            "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            "history": list(self.history),
        }
        if self.platform.variant:
            data["variant"] = self.platform.variant
        return media.dumps(data | ({"author": self.author} if self.author else {}))

    def manifest(self, config: media.Descriptor, annotations: Mapping[str, str]) -> media.Manifest:
        """The image's manifest for a stored *config*."""
        described = media.Descriptor(media.OCI_CONFIG, config.digest, config.size)
        return media.Manifest(media.OCI_MANIFEST, described, tuple(layer.blob for layer in self.layers), annotations)


def of_image(image: Image, epoch: int | None) -> State:
    """A stage that begins with an image; without an *epoch* nothing new is younger than the image."""
    blobs = [replace(blob, media_type=_TYPES.get(blob.media_type, blob.media_type)) for blob in image.manifest.layers]
    layers = [Layer(blob, diff_id) for blob, diff_id in zip(blobs, image.config.diff_ids, strict=True)]
    return State(
        image.config.platform,
        seconds(image.config.created) if epoch is None else epoch,
        tuple(layers),
        image.config.run,
        tuple(image.config.history),
        str(image.config.raw.get("author") or ""),
        image.shown,
    )


def seconds(created: str) -> int:
    """The seconds since 1970 of an image's ``created``; :data:`EARLIEST` where it has none, or an earlier one."""
    try:
        return max(EARLIEST, int(datetime.fromisoformat(created).timestamp()))
    except (ValueError, OverflowError):
        return EARLIEST


def timestamp(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339, which OCI wants."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
