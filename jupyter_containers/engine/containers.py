"""Containers with docker-py's names: ``engine.containers.run(…)``, ``.get``, ``.list``, ``container.logs()`` …"""

from __future__ import annotations

import signal as signals
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyter_containers.config import Settings
from jupyter_containers.engine.images import Images
from jupyter_containers.errors import Conflict, ContainerExit, ContainersError, InvalidArgument
from jupyter_containers.options import CellOptions, RunOptions, options_from_keywords
from jupyter_containers.result import ContainerResult
from jupyter_containers.run import inspect, logs
from jupyter_containers.run.bundle import Bundles, Extra, command_line, with_volume_names
from jupyter_containers.run.foreground import Foreground, OnOutput, Pipes
from jupyter_containers.run.records import Record, Records
from jupyter_containers.run.runtime import Exit, Runtime

_RUNNING = ("creating", "running", "paused")


class Container:
    """One container. Attributes are read from the store when asked for, never cached."""

    def __init__(self, owner: Containers, record: Record) -> None:
        self._owner, self.record = owner, record

    def __repr__(self) -> str:
        """As docker-py's."""
        return f"<Container: {self.short_id}>"

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self.record.id

    @property
    def short_id(self) -> str:
        """The 12 digits that docker shows."""
        return self.record.id[:12]

    @property
    def name(self) -> str:
        """The name, without Docker's leading slash."""
        return self.record.name

    @property
    def image(self) -> str:
        """The reference it was made from."""
        return self.record.image

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels and its own."""
        return self.record.labels

    @property
    def state(self) -> dict[str, Any]:
        """The runtime's state."""
        return Runtime.state(self.record.bundle)

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused`` or ``exited``."""
        return inspect.status(self.state)

    @property
    def attrs(self) -> dict[str, Any]:
        """``docker inspect``'s JSON."""
        return inspect.container(self.record, self.state)

    def reload(self) -> None:
        """Read the record again."""
        self.record = self._owner.records.find(self.id)

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it in the background; its output goes to the log."""
        self._owner.start_detached(self.record)

    def stop(self, timeout: float | None = None) -> None:
        """The stop signal, then SIGKILL after *timeout* seconds (default: ``--stop-timeout``, 10)."""
        if self.status not in ("running", "paused"):
            return
        options = self.record.options
        number = signal_number(options.get("stop_signal") or "SIGTERM")
        grace = options.get("stop_timeout", 10) if timeout is None else timeout
        self._end({"op": "stop", "signal": number, "grace": grace})

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal to its first process (default SIGKILL)."""
        number = signal_number(signal or "SIGKILL")
        if self.status not in ("running", "paused"):
            raise Conflict(f"Container {self.short_id} is not running", mend="Start it first.")
        if number == signals.SIGKILL:
            self._end({"op": "stop", "signal": number})
        else:
            self._owner.runtime.ask(self.id, {"op": "signal", "signal": number})

    def _end(self, message: dict[str, Any]) -> None:
        with self._owner.runtime.connect(self.id) as connection:
            connection.tell({"op": "wait"})
            connection.tell(message)
            connection.wait()

    def restart(self, timeout: float | None = None) -> None:
        """Stop and start."""
        self.stop(timeout)
        self.start()

    def pause(self) -> None:
        """Freeze all its processes."""
        self._owner.runtime.ask(self.id, {"op": "pause"})

    def unpause(self) -> None:
        """Let them go on."""
        self._owner.runtime.ask(self.id, {"op": "unpause"})

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the end: ``{"StatusCode": n}``, as docker-py."""
        try:
            with self._owner.runtime.connect(self.id) as connection:
                connection.tell({"op": "wait"})
                return {"StatusCode": connection.wait().exit_code, "Error": None}
        except Conflict:
            return {"StatusCode": int(self.state.get("exitCode", 0)), "Error": None}

    def remove(self, force: bool = False, v: bool = False) -> None:
        """Remove it; *force* kills it first, *v* removes its anonymous volumes."""
        if self.status in ("running", "paused"):
            if not force:
                mend = "Stop the container before attempting removal or force remove"
                raise Conflict(f"You cannot remove a running container {self.id}", mend=mend)
            self.kill()
        self._owner.forget(self.record)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._owner.records.take_name(name, self.id)
        self._owner.records.free_name(self.record.name)
        self.record.name = name
        self._owner.records.update(self.record)

    # -- looking at it -----------------------------------------------------------------------------------------

    def logs(
        self,
        stdout: bool = True,
        stderr: bool = True,
        stream: bool = False,
        follow: bool | None = None,
        timestamps: bool = False,
        tail: int | str = "all",
        since: float | None = None,
        until: float | None = None,
    ) -> bytes | Iterator[bytes]:
        """What it printed, as docker-py: bytes, or an iterator of them with *stream*."""
        wanted = logs.Wanted(stdout, stderr, timestamps, tail, since, until)
        follows = stream if follow is None else follow
        alive = (lambda: self.status in ("running", "paused")) if follows else None
        pieces = logs.read(self.record.bundle / "log", wanted, alive)
        return pieces if stream or follows else b"".join(pieces)

    def stats(self, stream: bool = False) -> dict[str, Any]:
        """One sample of its cgroup: ``cpu_seconds``, ``memory_current``, ``memory_peak``, ``pids_current``."""
        answer = self._owner.runtime.ask(self.id, {"op": "stats"})
        return {key: value for key, value in answer.items() if key != "event"}

    def top(self) -> dict[str, Any]:
        """Its processes: ``{"Titles": […], "Processes": [[…]]}``."""
        return inspect.top(self.state)

    def exec_run(
        self,
        cmd: str | Sequence[str],
        stdout: bool = True,
        stderr: bool = True,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str = "",
        privileged: bool = False,
        on_output: OnOutput | None = None,
    ) -> tuple[int, bytes]:
        """Run one more command in it: exit code and output."""
        from jupyter_containers.engine import execs

        return execs.run(self, cmd, stdout, stderr, environment, workdir, user, privileged, on_output)

    def exec_foreground(self, cmd: Sequence[str], stdio: tuple[int, int, int], **options: Any) -> int:
        """Run one more command with the caller's own descriptors (a terminal with ``tty``); its exit code."""
        from jupyter_containers.engine import execs

        return execs.foreground(self, cmd, stdio, **options)

    def attach_foreground(self, stdio: tuple[int, int, int]) -> int:
        """Copy what it prints from now on to the caller's descriptors until it ends; its exit code."""
        with self._owner.runtime.connect(self.id) as connection:
            connection.ask({"op": "attach"}, stdio)
            return connection.wait().exit_code


class Containers:
    """All containers of a store."""

    def __init__(self, settings: Settings, records: Records, runtime: Runtime, images: Images) -> None:
        self._settings, self.records, self.runtime, self._images = settings, records, runtime, images
        self._bundles = Bundles(settings, records, runtime)
        self._swept = False

    # -- finding -----------------------------------------------------------------------------------------------

    def get(self, container_id: str) -> Container:
        """The container of a name, an id or the beginning of one.

        Raises:
            NotFound: there is none, with the nearest name.
        """
        return Container(self, self.records.find(container_id))

    def list(self, all: bool = False, filters: Mapping[str, Any] | None = None) -> list[Container]:
        """Running containers, newest first; with *all* the others as well."""
        self.sweep()
        found = [Container(self, record) for record in self.records.all()]
        found = [container for container in found if all or container.status in ("running", "paused")]
        return [container for container in found if inspect.matches(container.attrs, filters or {})]

    def prune(self, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Remove all stopped containers."""
        removed: list[str] = []
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
            if record.options.get("rm") and self.runtime.state(record.bundle)["status"] == "created":
                if not self.runtime.is_alive(*record.creator):
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
        if options.detach:
            container = Container(self, self._make(options, None))
            container.start()
            return container
        result = self.run_foreground(options)
        if not result.ok:
            raise exit_error(result)
        return (result.stdout + (result.stderr if keywords.get("stderr") else "")).encode()

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
        connection, _ = self.runtime.start(record.bundle, None, **{**_request(options, self), "owned": False, "log": True})
        connection.close()

    def plan(self, options: RunOptions, args: Sequence[str] | None = None) -> dict[str, Any]:
        """The config.json of a container, which is not made (``--dry-run``)."""
        source = self._images.source(options)
        return self._bundles.plan(options, source, args or command_line(options, source.config))

    def _make(self, options: RunOptions, extra: Extra | None, args: Sequence[str] | None = None) -> Record:
        options = with_volume_names(options)
        source = self._images.source(options)
        return self._bundles.make(options, source, args or command_line(options, source.config), extra)


def signal_number(signal: str | int) -> int:
    """The number of a signal given as docker does: ``TERM``, ``SIGTERM``, ``15``.

    Raises:
        InvalidArgument: there is no such signal.
    """
    text = str(signal).upper().removeprefix("SIG")
    if text.isdigit() and 0 < int(text) < signals.NSIG:
        return int(text)
    try:
        return int(signals.Signals[f"SIG{text}"])
    except KeyError:
        raise InvalidArgument(f"invalid signal: {signal}", mend="See kill -l.") from None


def exit_error(result: ContainerResult) -> ContainerExit:
    """The error for a result that is not 0."""
    return ContainerExit(result.exit_code, result.reason, result.image, result.duration)


def _options(image: RunOptions | str, command: str | Sequence[str] | None, keywords: dict[str, Any]) -> RunOptions:
    if isinstance(image, RunOptions):
        return replace(image, **keywords) if keywords else image
    wanted = {name: value for name, value in keywords.items() if name not in ("stdout", "stderr")}
    return options_from_keywords(image, command, **wanted)


def _run_fields(options: dict[str, Any]) -> dict[str, Any]:
    extra = set(CellOptions.__dataclass_fields__) - set(RunOptions.__dataclass_fields__)
    return {name: value for name, value in options.items() if name not in extra}


def _request(options: RunOptions, owner: Containers) -> dict[str, Any]:
    """The monitor's part of the options, see :class:`kernel_runtime.monitor.Request`."""
    settings = owner._settings  # noqa: SLF001 - the same module
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
