"""A store, a misbehaving registry and little patience: what the tests of hostile registries are made of. Not a test."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import ContainersError
from jupyter_containers.image.registry.access import Access, Timing
from jupyter_containers.image.registry.pull import Pulled, pull
from jupyter_containers.image.store import ImageStore
from tests.rigs.bad_registry import BadRegistry
from tests.rigs.registry import docker_config

HASTE = Timing(
    connect=2, answer=0.5, commit=1, window=0.5, least=20_000, document=2, attempts=3, first=0.02, longest=2, total=4
)
BOUND = 12.0  # seconds: nothing may take longer, whatever a registry does


def open_store(home: Path) -> ImageStore:
    if os.geteuid() == 0:
        return ImageStore(home, "root")
    return ImageStore(home, "rootless-single", lambda argv: ["unshare", "-Ur", *argv])


@dataclass
class Scene:
    """A registry and a store that pulls from it."""

    registry: BadRegistry
    folder: Path
    store: ImageStore
    access: Access

    def pull(self, name: str = "x:latest", events: list[dict[str, Any]] | None = None, **options: Any) -> Pulled:
        on_event = events.append if events is not None else None
        return pull(self.store, f"{self.registry.host}/{name}", self.access, on_event=on_event, **options)[0]

    def refuses(
        self, kind: type[ContainersError], text: str, act: Callable[[], object] | None = None
    ) -> ContainersError:
        """The pull fails with that error, in bounded time, and leaves nothing that counts."""
        begun = time.monotonic()
        with pytest.raises(kind) as caught:
            (act or self.pull)()
        assert time.monotonic() - begun < BOUND
        assert text in str(caught.value)
        self.is_clean()
        return caught.value

    def is_clean(self) -> None:
        """No image, no manifest, no layer, nothing unfinished; each blob is what it is called; partial ones are apart."""
        images = self.folder / "home" / "images"
        assert self.store.list() == []
        assert not any((images / ".incoming").iterdir())
        for blob in (images / "blobs" / "sha256").iterdir():
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        for layers in (self.folder / "home" / "layers").iterdir():
            assert [path.name for path in layers.iterdir() if not path.name.endswith(".lock")] == []

    @property
    def partial(self) -> list[Path]:
        """Blobs that a later pull would continue."""
        folder = self.folder / "home" / "images" / ".partial"
        return sorted(folder.iterdir()) if folder.exists() else []

    def logged_in(self, host: str = "", **login: str) -> None:
        """Have credentials for *host* in docker's config."""
        self.access = replace(
            self.access, docker_config=docker_config(self.folder / "docker", host or self.registry.host, **login)
        )


def scene(registry: BadRegistry, folder: Path) -> Scene:
    access = Access(docker_config=folder / "docker" / "config.json", timing=HASTE)
    return Scene(registry, folder, open_store(folder / "home"), access)
