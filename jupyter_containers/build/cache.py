"""What steps gave: ``build-cache/<key>.json``, one small file per key, so that no step is done twice.

A key is a hash of everything that a result depends on, a result a layer or that there is none. Nothing else is
believed: an image's history can say anything and is never a reason to skip a step (CVE-2024-24557). The blobs and
unpacked layers of results are kept by the store as long as the result is here. Files are replaced by rename; when one
was used last is its modification time. Not here: cache *mounts* (``mounted``).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jupyter_containers.build.state import Layer
from jupyter_containers.errors import ContainersError
from jupyter_containers.image import media
from jupyter_containers.image.locks import locked, try_locked

FOLDER = "build-cache"  # in a store
_STALE = 60.0  # seconds after which a temporary file is a dead process's


@dataclass(frozen=True)
class Result:
    """What a step gave.

    Attributes:
        layer: the layer; None where the step changed no file.
        chain_id: of the files afterwards.
        size: bytes of the files in it.
        about: the instruction, for people.
    """

    layer: Layer | None
    chain_id: str
    size: int
    about: str


@dataclass(frozen=True)
class Entry:
    """A result that is kept, and when it was used last (seconds since 1970)."""

    key: str
    result: Result
    used: float


class BuildCache:
    """The results in directory *root*, made when the first one comes.

    Args:
        root: ``build-cache`` of a store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> Result | None:
        """The result of *key*, which counts as used now; None where there is none, or a damaged one."""
        path = self._path(key)
        try:
            result = _read(path)
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError, ContainersError):
            return None
        return result

    def put(self, key: str, result: Result) -> None:
        """Remember a result. Its blob must be in the store and held there (``Layout.adding``) meanwhile."""
        layer = result.layer
        data = {
            "about": result.about, "chain_id": result.chain_id, "size": result.size,
            "layer": {**layer.blob.to_json(), "diff_id": layer.diff_id} if layer else None,
        }  # fmt: skip
        self._make()
        temporary = self.root / f".{secrets.token_hex(8)}"
        temporary.write_text(json.dumps(data))
        temporary.replace(self._path(key))

    def drop(self, key: str) -> None:
        """Forget a result."""
        self._path(key).unlink(missing_ok=True)

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """Only one, of all processes, makes the result of *key* at a time; the others wait, and find it."""
        self._make()
        path = self.root / f"{_name(key)}.lock"
        with locked(path):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """All results, the one that was used last first."""
        found = []
        for path in self.root.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError, ContainersError):
                found.append(Entry(f"sha256:{path.stem}", _read(path), path.stat().st_mtime))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def size(self) -> int:
        """Bytes of the files that all results have."""
        return sum(entry.result.size for entry in self.entries())

    def prune(self, wanted: Callable[[Entry], bool], keep: int = 0) -> list[Entry]:
        """Forget results that are *wanted* away while more than *keep* bytes stay, oldest first; those forgotten.

        What they kept is removed by the store's next sweep.
        """
        entries = self.entries()
        total, gone = sum(entry.result.size for entry in entries), []
        for entry in reversed(entries):
            if wanted(entry) and (total > keep or not keep):
                self.drop(entry.key)
                total -= entry.result.size
                gone.append(entry)
        self._sweep()
        return gone

    # --- what the store keeps: image.store.Kept ---

    def blobs(self) -> Iterable[str]:
        """Digests of the layers' blobs."""
        return [entry.result.layer.blob.digest for entry in self.entries() if entry.result.layer]

    def chain_ids(self) -> Iterable[str]:
        """Of the files after each result."""
        return [entry.result.chain_id for entry in self.entries()]

    # --- files ---

    def _make(self) -> None:
        self.root.mkdir(mode=0o700, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / f"{_name(key)}.json"

    def _sweep(self) -> None:
        """Remove what processes left that died, and results that can't be read."""
        whole = {_name(entry.key) for entry in self.entries()}
        for path in self.root.glob("*.json"):
            if path.stem not in whole:
                path.unlink(missing_ok=True)
        for path in self.root.glob("*.lock"):
            with try_locked(path) as alone:
                if alone is not None:
                    path.unlink(missing_ok=True)
        for path in self.root.glob(".*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()


def key_of(*parts: object) -> str:
    """The key of what JSON data says; equal data, in whatever order of an object's members, gives an equal key."""
    return "sha256:" + hashlib.sha256(media.dumps(parts)).hexdigest()


def _name(key: str) -> str:
    return key.partition(":")[2]


def _read(path: Path) -> Result:
    data = json.loads(path.read_bytes())
    layer = data["layer"]
    made = Layer(media.descriptor(layer, str(path)), str(layer["diff_id"])) if layer else None
    return Result(made, str(data["chain_id"]), int(data["size"]), str(data["about"]))
