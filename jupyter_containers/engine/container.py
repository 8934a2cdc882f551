"""One container with docker-py's names: ``container.logs()``, ``.stop()``, ``.exec_run(…)`` …"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import Conflict, InvalidArgument
from jupyter_containers.run import inspect, logs
from jupyter_containers.run.foreground import Caller, OnOutput, follow
from jupyter_containers.run.records import Record
from jupyter_containers.run.runtime import Runtime, mapped

if TYPE_CHECKING:
    from jupyter_containers.engine.containers import Containers


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
    def warnings(self) -> list[str]:
        """What its maker should be told, as ``Warnings`` of Docker's create; empty for a container found later."""
        return self.record.warnings

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
        self._until_end({"op": "stop", "signal": number, "grace": grace})

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal to its first process (default SIGKILL)."""
        number = signal_number(signal or "SIGKILL")
        if self.status not in ("running", "paused"):
            raise Conflict(f"Container {self.short_id} is not running", mend="Start it first.")
        if number == signals.SIGKILL:
            self._until_end({"op": "stop", "signal": number})
        else:
            self._owner.runtime.ask(self.id, {"op": "signal", "signal": number})

    def _until_end(self, *messages: dict[str, Any]) -> int:
        """Tell its monitor, wait for its end; the exit code, 0 where it had ended before it was asked."""
        with suppress(Conflict), self._owner.runtime.connect(self.id) as connection:
            for message in ({"op": "wait"}, *messages):
                mapped(connection.tell)(message)
            return connection.wait().exit_code
        return 0

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
        code = self._until_end()
        # Its monitor may have ended between the connection and the question: then what it wrote down holds.
        return {"StatusCode": int(self.state.get("exitCode", code)), "Error": None}

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

    def export(self, chunk_size: int = 2 << 20) -> Iterator[bytes]:
        """Its root file system as a tar, in pieces; running or not, without volumes and bind mounts, as docker."""
        from jupyter_containers.run import export

        return export.chunks(self._owner.runtime, self.record.bundle, chunk_size)

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

    def exec_detached(self, cmd: Sequence[str], **options: Any) -> None:
        """Run one more command in the background, options as :meth:`exec_run`'s and ``tty``; its output is dropped."""
        from jupyter_containers.engine import execs

        execs.detached(self, cmd, **options)

    def attach_foreground(self, stdio: tuple[int, int, int], stdin: bool = False, caller: Caller | None = None) -> int:
        """Copy what it prints from now on to the caller's descriptors until it ends; its exit code.

        Args:
            stdin: the caller's standard input becomes its own, where it was made with ``-i``.
        """
        if caller:
            caller.ready()
        with self._owner.runtime.connect(self.id) as connection:
            mapped(connection.ask)({"op": "attach", "stdin": stdin}, stdio)
            return follow(caller, connection)

    def start_foreground(self, stdio: tuple[int, int, int], caller: Caller | None = None) -> int:
        """Start it on the caller's descriptors (``docker start -a``); its exit code."""
        return self._owner.start_attached(self.record, stdio, caller)

    @property
    def keeps_stdin(self) -> bool:
        """Whether it was made with ``-i``."""
        return bool(self.record.options.get("interactive"))

    @property
    def has_terminal(self) -> bool:
        """Whether it was made with ``-t``."""
        return bool(self.record.options.get("tty"))
