"""The processes of a container as its monitor sees them: the first one, and those that join it (``exec``).

Both tell over a packet socket how far they came: a terminal's master, then the timings of the steps, then end of file
at ``execve``; or the fault that stopped them.
"""

from __future__ import annotations

import array
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernel_runtime import console, init, programs, reaper, sandbox, seccomp, spec, streams, users
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import RuntimeFault, SetupError
from kernel_runtime.joined import Joined
from kernel_runtime.protocol import Channel
from kernel_runtime.spec import Process

if TYPE_CHECKING:
    from kernel_runtime.monitor import Machine, Monitor, Request

_SETUP_TIMEOUT = 30.0  # seconds; a hanging network file system must not hang the monitor for ever
_JOINED = sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWCGROUP


class Child:
    """A forked process that will execute a program of the container."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid, self._status = pid, status
        self.started = time.monotonic()
        self.status: int | None = None
        self.usage: resource.struct_rusage | None = None
        self.console = -1

    def order(self, order: dict[str, Any], fds: list[int]) -> None:
        """Send the process what it waits for."""
        data = json.dumps(order).encode() + b"\n"
        self._status.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def limits_are_set(self, rlimits: Any) -> None:
        """Let the process go on to its program."""
        self._status.send(json.dumps(rlimits).encode())

    def wait_for_exec(self) -> list[Any]:
        """Wait until the program runs; the timings of the steps.

        Raises:
            RuntimeFault: a step failed; the process is gone by then. ``exit_code`` is Docker's.
        """
        timings: list[Any] = []
        self._status.settimeout(_SETUP_TIMEOUT)
        try:
            while True:
                try:
                    data, ancillary, _, _ = self._status.recvmsg(1 << 20, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
                except ConnectionResetError:
                    continue  # it ended without reading its limits; what it told is still to be read
                for _, _, payload in ancillary:
                    self.console = array.array("i", payload[:4])[0]
                if not data:
                    return timings
                if data[:1] == b"{":
                    self._raise(json.loads(data))
                if data[:1] == b"[":
                    timings = json.loads(data)
        except TimeoutError:
            self.kill()
            raise SetupError("start", "", f"not ready within {_SETUP_TIMEOUT:.0f} s") from None
        finally:
            self._status.close()

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


def prepare(machine: Machine, network: str, netns_fd: int, procs_files: tuple[str, ...]) -> Child:
    """Fork what will be a container's first process, before it is known which: cgroup joined, namespaces made.

    From here on every fork of this process lands in the same pid namespace.
    """
    sc.unshare(sc.CLONE_NEWPID)
    return _fork(
        (-1, -1, -1), lambda status: _wait_to_become_container(machine, network, netns_fd, procs_files, status)
    )


def go(child: Child, request: Request, stdio: tuple[int, int, int]) -> None:
    """Tell a prepared process which container it is; its descriptors travel along."""
    order = {"request": request.to_dict(), "streams": [fd >= 0 for fd in stdio]}
    child.started = time.monotonic()
    child.order(order, [fd for fd in stdio if fd >= 0])


def _wait_to_become_container(
    machine: Machine, network: str, netns_fd: int, procs_files: tuple[str, ...], status: socket.socket
) -> None:
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    stage = sandbox.prepare(network, netns_fd, machine.in_user_namespace, machine.stage, procs_files)
    rehearse()
    with Channel(status.dup()) as channel:
        order = channel.receive()
        fds = iter(channel.take_fds())
    if order is None:
        os._exit(0)  # the launcher has left
    request = order["request"]
    _take_streams(tuple(next(fds) if there else -1 for there in order["streams"]))
    config = spec.load(os.path.join(request["bundle"], "config.json"))
    if not config.process.terminal:
        os.setsid()
    context = sandbox.Context(config, request["bundle"], machine.in_user_namespace, procs_files, status.fileno(), stage)
    sandbox.furnish(context)
    if request["explain"]:
        status.send(json.dumps(context.timings).encode())
    rlimits = _wait_for_limits(status)
    if config.wants_init and reaper.fork_payload(status.fileno()):
        return
    init.execute(config.process, _final(config, machine.rung, rlimits, status))


def rehearse() -> None:
    """Read a config once for nothing: a forked process copies each page of memory that it first touches."""
    text = json.dumps(programs.sample_config())
    config = spec.parse(json.loads(text))
    programs.compile_for(config)
    sandbox.recipe(config)
    users.look_up("")


def _wait_for_limits(status: socket.socket) -> Any:
    """The monitor sets the cgroup's limits meanwhile; what it can't set there comes back as resource limits."""
    data = status.recv(1 << 16)
    if not data:
        os._exit(0)
    return json.loads(data)


def _final(config: spec.Spec, rung: str, rlimits: Any, status: socket.socket) -> init.Final:
    return init.Final(
        programs.compile_for(config),
        status.fileno(),
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
    try:
        pidfd = os.pidfd_open(monitor.child.pid)
        try:
            return _fork(given, lambda status: _become_joined(monitor, pidfd, process, status))
        finally:
            os.close(pidfd)
    except OSError as error:  # ESRCH, ENOMEM: its first process is just ending
        raise SetupError("exec in", monitor.request.id[:12], error.strerror or "", errno=error.errno or 0) from error


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _become_joined(monitor: Monitor, pidfd: int, process: Process, status: socket.socket) -> None:
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
        slave = console.open_terminal("/dev/pts/ptmx", process, status.fileno())
        console.take_terminal(slave)
    init.execute(process, _final(monitor.spec, monitor.machine.rung, monitor.group.rlimits, status))


def _fork(fds: tuple[int, ...], body: Callable[[socket.socket], None]) -> Child:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, ours)
    try:
        ours.close()
        _take_streams(fds)
        body(theirs)
    except BaseException as error:  # noqa: BLE001 - everything goes to the monitor, then the process ends
        _report(theirs, error)
    finally:
        os._exit(125)
    raise AssertionError("unreachable")


def _take_streams(fds: tuple[int, ...]) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number, fd in enumerate(fds):
        os.dup2(fd if fd >= 0 else null, number)
    os.close(null)


def _report(status: socket.socket, error: BaseException) -> None:
    if isinstance(error, RuntimeFault):
        fault = error
    else:
        fault = SetupError("start", "", f"{type(error).__name__}: {error}", errno=getattr(error, "errno", 0) or 0)
    code = init.exit_code_of(fault) if isinstance(fault, SetupError) else 125
    try:
        status.send(json.dumps({"fault": fault.to_dict(), "exitCode": code}).encode())
    except OSError:
        pass
