"""Blobs from a registry into the store: three at a time, each checked on the way, continued where it broke off.

Two processes that want one blob fetch it once. Not here: which blobs an image has (``pull``), files (``growing``).
"""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from jupyter_containers.errors import DigestMismatch, RegistryError, RegistryUnreachable
from jupyter_containers.image.layout import Layout
from jupyter_containers.image.media import Descriptor
from jupyter_containers.image.progress import Reporter, short
from jupyter_containers.image.registry import answers
from jupyter_containers.image.registry.client import Registry
from jupyter_containers.image.registry.growing import Growing, turn
from jupyter_containers.image.registry.retries import Retries
from jupyter_containers.image.registry.transport import Answer, Failed

AT_ONCE = 3
_TELL_SECONDS = 0.1
_GAIN = 1 << 20  # bytes that make a try one that was not in vain
_LOOK = 0.2


class Downloads:
    """Blobs on their way from *registry*. A context manager that ends them when its block fails.

    It is what ``layers.Arrivals`` waits for.
    """

    def __init__(self, registry: Registry, layout: Layout, report: Reporter) -> None:
        self._registry, self._layout, self._report = registry, layout, report
        self._threads = ThreadPoolExecutor(AT_ONCE, "pull")
        self._coming: dict[str, Future[None]] = {}

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            self.cancel()
        self._threads.shutdown(wait=True, cancel_futures=kind is not None)

    def start(self, item: Descriptor) -> None:
        """Have a blob come; each once."""
        if item.digest not in self._coming:
            self._coming[item.digest] = self._threads.submit(self._get, item)

    def wait(self, digest: str) -> None:
        """Return when the blob is in the store; raises where it will not come."""
        while True:
            try:
                return self._coming[digest].result(_LOOK)
            except NotYet:
                if self._registry.cancelled.is_set():
                    raise _cancelled(digest) from None
            except CancelledError:
                raise _cancelled(digest) from None

    def finish(self) -> None:
        """Wait for all of them."""
        for digest in self._coming:
            self.wait(digest)

    def cancel(self) -> None:
        """End them."""
        self._registry.cancelled.set()
        for future in self._coming.values():
            future.cancel()

    # --- one blob, in a thread ---

    def _get(self, item: Descriptor) -> None:
        if self._layout.has(item.digest, item.size):
            return
        path = self._layout.partial(item.digest)
        with turn(path, self._registry.cancelled):
            if not self._layout.has(item.digest, item.size):
                with Growing(path, item) as growing:
                    self._fill(growing, item)
                    growing.finish(self._layout.path(item.digest))
        self._tell(item, "Download complete")

    def _fill(self, growing: Growing, item: Descriptor) -> None:
        retries = Retries(self._registry.access.timing, self._registry.cancelled)
        while True:
            before = growing.size
            try:
                self._continue(growing, item)
                return self._verify(growing, item)
            except Failed as failure:
                last = failure
            if growing.size >= before + _GAIN:
                retries.progressed()
            retries.failed(last)

    def _verify(self, growing: Growing, item: Descriptor) -> None:
        self._tell(item, "Verifying Checksum")
        if growing.continued and not growing.right():
            # What was there before, or what came of several answers, was not one blob: once more from the beginning.
            growing.restart()
            what = f"the pieces of blob {item.digest} do not fit together"
            raise Failed(RegistryError(what, self._registry.exchanges.where), True, 0)

    def _continue(self, growing: Growing, item: Descriptor) -> None:
        """Get what is missing; raises Failed where something is missing still."""
        if growing.whole:
            return
        exchanges = self._registry.exchanges
        headers = {"Range": f"bytes={growing.size}-"} if growing.size else {}
        place = exchanges.place(f"/v2/{self._registry.path}/blobs/{item.digest}")
        with exchanges.once("GET", place, self._registry.scope, headers, expect=(200, 206, 416)) as answer:
            self._begin(growing, item, answer)
            told = 0.0
            for piece in answer.pieces():
                growing.write(piece)
                if (now := time.monotonic()) - told > _TELL_SECONDS:
                    told = now
                    self._report.moving("Downloading", item.digest, growing.size, item.size)
        if not growing.whole:
            what = f"its answer ended after {growing.size} of {item.size} bytes"
            raise Failed(RegistryError(what, f"blob {item.digest}"), True)

    def _begin(self, growing: Growing, item: Descriptor, answer: Answer) -> None:
        """See whether the answer continues what is there, or begins anew."""
        length = answers.length(answer.header("Content-Length"))
        if answer.status == 200:
            growing.restart()  # the whole comes, whatever was asked for
        else:
            part = answers.content_range(answer.header("Content-Range"))
            fits = part is not None and part[0] == growing.size and part[2] in (None, item.size)
            if answer.status != 206 or not fits:
                growing.restart()
                what = f"it does not continue blob {item.digest} where it broke off"
                raise Failed(RegistryError(what, self._registry.exchanges.where, code=answer.status), True, 0)
        if length is not None and growing.size + length > item.size:
            self._too_long(growing, item, growing.size + length)
        growing.continued = growing.size > 0

    def _too_long(self, growing: Growing, item: Descriptor, size: int) -> None:
        growing.discard()
        raise DigestMismatch(f"{size} bytes are to come instead of {item.size}", f"blob {item.digest}")

    def _tell(self, item: Descriptor, status: str) -> None:
        self._report.send({"status": status, "progressDetail": {}, "id": short(item.digest)})


def _cancelled(digest: str) -> RegistryUnreachable:
    return RegistryUnreachable("cancelled, as another part failed", f"blob {digest}")
