"""Pushing: an image of the store to a registry, with docker's messages.

What is sent is what the store has, byte for byte, so the digest that others see is the image's own. Blobs first, three
at a time, the manifest last. Not here: one blob's way (``upload``).
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from jupyter_containers.errors import ImageNotFound, InvalidArgument, RegistryDenied
from jupyter_containers.image import reference
from jupyter_containers.image.media import Descriptor
from jupyter_containers.image.progress import OnEvent, Reporter, short
from jupyter_containers.image.reference import Reference
from jupyter_containers.image.registry import sources
from jupyter_containers.image.registry.access import Access, own
from jupyter_containers.image.registry.client import Registry
from jupyter_containers.image.registry.upload import CHUNK, Upload
from jupyter_containers.image.store import Image, ImageStore

AT_ONCE = 3
_TELL_SECONDS = 0.1


@dataclass(frozen=True)
class Pushed:
    """What a push left in the registry."""

    name: Reference
    digest: str
    size: int


def push(
    store: ImageStore,
    text: str,
    access: Access,
    all_tags: bool = False,
    on_event: OnEvent | None = None,
    chunk: int = CHUNK,
) -> list[Pushed]:
    """Push the image of a reference, or every tag that the store has of a repository.

    Args:
        all_tags: *text* has no tag; all of the store's are pushed.
        on_event: is told docker's progress messages.
        chunk: bytes of one request of a large blob.

    Raises:
        ImageNotFound: the store has no such image.
        RegistryDenied, RegistryUnreachable, RegistryError: the registry does not take it.
    """
    named = reference.parse_name(text)
    if named.digest:
        raise InvalidArgument("cannot push a digest reference", f"reference {text!r}")
    if all_tags and named.tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a", f"reference {text!r}")
    found = _images(store, named, all_tags)
    report = Reporter(on_event)
    report.send({"status": f"The push refers to repository [{named.name}]"})
    sizes = {layer.digest: layer for image in found.values() for layer in image.manifest.layers}
    extra = _mount_sources(store, named, [*sizes])
    # Adding holds off whatever would remove blobs meanwhile.
    with (
        store.layout.adding(),
        Registry(own(named.domain, access), named.path, access, actions="pull,push") as registry,
    ):
        registry.scope = (*registry.scope, *(f"repository:{path}:pull" for path in extra))
        work = _Push(store, registry, report, named, chunk)
        try:
            return [work.image(name, image) for name, image in found.items()]
        except RegistryDenied as error:
            what = f"push access denied for {named.familiar_name}: {error.what}"
            raise RegistryDenied(what, error.where, error.mend, error.code) from None


def _images(store: ImageStore, named: Reference, all_tags: bool) -> dict[Reference, Image]:
    if not all_tags:
        name = named.tagged()
        tag = [image for image in store.list() if name in image.names]
        if not tag:
            what = f"An image does not exist locally with the tag: {named.familiar_name}"
            raise ImageNotFound(what, mend=f"Give it that name: `tag IMAGE {name.familiar}`.")
        return {name: tag[0]}
    found = {name: image for image in store.list() for name in image.names if name.name == named.name and name.tag}
    if not found:
        raise ImageNotFound(f"An image does not exist locally with the tag: {named.familiar_name}")
    return found


def _mount_sources(store: ImageStore, named: Reference, digests: list[str]) -> list[str]:
    """Repositories of the same registry that a layer could be mounted from; a token must allow to read them."""
    folder = store.layout.sources
    found = [path for digest in digests for path in sources.others(folder, digest, named.domain, named.path)[:1]]
    return list(dict.fromkeys(found))[:8]


class _Push:
    """One call of :func:`push`."""

    def __init__(self, store: ImageStore, registry: Registry, report: Reporter, named: Reference, chunk: int) -> None:
        self._store, self._registry, self._report, self._named, self._chunk = store, registry, report, named, chunk
        self._done: set[str] = set()

    def image(self, name: Reference, image: Image) -> Pushed:
        """Push one tag."""
        shown = dict(zip([part.digest for part in image.manifest.layers], image.config.diff_ids, strict=True))
        parts = {part.digest: part for part in (*reversed(image.manifest.layers), image.manifest.config)}
        for diff_id in shown.values():
            self._say(diff_id, "Preparing")
        with ThreadPoolExecutor(AT_ONCE, "push") as threads:
            todo = [part for part in parts.values() if part.digest not in self._done]
            futures = [threads.submit(self._blob, part, shown.get(part.digest, "")) for part in todo]
            self._all(futures, threads)
        data = self._store.layout.read_json(image.target)
        self._registry.put_manifest(name.tag, data, image.target.media_type)
        for part in parts:
            sources.note(self._store.layout.sources, part, name.name)
        self._remember(name, image)
        line = f"{name.tag}: digest: {image.target.digest} size: {image.target.size}"
        self._report.send({"status": line})
        aux = {"Tag": name.tag, "Digest": image.target.digest, "Size": image.target.size}
        self._report.send({"progressDetail": {}, "aux": aux})
        return Pushed(name, image.target.digest, image.target.size)

    def _all(self, futures: list[Future[None]], threads: ThreadPoolExecutor) -> None:
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        except BaseException:
            self._registry.cancelled.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise

    def _remember(self, name: Reference, image: Image) -> None:
        """The image has the registry's digest as a name from now on (docker's RepoDigests)."""
        self._store.name(image, replace(name, tag="", digest=image.target.digest))

    def _blob(self, part: Descriptor, diff_id: str) -> None:
        if self._registry.has_blob(part.digest, part.size):
            self._say(diff_id, "Layer already exists")
        else:
            upload = Upload(
                self._registry,
                part,
                self._store.layout.path(part.digest),
                self._teller(diff_id, part.size),
                self._chunk,
            )
            known = sources.others(self._store.layout.sources, part.digest, self._named.domain, self._named.path)[:1]
            mounted = upload.run(known)
            self._say(diff_id, f"Mounted from {mounted}" if mounted else "Pushed")
        self._done.add(part.digest)

    def _teller(self, diff_id: str, size: int) -> _Teller:
        return _Teller(self._report, diff_id, size)

    def _say(self, diff_id: str, status: str) -> None:
        if diff_id:  # docker does not speak of the configuration
            self._report.send({"status": status, "progressDetail": {}, "id": short(diff_id)})


class _Teller:
    """Tells how far a layer is, not too often."""

    def __init__(self, report: Reporter, diff_id: str, size: int) -> None:
        self._report, self._diff_id, self._size, self._told = report, diff_id, size, 0.0

    def __call__(self, sent: int) -> None:
        if self._diff_id and (now := time.monotonic()) - self._told > _TELL_SECONDS:
            self._told = now
            self._report.moving("Pushing", self._diff_id, sent, self._size)
