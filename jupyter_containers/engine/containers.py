"""All containers with docker-py's names: ``engine.containers.run(…)``, ``.get``, ``.list`` …"""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyter_containers.config import Settings
from jupyter_containers.engine.container import Container, signal_number
from jupyter_containers.engine.images import Images
from jupyter_containers.errors import ContainerExit, ContainersError
from jupyter_containers.options import CellOptions, RunOptions, options_from_keywords
from jupyter_containers.result import ContainerResult
from jupyter_containers.run import inspect
from jupyter_containers.run.bundle import Bundles, Extra, command_line, with_volume_names
from jupyter_containers.run.foreground import Foreground, OnOutput, Pipes
from jupyter_containers.run.records import Record, Records
from jupyter_containers.run.runtime import Exit, Runtime

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
        options, _ = self._within_reach(options)
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
        stdin: int | None = None,
    ) -> ContainerResult:
        """Run a container, pass its output on while it runs, wait for its end; whatever its exit code is.

        Args:
            extra: files of a cell. args: the whole command line, where it is not the image's and the options'.
            stdin: a descriptor for its standard input; none means an empty one.
        """
        begun = time.perf_counter()
        options, notice = self._within_reach(options)
        if notice and on_output:
            on_output("stderr", notice)
        record = self._make(options, extra, args)
        pipes = Pipes()
        try:
            connection, started = self.runtime.start(record.bundle, pipes.stdio(stdin), **_request(options, self))
            pipes.started()
            with connection:
                follow = Foreground(connection, pipes, on_output)
                if on_output and started.get("notice"):
                    on_output("stderr", f"[{started['notice']}]\n")
                outcome = follow.run()
        except BaseException:
            if options.rm or self.runtime.state(record.bundle)["status"] == "created":
                self._bundles.discard(record)
            raise
        finally:
            pipes.close()
            if options.rm:
                self.records.free_name(record.name)
        return _result(record, outcome, follow, started, time.perf_counter() - begun)

    def run_with_stdio(self, options: RunOptions, stdio: tuple[int, int, int], connected: Any = None) -> int:
        """Run a container on the caller's own descriptors (``docker run`` in a terminal); its exit code.

        Args:
            connected: called with the connection once it runs, to pass on signals and window sizes.
        """
        options, notice = self._within_reach(options)
        if notice:
            os.write(stdio[2], notice.encode())
        record = self._make(options, None)
        try:
            connection, _ = self.runtime.start(record.bundle, stdio, **_request(options, self))
            with connection:
                if connected:
                    connected(connection)
                return connection.wait().exit_code
        except BaseException:
            if options.rm or self.runtime.state(record.bundle)["status"] == "created":
                self._bundles.discard(record)
            raise
        finally:
            if options.rm:
                self.records.free_name(record.name)

    def start_detached(self, record: Record) -> None:
        """Start a container in the background."""
        if self.runtime.state(record.bundle)["status"] in _RUNNING:
            return
        options = RunOptions.from_dict(_run_fields(record.options))
        connection, _ = self.runtime.start(
            record.bundle, None, **{**_request(options, self), "owned": False, "log": True}
        )
        connection.close()

    def _within_reach(self, options: RunOptions) -> tuple[RunOptions, str]:
        """Options whose network can be had here: without pasta or its like the default one is ``none``, said once."""
        outside = self.runtime.outside if options.network == "default" else {"outside": True}
        if outside["outside"]:
            return options, ""
        notice = "" if self._told else f"[no network to the outside: {outside['why']}. {outside['mend']}]\n"
        self._told = True
        return replace(options, network="none"), notice

    def plan(self, options: RunOptions, args: Sequence[str] | None = None) -> dict[str, Any]:
        """The config.json of a container, which is not made (``--dry-run``)."""
        source = self._images.source(options)
        return self._bundles.plan(options, source, args or command_line(options, source.config))

    def _make(self, options: RunOptions, extra: Extra | None, args: Sequence[str] | None = None) -> Record:
        options = with_volume_names(options)
        source = self._images.source(options)
        return self._bundles.make(options, source, args or command_line(options, source.config), extra)


def exit_error(result: ContainerResult) -> ContainerExit:
    """The error for a result that is not 0."""
    return ContainerExit(result.exit_code, result.reason, result.image, result.duration)


def _options(image: RunOptions | str, command: str | Sequence[str] | None, keywords: dict[str, Any]) -> RunOptions:
    if isinstance(image, RunOptions):
        return replace(image, **keywords) if keywords else image
    wanted = {name: value for name, value in keywords.items() if name not in ("stdout", "stderr")}
    return options_from_keywords(image, command, wanted)


def _run_fields(options: dict[str, Any]) -> dict[str, Any]:
    extra = set(CellOptions.__dataclass_fields__) - set(RunOptions.__dataclass_fields__)
    return {name: value for name, value in options.items() if name not in extra}


def _request(options: RunOptions, owner: Containers) -> dict[str, Any]:
    """The monitor's part of the options, see :class:`kernel_runtime.monitor.Request`."""
    settings = owner._settings
    return {
        "owned": True,
        "remove": options.rm,
        "log": not options.rm or options.detach,
        "log_max_size": settings.log_max_size,
        "log_max_file": settings.log_max_file,
        "timeout": options.timeout or 0.0,
        "stop_signal": signal_number(options.stop_signal or "SIGTERM"),
        "explain": getattr(options, "explain", False),
        "network": options.network,
        "terminal": options.tty,
    }


def _result(
    record: Record, outcome: Exit, follow: Foreground, started: dict[str, Any], total: float
) -> ContainerResult:
    steps: Iterable[Any] = started.get("steps", [])
    return ContainerResult(
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        outputs=follow.outputs,
        duration=outcome.duration,
        total=total,
        peak_memory=outcome.peak_memory,
        cpu_seconds=outcome.cpu_seconds,
        image=record.image,
        image_digest=record.image_id,
        container_id=record.id,
        truncated=follow.truncated,
        steps=[(str(text), float(seconds)) for text, seconds in steps],
    )


__all__ = ["Container", "Containers", "ContainersError", "exit_error", "signal_number"]
