"""Unpacked layers: ``layers/<owners>/<chain id>/``, made when first needed, each once.

All missing layers of an image are unpacked at once, in programs of their own (``program``), each under the lock of
its chain; two processes that need one layer do the work once. A layer counts when its stamp ``<chain id>.json`` is
there, which is written last. Files are not synced one by one, which would cost more than unpacking; instead a stamp
says in which boot it was made, and until the kernel has surely written everything back, a layer from an earlier
boot is unpacked again. Not here: what an image's layers are (``store``).
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_containers.errors import ContainersError
from jupyter_containers.image import digest as digests
from jupyter_containers.image.locks import locked, try_locked
from jupyter_containers.image.program import Program, Unshare
from jupyter_containers.image.progress import OnEvent, Reporter

if TYPE_CHECKING:
    from concurrent.futures import Future

OWNERS = ("root", "rootless", "rootless-single")  # the rungs: which ids files can be given
# Dirty pages are written back after vm.dirty_expire_centisecs (30 s), at most 10 minutes later in laptop mode.
_WRITTEN_BACK = 900.0


Programs = queue.SimpleQueue[Program]


class Arrivals(Protocol):
    """Blobs that are still on their way while their layers are to be unpacked."""

    def wait(self, digest: str) -> None:
        """Return when the blob is in the store; raises where it will not come."""
        ...

    def cancel(self) -> None:
        """Nobody waits any more: what waits in other threads is to raise."""
        ...


@dataclass(frozen=True)
class Layer:
    """A layer in its place: the blob, what it inflates to, and what lies beneath it."""

    chain_id: str
    diff_id: str
    blob: Path
    digest: str
    size: int


class Layers:
    """The unpacked layers of one kind of owners.

    Args:
        root: ``layers/<owners>``.
        owners: ``root``, ``rootless`` or ``rootless-single``.
        unshare: see :class:`~jupyter_containers.image.program.Program`.
        limits: other bounds than ``apply.LIMITS``.
    """

    def __init__(
        self, root: Path, owners: str, unshare: Unshare | None = None, limits: Mapping[str, int] | None = None
    ) -> None:
        self.root, self.owners, self.unshare, self.limits = root, owners, unshare, dict(limits or {})
        self._known: set[str] = set()
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, chain_id: str) -> Path:
        """Where a layer is, or would be."""
        return self.root / digests.encoded(chain_id)

    def stamp(self, chain_id: str) -> dict[str, Any] | None:
        """What unpacking a layer gave (``bytes entries skipped``); None where it is not unpacked."""
        try:
            value = json.loads(self._stamp(chain_id).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def unpacked(
        self, layers: Sequence[Layer], on_event: OnEvent | None = None, arrivals: Arrivals | None = None
    ) -> list[Path]:
        """The directories of *layers* (bottom first), top first; what is missing is unpacked.

        Args:
            arrivals: blobs that are not there yet; each layer is unpacked as soon as its blob is.

        Raises:
            LayerError, DigestMismatch, StorageFull: a layer cannot be unpacked; nothing is left of it.
        """
        missing = [layer for layer in layers if not self._complete(layer.chain_id)]
        if missing:
            try:
                self._unpack_all(layers, missing, Reporter(on_event), arrivals)
            except BaseException:
                with suppress(ContainersError):  # what the others had begun when one failed
                    self.sweep()
                raise
        return [self.path(layer.chain_id) for layer in reversed(layers)]

    def unpack(self, layer: Layer, below: Sequence[Layer], program: Program) -> None:
        """Unpack one layer upon those *below* (bottom first), which are, by a *program* that the caller runs."""
        programs: Programs = queue.SimpleQueue()
        programs.put(program)
        self._unpack(layer, below, [], programs, Reporter(None), None)

    def adopt(self, tree: Path, chain_id: str, result: Mapping[str, Any], program: Program) -> None:
        """Take *tree*, the writable layer of a container, as an unpacked layer, instead of unpacking its blob.

        Args:
            result: what unpacking would have given, see :meth:`stamp`.

        Raises:
            ContainersError: it can't be moved; it is where it was.
        """
        with locked(self._lock(chain_id)):
            try:
                if not self._complete(chain_id):
                    self._clear(chain_id, program)
                    program.call({"verb": "move", "source": str(tree), "target": str(self.path(chain_id))})
                    self._write_stamp(chain_id, {**result, "boot": self._boot})
                    self._known.add(chain_id)
            finally:
                self._lock(chain_id).unlink(missing_ok=True)

    def remove(self, chain_ids: Sequence[str]) -> None:
        """Remove unpacked layers; who uses them must have been asked before."""
        gone = []
        for chain_id in chain_ids:
            with locked(self._lock(chain_id)):
                self._known.discard(chain_id)
                gone += self._put_aside(chain_id)
                self._lock(chain_id).unlink(missing_ok=True)
        self._remove_trees(gone)

    def chain_ids(self) -> list[str]:
        """The layers that are unpacked."""
        found = (f"sha256:{path.stem}" for path in self.root.glob("*.json"))
        return sorted(digest for digest in found if digests.is_digest(digest))

    def unfinished(self) -> list[Path]:
        """Directories being made or removed, now or when a process died."""
        return [*self.root.glob(".new-*"), *self.root.glob(".old-*")]

    def sweep(self) -> None:
        """Remove what a process that died left."""
        stale: list[Path] = []
        for path in self.unfinished():
            chain_id = "sha256:" + path.name.split("-")[1]
            with try_locked(self._lock(chain_id)) as alone:
                if alone is not None:
                    stale.append(path)
                    self._remove_trees([path])
                    self._lock(chain_id).unlink(missing_ok=True)

    # --- one layer ---

    def _complete(self, chain_id: str) -> bool:
        """Whether a layer is unpacked, and on the disk or in this boot's memory."""
        if chain_id in self._known:
            return self.path(chain_id).is_dir()
        stamp = self.stamp(chain_id)
        if stamp is None or not self.path(chain_id).is_dir():
            return False
        if not stamp.get("durable"):
            if stamp.get("boot") != self._boot:
                return False
            if time.time() - self._stamp(chain_id).stat().st_mtime > _WRITTEN_BACK:
                self._write_stamp(chain_id, stamp | {"durable": True})
        self._known.add(chain_id)
        return True

    def is_unpacked(self, chain_id: str) -> bool:
        """Whether a layer needs no unpacking."""
        return self._complete(chain_id)

    def _unpack_all(
        self, layers: Sequence[Layer], missing: list[Layer], report: Reporter, arrivals: Arrivals | None
    ) -> None:
        # 4 ms (logging), where layers are unpacked
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        count = min(len(missing), len(os.sched_getaffinity(0)))
        done: dict[str, Future[None]] = {}
        with ExitStack() as stack:
            programs = [stack.enter_context(Program(self.unshare)) for _ in range(count)]
            free: queue.SimpleQueue[Program] = queue.SimpleQueue()
            for program in programs:
                free.put(program)
            # A thread for each: those wait for blobs and for layers beneath, the programs are what is scarce.
            threads = stack.enter_context(ThreadPoolExecutor(len(missing), "unpack"))
            for layer in missing:
                below = layers[: layers.index(layer)]
                before = [done[lower.chain_id] for lower in below if lower.chain_id in done]
                done[layer.chain_id] = threads.submit(self._unpack, layer, below, before, free, report, arrivals)
            try:
                finished, _ = wait(done.values(), return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                if arrivals:
                    arrivals.cancel()
                for program in programs:
                    program.abandon()
                raise

    def _unpack(
        self,
        layer: Layer,
        below: Sequence[Layer],
        before: list[Future[None]],
        free: Programs,
        report: Reporter,
        arrivals: Arrivals | None,
    ) -> None:
        if arrivals:
            arrivals.wait(layer.digest)
        with locked(self._lock(layer.chain_id)):
            if self._complete(layer.chain_id):
                return
            try:
                self._unpack_locked(layer, below, before, free, report)
            finally:
                self._lock(layer.chain_id).unlink(missing_ok=True)

    def _unpack_locked(
        self, layer: Layer, below: Sequence[Layer], before: list[Future[None]], free: Programs, report: Reporter
    ) -> None:
        target = self.root / f".new-{digests.encoded(layer.chain_id)}-{secrets.token_hex(4)}"
        with _taken(free) as program:
            result = self._extract(layer, target, program, report)
        try:
            for lower in before:  # without a program: those beneath may need it
                lower.result()
            with _taken(free) as program:
                self._settle(target, result, below, program)
            target.rename(self.path(layer.chain_id))
        except BaseException:
            with suppress(ContainersError), _taken(free) as program:  # the next sweep removes it otherwise
                program.call({"verb": "remove", "paths": [str(target)]})
            raise
        self._write_stamp(layer.chain_id, {**result, "boot": self._boot})
        self._known.add(layer.chain_id)
        report.extracted(layer.diff_id)

    def _extract(self, layer: Layer, target: Path, program: Program, report: Reporter) -> dict[str, Any]:
        self._clear(layer.chain_id, program)
        order = {
            "verb": "unpack", "blob": str(layer.blob), "target": str(target), "owners": self.owners,
            "digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size, "limits": self.limits,
        }  # fmt: skip
        try:
            return program.call(order, lambda count: report.extracting(layer.diff_id, count))
        except ContainersError as error:
            error.where = f"layer {layer.digest}" + (f", {error.where}" if error.where else "")
            raise

    def _clear(self, chain_id: str, program: Program) -> None:
        """Remove what is in the layer's place, or was to come there when a process died; under its lock."""
        stale = [*self._put_aside(chain_id), *self.root.glob(f".new-{digests.encoded(chain_id)}-*")]
        if stale:
            program.call({"verb": "remove", "paths": [str(path) for path in stale]})

    def _settle(self, target: Path, result: dict[str, Any], below: Sequence[Layer], program: Program) -> None:
        implied, whiteouts = result.pop("implied") if below else [], result.pop("whiteouts")
        if implied or whiteouts:
            lower = [str(self.path(layer.chain_id)) for layer in reversed(below)]
            order = {"target": str(target), "owners": self.owners, "implied": implied, "whiteouts": whiteouts}
            program.call({"verb": "settle", "lower": lower, **order})

    # --- files ---

    def _lock(self, chain_id: str) -> Path:
        return self.root / f"{digests.encoded(chain_id)}.lock"

    def _stamp(self, chain_id: str) -> Path:
        return self.root / f"{digests.encoded(chain_id)}.json"

    def _write_stamp(self, chain_id: str, stamp: dict[str, Any]) -> None:
        temporary = self.root / f".stamp-{secrets.token_hex(8)}"
        temporary.write_text(json.dumps(stamp))
        temporary.replace(self._stamp(chain_id))

    def _put_aside(self, chain_id: str) -> list[Path]:
        """Take a layer out of its place, under its lock; where it is now."""
        self._stamp(chain_id).unlink(missing_ok=True)
        aside = self.root / f".old-{digests.encoded(chain_id)}-{secrets.token_hex(4)}"
        try:
            self.path(chain_id).rename(aside)
        except FileNotFoundError:
            return []
        return [aside]

    def _remove_trees(self, paths: Sequence[Path]) -> None:
        if paths:
            with Program(self.unshare) as program:
                program.call({"verb": "remove", "paths": [str(path) for path in paths]})


@contextmanager
def _taken(free: Programs) -> Iterator[Program]:
    """A program that nobody else uses meanwhile."""
    program = free.get()
    try:
        yield program
    finally:
        free.put(program)
