"""Blobs from a registry into the store: three at a time, each checked on the way, continued where it broke off.

Two processes that want one blob fetch it once. Not here: which blobs an image has (``pull``), files (``growing``).
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
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

    def start(self, item: Descriptor, told: bool = True) -> None:
        """Have a blob come; each once. *told*: with messages, as docker has them for layers."""
        if item.digest not in self._coming:
            blob = _Blob(self._registry, self._layout, item, self._report if told else Reporter(None))
            self._coming[item.digest] = self._threads.submit(blob.get)

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
        """Wait for all of them, or for the first that fails."""
        finished, _ = wait(self._coming.values(), return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()

    def cancel(self) -> None:
        """End them."""
        self._registry.cancelled.set()
        for future in self._coming.values():
            future.cancel()


class _Blob:
    """One blob on its way, in a thread of :class:`Downloads`."""

    def __init__(self, registry: Registry, layout: Layout, item: Descriptor, report: Reporter) -> None:
        self._registry, self._layout, self._item, self._report = registry, layout, item, report

    def get(self) -> None:
        """Have it in the store."""
        item = self._item
        if self._layout.has(item.digest, item.size):
            return
        path = self._layout.partial(item.digest)
        with turn(path, self._registry.cancelled):
            if not self._layout.has(item.digest, item.size):
                with Growing(path, item) as growing:
                    self._fill(growing)
                    growing.finish(self._layout.path(item.digest))
        self._tell("Download complete")

    def _fill(self, growing: Growing) -> None:
        retries = Retries(self._registry.access.timing, self._registry.cancelled)
        while True:
            before = growing.size
            try:
                self._continue(growing)
                return self._verify(growing)
            except Failed as failure:
                last = failure
            if growing.size >= before + _GAIN:
                retries.progressed()
            retries.failed(last)

    def _continue(self, growing: Growing) -> None:
        """Get what is missing; raises Failed where something is missing still."""
        if growing.whole:
            return
        exchanges, item = self._registry.exchanges, self._item
        headers = {"Range": f"bytes={growing.size}-"} if growing.size else {}
        place = exchanges.place(f"/v2/{self._registry.path}/blobs/{item.digest}")
        with exchanges.once("GET", place, self._registry.scope, headers, expect=(200, 206, 404, 416)) as answer:
            self._begin(growing, answer)
            told = time.monotonic()
            for piece in answer.pieces():
                growing.write(piece)
                if (now := time.monotonic()) - told > _TELL_SECONDS:
                    told = now
                    self._report.moving("Downloading", item.digest, growing.size, item.size)
        if not growing.whole:
            raise self._again(f"its answer ended after {growing.size} of {item.size} bytes", None)

    def _begin(self, growing: Growing, answer: Answer) -> None:
        """See whether the answer continues what is there, or begins anew."""
        length = answers.length(answer.header("Content-Length"))
        if answer.status == 404:
            mend = "Its layers are to be got elsewhere, from URLs that are not asked." if self._is_foreign else ""
            raise RegistryError("the registry does not have it, though its manifest does", self._where, mend)
        if answer.status == 200:
            growing.restart()  # the whole comes, whatever was asked for
            if length not in (None, self._item.size):
                growing.discard()
                raise DigestMismatch(f"{length} bytes are to come instead of {self._item.size}", self._where)
            return
        part = answers.content_range(answer.header("Content-Range"))
        if answer.status == 206 and part and part[0] == growing.size and part[2] in (None, self._item.size):
            growing.continued = growing.size > 0
            return
        growing.restart()
        raise self._again("it does not go on where it broke off", 0)

    def _verify(self, growing: Growing) -> None:
        self._tell("Verifying Checksum")
        if growing.continued and not growing.right():
            # What was there before, or what came of several answers, was not one blob: once more from the beginning.
            growing.restart()
            raise self._again("its pieces do not fit together", 0)

    @property
    def _is_foreign(self) -> bool:
        """Whether it is a layer that registries were not to have (CVE-2020-15157 is about asking its URLs)."""
        return any(word in self._item.media_type for word in (".foreign.", ".nondistributable."))

    @property
    def _where(self) -> str:
        return f"blob {self._item.digest} of {self._registry.exchanges.where}"

    def _again(self, what: str, wait: float | None) -> Failed:
        return Failed(RegistryError(what, self._where), True, wait)

    def _tell(self, status: str) -> None:
        self._report.send({"status": status, "progressDetail": {}, "id": short(self._item.digest)})


def _cancelled(digest: str) -> RegistryUnreachable:
    return RegistryUnreachable("cancelled, as another part failed", f"blob {digest}")
