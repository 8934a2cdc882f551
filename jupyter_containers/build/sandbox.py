"""Containers of a build: those that ``RUN`` runs in, and roots that files are copied from.

They are containers like all others, of the same bundle and the same runtime, so a step has the very sandbox of ``run``
(ISOLATION 95). But they have no record: nobody lists, stops or removes them. A file in each says which process builds
with it; those of a dead one are swept away (``engine.containers``). Not here: what becomes of the files that
a step wrote (``layering``).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_containers.build.events import Cancelled
from jupyter_containers.config import Settings
from jupyter_containers.errors import ContainersError
from jupyter_containers.options import RunOptions
from jupyter_containers.run.bundle import Bundles, Draft, Extra, Source
from jupyter_containers.run.foreground import Foreground, OnOutput, Pipes
from jupyter_containers.run.records import BUILDER, Records
from jupyter_containers.run.runtime import Connection, Exit, Runtime, mapped

HOSTNAME = "build"  # one for all steps: a random one would find its way into files

Using = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Order:
    """What a step runs.

    Attributes:
        about: the image's name or the stage, for messages.
        args: the whole command line.
        config: the ``config`` object of the stage.
        env: variables that are not the image's: build arguments.
        options: the run's options: network, memory, mounts.
        extra: files and mounts of this step alone.
    """

    about: str
    args: Sequence[str]
    config: Mapping[str, Any]
    layers: Sequence[Path]
    env: Mapping[str, str] = field(default_factory=dict)
    options: RunOptions = field(default_factory=lambda: RunOptions(""))
    extra: Extra = field(default_factory=Extra)


@dataclass(frozen=True)
class Ended:
    """A step that has run: its exit, and the folder with what it wrote, in overlayfs form."""

    exit: Exit
    upper: Path


class Running:
    """The containers that run now, to be ended all at once. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self.cancelled = threading.Event()

    @contextmanager
    def one(self, connection: Connection) -> Iterator[None]:
        """While the block runs, :meth:`cancel` ends this one too.

        Raises:
            Cancelled: there is no need to begin.
        """
        with self._lock:
            self._connections.add(connection)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def check(self) -> None:
        """Raise :class:`Cancelled` once :meth:`cancel` was called."""
        if self.cancelled.is_set():
            raise Cancelled("canceled")

    def cancel(self) -> None:
        """End all, now and from now on."""
        with self._lock:
            self.cancelled.set()
            for connection in self._connections:
                with suppress(ContainersError, OSError):  # it has just ended
                    mapped(connection.tell)({"op": "stop", "signal": 9, "reason": "interrupted"})


class Sandbox:
    """Makes the containers of one build. Use as a context manager, which waits until all are removed.

    They are removed in a thread of their own: the next step need not wait for it.

    Args:
        using: holds what containers are made from, see ``Images.using``.
    """

    def __init__(self, settings: Settings, records: Records, runtime: Runtime, using: Using) -> None:
        self._bundles = Bundles(settings, records, runtime)
        self.runtime, self._using = runtime, using
        self.running = Running()
        self._removing = ThreadPoolExecutor(1, "remove")

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self._removing.shutdown()

    @contextmanager
    def ran(self, order: Order, on_output: OnOutput) -> Iterator[Ended]:
        """Run a step to its end; the block may take its files away, which are gone afterwards.

        Raises:
            CannotStart, InvalidArgument, StorageFull: it did not run.
            Cancelled: it was stopped because of others.
        """
        self.running.check()
        with self._draft(order) as draft, closing(Pipes()) as pipes:
            network = draft.record.options.get("network", "default")
            request = {"owned": True, "once": True, "network": network, "config": draft.config}
            connection, started = self.runtime.start(draft.record.bundle, pipes.stdio(), **request)
            with connection, self.running.one(connection):
                pipes.started()
                shown = Foreground(connection, pipes, on_output)
                if started.get("notice"):
                    shown.notice(started["notice"])
                ended = shown.run()
            self.running.check()
            yield Ended(ended, draft.record.bundle / "upper")

    @contextmanager
    def root(self, layers: Sequence[Path]) -> Iterator[int]:
        """A descriptor of the merged root that *layers* (top first) make, to be read in the containers' namespace."""
        with self._draft(Order("", ["-"], {}, layers)) as draft:
            bundle = draft.record.bundle
            lower = [{**draft.config["mounts"][0], "options": _overlay(layers, bundle)}]
            (bundle / "config.json").write_text(json.dumps({**draft.config, "mounts": lower}))
            if layers:
                fd = self.runtime.open_root(bundle)
            else:
                fd = os.open(bundle / "upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def _draft(self, order: Order) -> Iterator[Draft]:
        options = replace(order.options, image=order.about, hostname=HOSTNAME, env=order.env)
        with self._using():
            draft = self._bundles.draft(
                options, Source(order.about, "", order.config, order.layers), order.args, order.extra
            )
            builder = {"pid": os.getpid(), "started": self.runtime.own_start()}
            (draft.record.bundle / BUILDER).write_text(json.dumps(builder))
        try:
            yield draft
        finally:
            self._removing.submit(self._bundles.discard, draft.record)


def _overlay(layers: Sequence[Path], bundle: Path) -> list[str]:
    """As a container's root, without the places for mounts that every container has: those are not in the image."""
    return [*(f"lowerdir+={layer}" for layer in layers), f"upperdir={bundle / 'upper'}", f"workdir={bundle / 'work'}"]
