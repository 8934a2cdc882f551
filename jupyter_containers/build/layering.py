"""Layers of a build: from the tar that a worker writes to a blob, and to the unpacked layer that the next step sees.

Workers are programs that work on files with the containers' ids; they serve one order at a time and are kept until the
build ends. Not here: what is in a layer (``worker``), and whether it has to be made at all (``stage``).
"""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jupyter_containers.build.state import Layer, State
from jupyter_containers.image.layers import Layer as Unpacked
from jupyter_containers.image.layout import Area
from jupyter_containers.image.newlayer import NewLayer
from jupyter_containers.image.program import Program
from jupyter_containers.image.store import ImageStore

Order = dict[str, Any]

_WORKER = "jupyter_containers.build.worker"


class Layering:
    """Makes layers in a store. Use as a context manager; safe to use from several threads.

    Args:
        store: where they go.
        area: holds their blobs until an image or the cache does, see ``Layout.adding``.
    """

    def __init__(self, store: ImageStore, area: Area) -> None:
        self._store, self._area = store, area
        self._programs = ExitStack()
        self._free: queue.SimpleQueue[Program] = queue.SimpleQueue()

    def __enter__(self) -> Layering:
        return self

    def __exit__(self, *exc: object) -> None:
        self._programs.close()

    @property
    def owners(self) -> str:
        """Which ids files can be given: the rung."""
        return self._store.unpacked.owners

    def paths(self, state: State) -> list[Path]:
        """The unpacked layers of a state, top first; unpacked now where they are not yet."""
        return self._store.unpacked.unpacked(self._chain(state))

    def has(self, layer: Layer) -> bool:
        """Whether the blob of a layer is in the store."""
        return self._store.layout.has(layer.blob.digest, layer.blob.size)

    def unpacking(self, layer: Layer) -> Order:
        """What a worker needs to unpack a layer somewhere else."""
        path = self._store.layout.path(layer.blob.digest)
        return {"blob": str(path), "digest": layer.blob.digest, "size": layer.blob.size, "diff_id": layer.diff_id}

    def ask(self, order: Order) -> dict[str, Any]:
        """What a worker answers to an order that makes no layer."""
        with self._worker() as program:
            return program.call({**order, "owners": self.owners})

    def stubs(self, state: State, paths: list[str]) -> list[str]:
        """What has to be made upon *state* so that there is something at each of *paths*."""
        return list(self.ask({"verb": "stubs", "lower": self.lower(state), "paths": paths})["stubs"])

    def of_tar(
        self, state: State, order: Order, fds: Mapping[str, int], lower: list[str] | None = None
    ) -> tuple[Layer | None, int]:
        """The layer upon *state* whose tar a worker writes, unpacked, and the bytes of its files; None if it is empty.

        Args:
            lower: the layers that the worker looks at, where they are not the state's.
        """
        with self._worker() as program:
            lower = self.lower(state) if lower is None else lower
            layer, result = self._written(program, {**order, "lower": lower}, fds)
            if layer:
                *below, top = self._chain(state.then("", layer))
                self._store.unpacked.unpack(top, below, program)
        return layer, int(result["bytes"])

    def of_upper(self, state: State, upper: Path, stubs: list[str]) -> tuple[Layer | None, int]:
        """The layer upon *state* that a container's writable layer is, which moves into its place.

        Args:
            stubs: places that were made for mounts, and are no part of it while they are empty.
        """
        user = str(state.config.get("User") or "")
        order = {"verb": "layer", "upper": str(upper), "epoch": state.epoch, "stubs": stubs, "user": user}
        with self._worker() as program:
            layer, result = self._written(program, {**order, "lower": self.lower(state)}, {})
            if layer:
                stamp = {
                    "digest": layer.blob.digest, "diff_id": layer.diff_id, "size": layer.blob.size,
                    "bytes": result["bytes"], "entries": result["entries"], "skipped": [],
                }  # fmt: skip
                self._store.unpacked.adopt(upper, state.then("", layer).chain_id, stamp, program)
        return layer, int(result["bytes"])

    def _written(self, program: Program, order: Order, fds: Mapping[str, int]) -> tuple[Layer | None, dict[str, Any]]:
        new = NewLayer(self._area.new())
        try:
            result = _drained(program.stream({**order, "owners": self.owners}, fds), new)
            layer = Layer(*new.finish()) if result["entries"] else None
        finally:
            new.close()
        return layer, result

    def lower(self, state: State) -> list[str]:
        """As :meth:`paths`, as an order has them."""
        return [str(path) for path in self.paths(state)]

    def _chain(self, state: State) -> Sequence[Unpacked]:
        return self._store.chain_of(state.diff_ids, [layer.blob for layer in state.layers])

    @contextmanager
    def _worker(self) -> Iterator[Program]:
        """A worker that nobody else uses meanwhile; one that failed may have been ended and is not used again."""
        try:
            program = self._free.get_nowait()
        except queue.Empty:
            program = self._programs.enter_context(Program(self._store.unpacked.unshare, module=_WORKER))
        yield program
        self._free.put(program)


def _drained(data: Generator[bytes, None, dict[str, Any]], new: NewLayer) -> dict[str, Any]:
    """Write all that comes; what is returned at the end."""
    while True:
        try:
            new.write(next(data))
        except StopIteration as end:
            return dict(end.value)
