"""The processes of a container as its monitor sees them: the first one (:mod:`first`) and those that join it.

Both tell over a packet socket how far they came: a terminal's master, then the timings of the steps, then end of file
at ``execve``; or the fault that stopped them.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kernel_runtime import console, init, programs, seccomp, spec, streams
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import RuntimeFault, SetupError
from kernel_runtime.joined import Joined
from kernel_runtime.protocol import Channel, Message
from kernel_runtime.spec import Process

if TYPE_CHECKING:
    from kernel_runtime.monitor import Monitor

_SETUP_TIMEOUT = 30.0  # seconds; a hanging network file system must not hang the monitor for ever
_JOINED = sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWCGROUP


class Child:
    """A forked process that will execute a program of the container."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid, self.channel = pid, channel
        self.started = time.monotonic()
        self.status: int | None = None
        self.usage: resource.struct_rusage | None = None
        self.console = self.mounts = -1
        self._fault: Message | None = None

    def hand_on(self, line: bytes, fds: list[int]) -> None:
        """Pass an order on to the process; fine if it is gone, which :meth:`wait_for_exec` tells."""
        with suppress(OSError):
            self.channel.send_line(line, tuple(fds))

    def streams_are(self, fds: tuple[int, int, int]) -> None:
        """Tell the process its standard streams, which are not the caller's own; -1 for none."""
        self.channel.send({"streams": [fd >= 0 for fd in fds]}, tuple(fd for fd in fds if fd >= 0))

    def limits_are_set(self, rlimits: Any) -> None:
        """Let the process go on to its program."""
        self.channel.send({"rlimits": rlimits})

    def is_ready(self) -> None:
        """It can take an order; its mount namespace came along. Held open, that outlives the process."""
        [self.mounts] = self.channel.take_fds()

    def let_go_of_mounts(self) -> None:
        """Unmounting 40 file systems takes milliseconds that nobody needs to wait for: only when all is told."""
        if self.mounts >= 0:
            os.close(self.mounts)
            self.mounts = -1

    def keep_fault(self, message: Message) -> None:
        """It failed before there was anybody to tell."""
        self._fault = message

    def wait_for_exec(self) -> list[Any]:
        """Wait until the program runs; the timings of the steps.

        Raises:
            RuntimeFault: a step failed; the process is gone by then. ``exit_code`` is Docker's.
        """
        timings: list[Any] = []
        if self._fault:
            self._raise(self._fault)
        self.channel.socket.settimeout(_SETUP_TIMEOUT)
        try:
            while (message := self._next()) is not None:
                if "fault" in message:
                    self._raise(message)
                timings = message.get("steps", timings)
                if "ready" in message:
                    self.is_ready()
                if "console" in message:
                    [self.console] = self.channel.take_fds()
            return timings
        except TimeoutError:
            self.kill()
            raise SetupError("start", "", f"not ready within {_SETUP_TIMEOUT:.0f} s") from None
        finally:
            self.channel.close()

    def _next(self) -> Message | None:
        while True:
            try:
                return self.channel.receive()
            except ConnectionResetError:
                continue  # it ended without reading its limits; what it told is still to be read

    def _raise(self, data: dict[str, Any]) -> None:
        fault = RuntimeFault.from_dict(data["fault"])
        fault.exit_code = data["exitCode"]  # type: ignore[attr-defined]
        self.wait()
        raise fault

    def poll(self) -> int | None:
        """The wait status once the process has ended, ``None`` before."""
        if self.status is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status, usage = self.pid, signal.SIGKILL, resource.getrusage(resource.RUSAGE_CHILDREN)
            if pid:
                self.status, self.usage = status, usage
        return self.status

    def wait(self) -> None:
        """Wait for the end of the process."""
        if self.status is None:
            _, self.status, self.usage = os.wait4(self.pid, 0)

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the process, or to its whole process group; fine if it has ended."""
        if self.poll() is not None:
            return
        for target in (-self.pid, self.pid) if group else (self.pid,):
            try:
                os.kill(target, number)
                return
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """SIGKILL and wait: with the first process of a pid namespace all others end."""
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.wait()

    def listens_to(self, number: int) -> bool:
        """Whether the process catches the signal: the kernel drops others that are sent to a PID 1."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as file:
                caught = next(line for line in file if line.startswith(b"SigCgt:"))
        except (OSError, StopIteration):
            return True
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process and of the children it waited for; for machines without a cgroup."""
        return self.usage.ru_utime + self.usage.ru_stime if self.usage else 0.0

    @property
    def peak_memory(self) -> int:
        """Largest resident size of one process, bytes; for machines without a cgroup."""
        return self.usage.ru_maxrss * 1024 if self.usage else 0

    def outcome(self, reason: str, events: dict[str, int]) -> dict[str, Any]:
        """How it ended: ``exitCode`` as Docker's, ``reason``, ``signal``, ``oomKilled``, ``duration`` in seconds."""
        code = os.waitstatus_to_exitcode(self.status or 0)
        number = -code if code < 0 else 0
        exit_code = 128 + number if number else code
        oom = events.get("oom_kill", 0) > 0
        if not reason and oom and exit_code == 128 + signal.SIGKILL:
            reason = "oom"
        elif not reason and exit_code and events.get("pids_max", 0) > 0:
            reason = "pids"
        return {
            "exitCode": exit_code,
            "reason": reason or ("signal" if number else "exit"),
            "signal": number,
            "oomKilled": oom,
            "duration": time.monotonic() - self.started,
        }


def final(config: spec.Spec, rung: str, rlimits: Any, monitor: Channel) -> init.Final:
    """What :func:`init.execute` needs besides the process."""
    return init.Final(
        programs.compile_for(config),
        monitor.fileno(),
        rung == "rootless-single",
        seccomp.flags(config.seccomp) if config.seccomp else 0,
        tuple(tuple(limit) for limit in rlimits),
    )


def join(monitor: Monitor, channel: Channel, process: Process, fds: list[int], owned: bool) -> Joined:
    """Fork a process into the running container; *fds* are its own from here on.

    Raises:
        RuntimeFault: it could not be executed; nothing of it is left. ``exit_code`` is Docker's.
    """
    child = None
    try:
        child = _fork_into(monitor, process, fds)
        child.wait_for_exec()
        terminal = streams.Terminal(monitor.selector, child.console, fds) if process.terminal else None
    except BaseException:
        if child and child.console >= 0:
            os.close(child.console)  # the terminal was made, but the program could not be executed
        _close(fds)
        raise
    if not terminal:
        _close(fds)
    return Joined(monitor, child, channel, owned, terminal)


def _fork_into(monitor: Monitor, process: Process, fds: list[int]) -> Child:
    given = tuple(fds) if len(fds) == 3 and not process.terminal else (-1, -1, -1)
    _ = monitor.spec  # read now: behind setns its path would name a file of the container's
    try:
        pidfd = os.pidfd_open(monitor.child.pid)
        try:
            return fork(given, lambda channel: _become_joined(monitor, pidfd, process, channel))
        finally:
            os.close(pidfd)
    except OSError as error:  # ESRCH, ENOMEM: its first process is just ending
        raise SetupError("exec in", monitor.request.id[:12], error.strerror or "", errno=error.errno or 0) from error


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _become_joined(monitor: Monitor, pidfd: int, process: Process, channel: Channel) -> None:
    """Enter the container's namespaces; undumpable first, so that nothing inside can look into us (CVE-2016-9962)."""
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    if not process.terminal:
        os.setsid()
    for path in monitor.group.procs_files:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    sc.setns(pidfd, _JOINED)
    os.chdir("/")
    if process.terminal:
        slave = console.open_terminal("/dev/pts/ptmx", process, channel)
        console.take_terminal(slave)
    init.execute(process, final(monitor.spec, monitor.machine.rung, monitor.group.rlimits, channel))


def fork(fds: tuple[int, ...], body: Callable[[Channel], None]) -> Child:
    """A child that does *body*, with *fds* as its 0, 1, 2 (-1: /dev/null); a fault is told through its channel."""
    ours, theirs = (Channel(end) for end in socket.socketpair())
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, ours)
    try:
        ours.close()
        init.restore_signals()
        take_streams(fds)
        body(theirs)
        os._exit(0)  # nobody wants it any more
    except BaseException as error:  # noqa: BLE001 - everything goes to the monitor, then the process ends
        _report(theirs, error)
    finally:
        os._exit(125)
    raise AssertionError("unreachable")


def take_streams(fds: tuple[int, ...]) -> None:
    """Make *fds* this process's 0, 1 and 2; -1 stands for /dev/null."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) if min(fds) < 0 else -1
    for number, fd in enumerate(fds):
        os.dup2(fd if fd >= 0 else null, number)
    if null >= 0:
        os.close(null)


def _report(monitor: Channel, error: BaseException) -> None:
    if isinstance(error, RuntimeFault):
        fault = error
    else:
        fault = SetupError("start", "", f"{type(error).__name__}: {error}", errno=getattr(error, "errno", 0) or 0)
    code = init.exit_code_of(fault) if isinstance(fault, SetupError) else 125
    try:
        monitor.send({"fault": fault.to_dict(), "exitCode": code})
    except OSError:
        pass
