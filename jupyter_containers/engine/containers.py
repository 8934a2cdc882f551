"""All containers with docker-py's names: ``engine.containers.run(…)``, ``.get``, ``.list`` …"""

from __future__ import annotations

import builtins
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_containers.config import Settings
from jupyter_containers.engine.container import Container, signal_number
from jupyter_containers.engine.images import Images
from jupyter_containers.errors import ContainerExit, ContainersError, InvalidArgument
from jupyter_containers.options import RunOptions, options_from_keywords
from jupyter_containers.result import ContainerResult
from jupyter_containers.run import inspect
from jupyter_containers.run.asking import Ask, Asking
from jupyter_containers.run.bundle import Bundles, Draft, Extra, Source, alike, command_line, with_volume_names
from jupyter_containers.run.foreground import Caller, Foreground, OnOutput, Pipes, follow
from jupyter_containers.run.records import BUILDER, Record, Records
from jupyter_containers.run.runtime import Connection, Exit, Knock, Runtime, mapped

_LEAST_CPUS = 0.01
_RUNNING = ("creating", "running", "paused")


class Containers:
    """All containers of a store."""

    def __init__(self, settings: Settings, records: Records, runtime: Runtime, images: Images) -> None:
        self._settings, self.records, self.runtime, self._images = settings, records, runtime, images
        self._bundles = Bundles(settings, records, runtime)
        self._swept = self._told = False

    # -- finding -----------------------------------------------------------------------------------------------

    def get(self, container_id: str) -> Container:
        """The container of a name, an id or the beginning of one.

        Raises:
            NotFound: there is none, with the nearest name.
        """
        return Container(self, self.records.find(container_id))

    def list(self, all: bool = False, filters: Mapping[str, Any] | None = None) -> builtins.list[Container]:
        """Running containers, newest first; with *all* the others as well."""
        self.sweep()
        found = [Container(self, record) for record in self.records.all()]
        found = [container for container in found if all or container.status in ("running", "paused")]
        return [container for container in found if inspect.matches(container.attrs, filters or {})]

    def prune(self, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Remove all stopped containers."""
        removed: builtins.list[str] = []
        for container in self.list(all=True, filters=filters):
            if container.status in ("created", "exited"):
                self.forget(container.record)
                removed.append(container.id)
        return {"ContainersDeleted": removed, "SpaceReclaimed": 0}

    def forget(self, record: Record) -> None:
        """Remove a container that does not run."""
        self._bundles.discard(record)

    def sweep(self) -> None:
        """Once per engine: remove ``--rm`` containers whose maker was killed before it started them."""
        if self._swept:
            return
        self._swept = True
        for record in self.records.all():
            never_started = record.options.get("rm") and self.runtime.state(record.bundle)["status"] == "created"
            if never_started and not self.runtime.is_alive(*record.creator):
                self._bundles.discard(record)
        self._sweep_drafts()

    def _sweep_drafts(self) -> None:
        """Remove what was begun by processes that were killed before it had a record, or a monitor."""
        if not self.records.unknown():
            return
        with self._images.nobody_begins() as nobody:
            for container_id in self.records.unknown() if nobody else ():
                bundle = self.records.folder / container_id
                if self._is_abandoned(bundle):
                    self.runtime.delete(bundle)

    def _is_abandoned(self, bundle: Path) -> bool:
        """Whether a container without a record, which nobody is just making, is nobody's; a build's has a process."""
        status = self.runtime.state(bundle)["status"]
        try:
            builder = json.loads((bundle / BUILDER).read_bytes())
            return status in ("created", "stopped") and not self.runtime.is_alive(builder["pid"], builder["started"])
        except (OSError, ValueError, KeyError):
            return bool(status == "created")

    # -- making ------------------------------------------------------------------------------------------------

    def create(self, image: RunOptions | str, command: str | Sequence[str] | None = None, **keywords: Any) -> Container:
        """A new container, not started; keywords are docker-py's."""
        return Container(self, self._make(_options(image, command, keywords), None))

    def create_cell(self, options: RunOptions, extra: Extra, args: Sequence[str]) -> Container:
        """A container with a cell's files and command line, not started."""
        return Container(self, self._make(options, extra, args))

    def run(
        self, image: RunOptions | str, command: str | Sequence[str] | None = None, **keywords: Any
    ) -> bytes | Container:
        """As docker-py: wait and return the output, or with ``detach=True`` return the running container.

        Raises:
            ContainerExit: a non-zero exit code in the foreground.
        """
        options = _options(image, command, keywords)
        self._images.registries.ensure(options)
        if options.detach:
            return self.run_detached(options)
        result = self.run_foreground(options)
        if not result.ok:
            raise exit_error(result)
        return (result.stdout + (result.stderr if keywords.get("stderr") else "")).encode()

    def run_detached(self, options: RunOptions) -> Container:
        """Start a new container in the background."""
        container = Container(self, self._make(options, None))
        try:
            container.start()
        except ContainersError:
            if options.rm:
                self.forget(container.record)
            raise
        return container

    def run_foreground(
        self,
        options: RunOptions,
        on_output: OnOutput | None = None,
        extra: Extra | None = None,
        args: Sequence[str] | None = None,
        ask: Ask | None = None,
    ) -> ContainerResult:
        """Run a container, pass its output on while it runs, wait for its end; whatever its exit code is.

        Args:
            extra: files of a cell. args: the whole command line, where it is not the image's and the options'.
            ask: gives a line when an ``interactive`` container waits for input; without it standard input is empty.
        """
        begun = time.perf_counter()
        asking = Asking(ask) if ask and options.interactive else None
        with self._held() as held, closing(Pipes(asking)) as pipes:
            draft, knock = self._begin(options, extra, args)
            record = draft.record
            with self._ending(record, options):
                connection, started = self._start(draft, options, pipes.stdio(), knock)
                with connection:
                    pipes.started()
                    keep = partial(self._keep_started, draft, options, held, connection)
                    shown = Foreground(connection, pipes, on_output, asking, keep)
                    for notice in (*record.warnings, *filter(None, [started.get("notice")])):
                        shown.notice(notice)
                    outcome = shown.run()
        return _result(record, outcome, shown, started, time.perf_counter() - begun)

    def run_with_stdio(self, options: RunOptions, stdio: tuple[int, int, int], caller: Caller | None = None) -> int:
        """Run a container on the caller's own descriptors (``docker run`` in a terminal); its exit code."""
        with self._held() as held:
            draft, knock = self._begin(options, None)
            with self._ending(draft.record, options):
                for warning in draft.record.warnings:
                    os.write(stdio[2], f"WARNING: {warning}\n".encode())
                if caller:
                    caller.ready()
                connection, _ = self._start(draft, options, stdio, knock)
                with connection:
                    self._keep_started(draft, options, held, connection)
                    return follow(caller, connection)

    def _begin(
        self, options: RunOptions, extra: Extra | None, args: Sequence[str] | None = None
    ) -> tuple[Draft, Knock | None]:
        """A draft that will be started at once: what waits for the order is woken while it is written."""
        options, warnings = self._within_reach(with_volume_names(options))
        source = self._images.source(options)
        knock = self.runtime.knock(options.network, alike(options, source, extra))
        try:
            return self._draft(options, source, extra, args, warnings, knock.id if knock else ""), knock
        except BaseException:
            if knock:
                self.runtime.decline(knock)
            raise

    def _start(
        self, draft: Draft, options: RunOptions, stdio: tuple[int, int, int], knock: Knock | None
    ) -> tuple[Connection, dict[str, Any]]:
        """Start a container that ends with this process's connection to it.

        One that is removed at its end is recorded only once it has run for a moment: who would ask for it so soon.
        """
        if not options.rm:
            self._bundles.keep(draft)
        request = {**_request(draft.record, self._settings), "config": draft.config}
        return self.runtime.start(draft.record.bundle, stdio, knock, draft.alike, **request)

    def _keep_started(self, draft: Draft, options: RunOptions, held: ExitStack, connection: Connection) -> None:
        if options.rm:
            try:
                self._bundles.keep(draft)
            except BaseException:
                with suppress(ContainersError):
                    mapped(connection.tell)({"op": "stop", "signal": int(signal_number("KILL"))})
                connection.wait()
                raise
        held.close()

    @contextmanager
    def _held(self) -> Iterator[ExitStack]:
        """The image is not removed meanwhile; close what this gives once a record says who uses it."""
        with ExitStack() as held:
            held.enter_context(self._images.using())
            yield held

    @contextmanager
    def _ending(self, record: Record, options: RunOptions) -> Iterator[None]:
        """Whatever happens inside: a container that never ran is removed, and one that is gone frees its name."""
        try:
            yield
        except BaseException:
            if self.runtime.state(record.bundle)["status"] == "created":
                self._bundles.discard(record)
            raise
        finally:
            if options.rm and record.name and self.runtime.state(record.bundle)["status"] not in _RUNNING:
                self.records.free_name(record.name)

    def start_attached(self, record: Record, stdio: tuple[int, int, int], caller: Caller | None = None) -> int:
        """Start a container with the caller as its first guest, who sees all that it prints; its exit code.

        It does not end with the caller.
        """
        if caller:
            caller.ready()
        connection, _ = self.runtime.start(record.bundle, stdio, **self._background(record))
        with connection:
            return follow(caller, connection)

    def start_detached(self, record: Record) -> None:
        """Start a container in the background."""
        if self.runtime.state(record.bundle)["status"] in _RUNNING:
            return
        connection, _ = self.runtime.start(record.bundle, None, **self._background(record))
        connection.close()

    def _background(self, record: Record) -> dict[str, Any]:
        return {**_request(record, self._settings), "owned": False, "log": True}

    def _within_reach(self, options: RunOptions) -> tuple[RunOptions, builtins.list[str]]:
        """Options whose network can be had here, and a warning where that is another one, said once."""
        network, warning = self.runtime.within_reach(options.network)
        if not warning:
            return options, []
        warnings = [] if self._told else [warning]
        self._told = True
        return replace(options, network=network), warnings

    def plan(self, options: RunOptions, args: Sequence[str] | None = None) -> dict[str, Any]:
        """The config.json of a container, which is not made (``--dry-run``)."""
        source = self._images.source(options)
        return self._bundles.plan(options, source, args or command_line(options, source.config))

    def _make(self, options: RunOptions, extra: Extra | None, args: Sequence[str] | None = None) -> Record:
        options, warnings = self._within_reach(with_volume_names(options))
        with self._images.using():
            draft = self._draft(options, self._images.source(options), extra, args, warnings)
            try:
                self._bundles.keep(draft)
            except BaseException:
                self._bundles.discard(draft.record)
                raise
        return draft.record

    def _draft(
        self,
        options: RunOptions,
        source: Source,
        extra: Extra | None,
        args: Sequence[str] | None,
        warnings: builtins.list[str],
        container_id: str = "",
    ) -> Draft:
        """A container without a record; its image must be held (``Images.using``) until it has one."""
        _check_cpus(options.cpus)
        draft = self._bundles.draft(options, source, args or command_line(options, source.config), extra, container_id)
        draft.record.warnings = warnings
        return draft


def _check_cpus(cpus: float | None) -> None:
    """Refuse more than this machine has, in docker's words; the kernel would take it and do nothing."""
    available = len(os.sched_getaffinity(0))
    if cpus and not _LEAST_CPUS <= cpus <= available:
        text = f"range of CPUs is from {_LEAST_CPUS} to {available}.00, as there are only {available} CPUs available"
        raise InvalidArgument(text, "--cpus")


def exit_error(result: ContainerResult) -> ContainerExit:
    """The error for a result that is not 0."""
    return ContainerExit(result.exit_code, result.reason, result.image, result.duration)


def _options(image: RunOptions | str, command: str | Sequence[str] | None, keywords: dict[str, Any]) -> RunOptions:
    if isinstance(image, RunOptions):
        return replace(image, **keywords) if keywords else image
    wanted = {name: value for name, value in keywords.items() if name not in ("stdout", "stderr")}
    return options_from_keywords(image, command, wanted)


def _request(record: Record, settings: Settings) -> dict[str, Any]:
    """The monitor's part of the options, see :class:`kernel_runtime.orders.Request`."""
    options = record.options  # only what differs from the defaults
    keep = not options.get("rm") or bool(options.get("detach"))
    return {
        "owned": True,
        "remove": bool(options.get("rm")),
        "log": keep,
        "log_max_size": settings.log_max_size,
        "log_max_file": settings.log_max_file,
        "timeout": options.get("timeout") or 0.0,
        "stop_signal": signal_number(options.get("stop_signal") or "SIGTERM"),
        "explain": bool(options.get("explain")),
        "network": options.get("network", "default"),
        "terminal": bool(options.get("tty")),
        "stdin": bool(options.get("interactive")),
        "stdin_once": not options.get("detach"),
    }


def _result(record: Record, outcome: Exit, shown: Foreground, started: dict[str, Any], total: float) -> ContainerResult:
    steps: Iterable[Any] = started.get("steps", [])
    return ContainerResult(
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        outputs=shown.outputs,
        duration=outcome.duration,
        total=total,
        peak_memory=outcome.peak_memory,
        cpu_seconds=outcome.cpu_seconds,
        image=record.image,
        image_digest=record.image_id,
        container_id=record.id,
        truncated=shown.truncated,
        steps=[(str(text), float(seconds)) for text, seconds in steps],
    )


__all__ = ["Container", "Containers", "ContainersError", "exit_error", "signal_number"]
