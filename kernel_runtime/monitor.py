"""The monitor: one small process per container, from its first step to its exit record.

It owns the container's processes, cgroup, terminal, log and state.json, listens on a socket of its own for whoever
wants to signal, wait for, attach to or exec in the container, and outlives both its caller and the launcher. A
container whose caller asked for ``owned`` ends when the caller's connection does.

Not here: how a process becomes a container (:mod:`sandbox`), and what is done when a monitor itself is killed
(:mod:`sweep`).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from kernel_runtime import cgroups, orders, reading, state, trees
from kernel_runtime.children import Child
from kernel_runtime.errors import ProtocolError, RuntimeFault, SetupError, full_disk_mend
from kernel_runtime.execs import Execs
from kernel_runtime.joined import GRACE, INTERRUPT
from kernel_runtime.orders import Request
from kernel_runtime.protocol import Channel, Message, listen, peer_uid
from kernel_runtime.spec import Spec
from kernel_runtime.streams import STARTER, Streams

_T = TypeVar("_T")

_DEAF_GRACE = 0.1  # the same where PID 1 does not listen to the signal: the kernel drops it then


@dataclass
class Machine:
    """What the launcher knows of this machine and lends to every monitor."""

    rung: str
    store: str
    runtime: str
    hierarchy: cgroups.Hierarchy
    stage: str
    code: str
    limits: Mapping[str, Any] = field(default_factory=dict)  # OCI resources that prepared containers have already

    @property
    def in_user_namespace(self) -> bool:
        """Whether the launcher lives in a user namespace."""
        return self.rung != "root"


@dataclass
class Monitor:
    """The life of one container."""

    machine: Machine
    request: Request
    caller: Channel | None
    child: Child
    message: Message
    stdio: list[int]
    selector: selectors.BaseSelector = field(default_factory=selectors.PollSelector)
    state: dict[str, Any] = field(default_factory=dict)
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    waiters: list[Channel] = field(default_factory=list)
    reason: str = ""

    @property
    def _socket(self) -> str:
        return state.monitor_socket(self.machine.runtime, self.request.id)

    def run(self, group: cgroups.Cgroup | None, listener: socket.socket | None = None) -> int:
        """Make the first process the container, serve it until it has ended, leave nothing. Returns the exit status.

        Args:
            group: the cgroup that the first process is in already.
            listener: the socket of this container, where it has one already.
        """
        self.execs = Execs(self)
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        try:
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            listener = listener or listen(self._socket)
            self._start(group)
            return self._serve(listener, wake)
        except RuntimeFault as fault:
            return self._finish_failed(fault, group)
        except OSError as error:
            text, number = error.strerror or str(error), error.errno or 0
            told = SetupError("start", self.request.id[:12], text, full_disk_mend(number), number)
            return self._finish_failed(told, group)
        finally:
            if self.request.remove:
                state.remove(self._socket)

    def _start(self, group: cgroups.Cgroup | None) -> None:
        """What is left to do while the first process makes itself the container; then wait for its program to run."""
        self.child.started = time.monotonic()
        self.streams = Streams(self.selector, self.request, self.stdio)
        pid = self.child.pid
        if self.request.log and not self.request.terminal:
            self._unless_failed(lambda: self.child.streams_are(self.streams.child_fds()))
        resources = orders.resources_of(self.message)
        self.group = group or self.machine.hierarchy.create(self.request.id, resources)
        if resources != self.machine.limits:
            if group:
                group.update({**orders.NO_LIMITS, **resources})
            self._unless_failed(lambda: self.child.limits_are_set(self.group.rlimits))
        # Told a moment ahead, while there is time for it; a fault replaces it.
        self._record("running", pid=pid, pidStart=state.start_time(pid), startedAt=time.time())
        timings = self.child.wait_for_exec()
        self.streams.started(self.child.console)
        news: dict[str, Any] = {"event": "started", "pid": pid}
        if self.group.notice:
            news["notice"] = self.group.notice
        self._tell(news | ({"steps": timings} if self.request.explain else {}))
        if self.request.timeout:
            self.after(self.request.timeout, lambda: self.stop("timeout", [signal.SIGTERM, signal.SIGKILL]))

    def _unless_failed(self, action: Callable[[], _T]) -> _T:
        """Do what needs the first process; where that has failed meanwhile, raise the fault that it told."""
        try:
            return action()
        except OSError as error:
            self.child.wait_for_exec()
            raise SetupError("start", "", "its first process was killed") from error

    @cached_property
    def spec(self) -> Spec:
        """The container's config.json; wanted by those that join it."""
        return orders.config_of(self.message)

    # -- the loop ----------------------------------------------------------------------------------------------

    def _serve(self, listener: socket.socket, wake: socket.socket) -> int:
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        self.selector.register(wake, selectors.EVENT_READ, lambda: self._reap(wake))
        if self.caller:
            self._follow(self.caller)
        self._reap(wake)
        while self.child.status is None:
            for key, _ in self.selector.select(self._run_timers()):
                key.data()
        self.streams.drain()
        return self._finish()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call *action* in *seconds*, while the container lives."""
        self.timers.append((time.monotonic() + seconds, action))

    def _run_timers(self) -> float | None:
        now = time.monotonic()
        due = [action for when, action in self.timers if when <= now]
        self.timers = [(when, action) for when, action in self.timers if when > now]
        for action in due:
            action()
        return max(0.0, min(when for when, _ in self.timers) - time.monotonic()) if self.timers else None

    def _reap(self, wake: socket.socket) -> None:
        try:
            wake.recv(4096)
        except BlockingIOError:
            pass
        self.child.poll()
        self.execs.reap()

    # -- requests ----------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        if peer_uid(sock) != os.getuid():
            sock.close()
            return
        self._follow(Channel(sock))

    def _follow(self, channel: Channel) -> None:
        channel.socket.settimeout(5)
        self.selector.register(channel, selectors.EVENT_READ, lambda: self._hear(channel))

    def _hear(self, channel: Channel) -> None:
        try:
            alive = channel.fill()
            while (message := channel.pop()) is not None:
                self._answer(channel, message)
        except (OSError, ProtocolError):
            alive = False
        if not alive:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        self.selector.unregister(channel)
        if channel in self.waiters:
            self.waiters.remove(channel)
        self.execs.forget(channel)
        self.streams.leave(self._guest(channel))
        channel.close()
        if channel is self.caller:
            self.caller = None
            if self.request.owned:
                self.stop("abandoned", [signal.SIGKILL])

    def _answer(self, channel: Channel, message: Message) -> None:
        handler = _HANDLERS.get(str(message.get("op")))
        try:
            if self.execs.answers(channel, message):
                return
            if handler is None:
                raise ProtocolError("answer", str(message.get("op")), "unknown request")
            handler(self, channel, message)
        except RuntimeFault as fault:
            code = getattr(fault, "exit_code", 125)
            channel.send({"event": "fault", "fault": fault.to_dict(), "exitCode": code})

    def _signal(self, channel: Channel, message: Message) -> None:
        self.child.signal(int(message["signal"]), group=bool(message.get("group")))
        channel.send({"event": "done"})

    def _stop(self, channel: Channel, message: Message) -> None:
        number = int(message.get("signal") or self.request.stop_signal)
        self.stop(str(message.get("reason", "")), [number, signal.SIGKILL], float(message.get("grace", 10.0)))
        channel.send({"event": "done"})

    def _interrupt(self, channel: Channel, _message: Message) -> None:
        self.stop("interrupted", list(INTERRUPT))

    def _wait(self, channel: Channel, _message: Message) -> None:
        self.waiters.append(channel)

    def _resize(self, channel: Channel, message: Message) -> None:
        self.streams.resize(int(message["rows"]), int(message["columns"]))

    def _reads(self, channel: Channel, _message: Message) -> None:
        waits = reading.waits(self.child.pid, self.streams.typed)
        self.streams.catch_up()  # what it printed before it waits, its prompt
        channel.send({"event": "reads", "waits": waits})

    def _stats(self, channel: Channel, _message: Message) -> None:
        channel.send({"event": "stats", **self.group.stats()})

    def _freeze(self, channel: Channel, message: Message) -> None:
        if message["op"] == "pause":
            self.group.freeze()  # may have joined a further group
            self._record("paused", cgroupFiles=list(self.group.procs_files))
        else:
            self._thaw()
        channel.send({"event": "done"})

    def _thaw(self) -> None:
        self.group.thaw()
        self._record("running")

    def _attach(self, channel: Channel, message: Message) -> None:
        self.streams.attach(channel, channel.take_fds(), bool(message.get("stdin")))
        self.waiters.append(channel)
        channel.send({"event": "attached"})

    def _detach(self, channel: Channel, _message: Message) -> None:
        """The caller goes, the container stays, even an owned one."""
        self.request.owned = self.request.owned and channel is not self.caller
        self.streams.leave(self._guest(channel))
        channel.send({"event": "detached"})

    def _guest(self, channel: Channel) -> object:
        return STARTER if channel is self.caller else channel

    def _exec(self, channel: Channel, message: Message) -> None:
        self.execs.start(channel, message)

    # -- ending ------------------------------------------------------------------------------------------------

    def stop(self, reason: str, signals: list[int], grace: float = GRACE) -> None:
        """Send the first signal now, the next ones each *grace* seconds later, until the container has ended.

        A signal that PID 1 does not handle is dropped by the kernel (pid_namespaces(7)): the next one follows at once.
        A paused container goes on, as Docker's: frozen it could not even die.
        """
        self.reason = self.reason or reason
        number = signals[0]
        deaf = number != signal.SIGKILL and not self.child.listens_to(number)
        self.child.signal(number, group=True)
        if self.state.get("status") == "paused":
            self._thaw()  # frozen by cgroup v1 it would not even die of SIGKILL; docker does so, too
        if signals[1:]:
            wait = min(grace, _DEAF_GRACE) if deaf else grace
            self.after(wait, lambda: self.stop(reason, signals[1:], grace))

    def _finish(self) -> int:
        stats, events = self.group.stats(only=("cpu_seconds", "memory_peak")), self.group.events()
        outcome = self.child.outcome(self.reason, events)
        outcome.update(
            cpuSeconds=stats.get("cpu_seconds", self.child.cpu_seconds),
            peakMemory=stats.get("memory_peak", self.child.peak_memory),
            finishedAt=time.time(),
        )
        return self._end(outcome)

    def _finish_failed(self, fault: RuntimeFault, group: cgroups.Cgroup | None) -> int:
        code = getattr(fault, "exit_code", 125)
        self.group = getattr(self, "group", None) or group or self.machine.hierarchy.create(self.request.id, {})
        return self._end({"exitCode": code, "reason": "fault", "fault": fault.to_dict(), "finishedAt": time.time()})

    def _end(self, outcome: dict[str, Any]) -> int:
        """Record and tell the end, then give everything back; 1 where a group could not be, for the launcher to sweep.

        Nobody waits for the cgroup: removing one can take the kernel ten milliseconds while another is joined. But once
        an end is recorded the container may be started again: its socket and layers must be free by then.
        """
        self.child.kill()
        self.execs.end()
        gone = ""
        if self.request.remove:
            gone = trees.put_aside(self.request.bundle)
        else:
            self.child.let_go_of_mounts()
            state.remove(self._socket)
            with suppress(RuntimeFault):  # the disk is full; whoever listens must be told all the same
                self._record("stopped", **outcome)
        self._tell({"event": "exit", **outcome})
        try:
            self.group.destroy()
        except RuntimeFault as fault:
            print(fault, file=sys.stderr)
            return 1
        finally:
            self.child.let_go_of_mounts()
            if gone:
                trees.remove(gone)
        return 0

    def _record(self, status: str, **fields: Any) -> None:
        if not self.state:
            pid = os.getpid()
            self.state.update(
                ociVersion="1.2.0", id=self.request.id, bundle=self.request.bundle, annotations={},
                monitorPid=pid, monitorStart=state.start_time(pid), rung=self.machine.rung,
                cgroup=self.group.path, cgroupFiles=list(self.group.procs_files), remove=self.request.remove, pid=0,
            )  # fmt: skip
        self.state.update(status=status, **fields)
        state.write(self.request.bundle, self.state)

    def _tell(self, message: Message) -> None:
        for channel in ([self.caller] if self.caller else []) + self.waiters:
            try:
                channel.send(message)
            except OSError:
                continue


_HANDLERS: dict[str, Callable[[Monitor, Channel, Message], None]] = {
    "signal": Monitor._signal,
    "stop": Monitor._stop,
    "interrupt": Monitor._interrupt,
    "wait": Monitor._wait,
    "resize": Monitor._resize,
    "reads": Monitor._reads,
    "stats": Monitor._stats,
    "pause": Monitor._freeze,
    "unpause": Monitor._freeze,
    "attach": Monitor._attach,
    "detach": Monitor._detach,
    "exec": Monitor._exec,
}
