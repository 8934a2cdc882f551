"""The store's OCI image layout on disk: blobs, index.json, and how both change without ever being half done.

A blob is written to ``.incoming``, checked, synced and renamed; index.json is replaced. Readers take no lock. Who adds
holds ``.adding.lock`` shared from its first blob to its index entry; what removes unused blobs needs it alone, so a
blob that a pull counts on cannot vanish. A killed process leaves files in ``.incoming`` and perhaps blobs that no
entry reaches: :meth:`Layout.sweep` removes both. Blobs that a pull began stay in ``.partial`` for the next one, a week
at most. Not here: what an image is (``store``), unpacked layers (``layers``).
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jupyter_containers.errors import ContainersError, DigestMismatch, ImageNotFound, InvalidImage
from jupyter_containers.image import digest as digests
from jupyter_containers.image import media
from jupyter_containers.image.blobs import (
    CHUNK,
    Incoming,
    Readable,
    VerifiedReader,
    full,
    is_there,
    storage_errors,
    sync,
)
from jupyter_containers.image.locks import locked, try_locked

PARTIAL_KEPT = 7 * 86400.0  # seconds


class Area:
    """A place for blobs that are being added. See :meth:`Layout.adding`."""

    def __init__(self, layout: Layout, path: Path) -> None:
        self._layout, self._path, self._numbers = layout, path, itertools.count(1)  # threads share it

    def new(self) -> Incoming:
        """A new empty blob."""
        return Incoming(self._path / str(next(self._numbers)), self._layout.path)

    def check_room(self, size: int) -> None:
        """Raise StorageFull at once for what the disk cannot take, instead of filling it first."""
        disk = os.statvfs(self._path)
        if size > disk.f_bavail * disk.f_frsize:
            raise full(self._path)

    def put(self, source: Readable | bytes, digest: str = "", size: int | None = None) -> media.Descriptor:
        """Write all of *source* and commit it."""
        blob = self.new()
        for chunk in [source] if isinstance(source, bytes) else iter(lambda: source.read(CHUNK), b""):
            blob.write(chunk)
            if size is not None and blob.size > size:
                raise DigestMismatch(f"more than the expected {size} bytes came", f"blob {digest}")
        return media.Descriptor("", blob.commit(digest, size), blob.size)


class Layout:
    """The image layout in directory *root*, made where it is missing.

    Args:
        root: the directory.
        kept: digests of blobs that stay although no entry reaches them: those of the build cache.
    """

    def __init__(self, root: Path, kept: Callable[[], Iterable[str]] = tuple) -> None:
        self.root, self._kept = root, kept
        self._blobs, self._incoming, self._index = root / "blobs", root / ".incoming", root / "index.json"
        self._partial, self.sources = root / ".partial", root / ".sources"
        self._seen: tuple[tuple[int, ...], list[media.Descriptor]] = ((), [])
        if not self._index.exists():
            self._create()

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / digests.algorithm(digest) / digests.encoded(digest)

    def partial(self, digest: str) -> Path:
        """Where the beginning of the blob is while it comes; beside it, with the suffix ``.lock``, who writes it."""
        self._partial.mkdir(mode=0o700, exist_ok=True)
        return self._partial / f"{digests.algorithm(digest)}-{digests.encoded(digest)}"

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there (and has that size). Its content was checked when it came."""
        return is_there(self.path(digest), size)

    def open_blob(self, digest: str, size: int | None = None) -> VerifiedReader:
        """The blob as a checked stream.

        Raises:
            ImageNotFound: it is not in the store.
        """
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ImageNotFound(f"not readable in the store ({error.strerror})", f"blob {digest}") from None
        return VerifiedReader(os.fdopen(fd, "rb", buffering=0), digest, size)

    def read_json(self, found: media.Descriptor) -> bytes:
        """A small blob, whole and checked."""
        if found.size > media.JSON_LIMIT:
            raise InvalidImage(f"its JSON is larger than {media.JSON_LIMIT} bytes", f"blob {found.digest}")
        with self.open_blob(found.digest, found.size) as blob:
            return blob.read()

    # --- the index ---

    def entries(self) -> list[media.Descriptor]:
        """The descriptors in index.json, read again only when the file changed."""
        status = self._index.stat()
        key = (status.st_ino, status.st_mtime_ns, status.st_size)
        if key != self._seen[0]:
            found = [media.descriptor(item, str(self._index)) for item in self._raw()]
            self._seen = (key, found)
        return self._seen[1]

    @contextmanager
    def editing(self) -> Iterator[list[media.JSON]]:
        """The raw list of index.json's descriptors, to be changed in place; written when the block ends well."""
        with locked(self.root / ".index.lock"):
            found = self._raw()
            before = json.dumps(found)
            yield found
            if json.dumps(found) != before:
                self._write_index(found)

    def _raw(self) -> list[media.JSON]:
        value = media.loads(self._index.read_bytes(), str(self._index)).get("manifests")
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    def _write_index(self, manifests: list[media.JSON]) -> None:
        data = media.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": manifests})
        _replace(self._index, data)

    # --- adding and removing ---

    @contextmanager
    def adding_all(self) -> Iterator[Area]:
        """The same as :meth:`adding`, for what can't be continued: where the block fails, nothing of it stays."""
        try:
            with self.adding() as area:
                yield area
        except BaseException:
            self.sweep()
            raise

    @contextmanager
    def adding(self) -> Iterator[Area]:
        """A place to add blobs from; what was not committed when the block ends is gone."""
        with locked(self.root / ".adding.lock", shared=True):
            path = self._incoming / secrets.token_hex(8)
            path.mkdir(mode=0o700, parents=True)
            try:
                yield Area(self, path)
            finally:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While the block runs no blob is removed, whoever takes its last name away."""
        with locked(self.root / ".adding.lock", shared=True):
            yield

    @contextmanager
    def using(self) -> Iterator[None]:
        """While the block runs, nothing is removed: for who resolves an image and then notes that it uses it."""
        with locked(self.root / ".using.lock", shared=True):
            yield

    @contextmanager
    def removing(self) -> Iterator[None]:
        """While the block runs, nobody begins to use an image: for who looks for users and then removes."""
        with locked(self.root / ".using.lock"):
            yield

    @contextmanager
    def unused(self) -> Iterator[bool]:
        """Whether nobody is :meth:`using`; if so, nobody begins while the block runs."""
        with try_locked(self.root / ".using.lock") as alone:
            yield alone is not None

    def unfinished(self) -> bool:
        """Whether something is being added, or was when its process died."""
        return any(self._incoming.iterdir())

    def sweep(self, also: Callable[[], object] | None = None, partial_kept: float = PARTIAL_KEPT) -> list[str]:
        """Remove what no entry reaches and nobody adds; the digests. Nothing while something is being added.

        Args:
            also: more to do while nothing can be added.
            partial_kept: seconds that partial blobs are kept after their last byte.
        """
        with try_locked(self.root / ".adding.lock") as alone:
            if alone is None:
                return []
            unused = self._sweep()
            self._sweep_partial(partial_kept)
            if also:
                also()
            return unused

    def partial_bytes(self) -> int:
        """What the blobs take that a pull began."""
        total = 0
        for path in self._partial.glob("*-*"):
            with suppress(FileNotFoundError):  # it has arrived
                total += path.stat().st_size
        return total

    def _sweep_partial(self, kept: float) -> None:
        before = time.time() - kept
        for path in sorted(self._partial.glob("*-*")):  # a blob stands before its lock
            old = not path.with_suffix("").exists() if path.suffix else path.stat().st_mtime <= before
            if old:
                path.unlink(missing_ok=True)

    def _sweep(self) -> list[str]:
        with locked(self.root / ".index.lock"):
            for path in self._incoming.iterdir():
                shutil.rmtree(path, ignore_errors=True)
            kept = self._reachable(media.descriptor(item, str(self._index)) for item in self._raw())
            kept |= set(self._kept())
            unused = [digest for digest in self._stored() if digest not in kept]
            for digest in unused:
                self.path(digest).unlink(missing_ok=True)
                (self.sources / digests.encoded(digest)).unlink(missing_ok=True)
            return unused

    def _stored(self) -> list[str]:
        found = (f"{folder.name}:{blob.name}" for folder in self._blobs.iterdir() for blob in folder.iterdir())
        return [digest for digest in found if digests.is_digest(digest)]

    def _reachable(self, roots: Iterable[media.Descriptor]) -> set[str]:
        found, todo = set(), list(roots)
        while todo:
            item = todo.pop()
            if item.digest not in found:
                found.add(item.digest)
                todo += self._children(item)
        return found

    def _children(self, item: media.Descriptor) -> list[media.Descriptor]:
        where = f"blob {item.digest}"
        try:
            if item.media_type in media.INDEXES:
                return media.index(self.read_json(item), where)
            if item.media_type in media.MANIFESTS:
                found = media.manifest(self.read_json(item), where)
                return [found.config, *found.layers]
        except ContainersError:
            pass  # a damaged manifest keeps nothing alive
        return []

    def _create(self) -> None:
        for path in (self._blobs / "sha256", self._incoming):
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        with locked(self.root / ".index.lock"):
            if not self._index.exists():
                _replace(self.root / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
                self._write_index([])


def _replace(path: Path, data: bytes) -> None:
    """Give *path* the content *data*, wholly or not at all, also over a power failure."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with storage_errors(path):
            temporary.write_bytes(data)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
