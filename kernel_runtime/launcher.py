"""The launcher: one per user and store, started on demand; it forks a monitor per container and nothing else.

A Jupyter kernel has many threads and may neither fork nor unshare; this process has one, its imports are done, its
seccomp programs compiled, and it already lives in the user namespace of its rung. It leaves when idle; containers do
not need it to go on.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kernel_runtime import cgroups, egress, merged, monitor, orders, prepared, programs, state, sweep, trees
from kernel_runtime.errors import RuntimeFault
from kernel_runtime.orders import Request
from kernel_runtime.probe import Rung
from kernel_runtime.protocol import Channel, Message, door_path, listen, peer_uid

IDLE_SECONDS = 600.0
_TICK = 5.0
_SPARES = 2  # monitors kept ready: one is taken, and preparing the next takes the kernel some 15 ms
_QUIET = 0.004  # seconds without news before a monitor is prepared: not while a container starts


@dataclass
class Spare:
    """A monitor without a container: it waits at a door, or for what the launcher is about to hand it."""

    pid: int
    channel: Channel


class Door:
    """The socket at which callers ask for a container with a certain network.

    A waiting monitor answers there by itself, which spares a hop; only while none waits, the launcher does. So callers
    queue in the socket's backlog, whoever is busy.
    """

    def __init__(self, runtime: str, network: str) -> None:
        self.network, self._path = network, door_path(runtime, network)
        self.listener = listen(self._path)
        self.listener.setblocking(False)
        self.spares: list[Spare] = []
        self.last_used = 0.0
        self.fault: Exception | None = None

    def close(self) -> None:
        """Callers go to the launcher's own socket from now on."""
        if self.listener.fileno() >= 0:
            os.unlink(self._path)
            self.listener.close()


@dataclass
class Launcher:
    """The loop and what it lends to the monitors."""

    store: str
    runtime: str
    rung: Rung
    code: str
    site: str
    idle: float = IDLE_SECONDS
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    monitors: dict[int, Request] = field(default_factory=dict)
    workers: dict[int, Channel] = field(default_factory=dict)
    doors: dict[str, Door] = field(default_factory=dict)
    quitting: bool = False

    def prepare(self) -> None:
        """Find the cgroup, end what earlier launchers left behind, take the socket."""
        name = os.path.basename(self.runtime)
        self.hierarchy = cgroups.find(name)
        sweep.sweep(self.store, self.runtime, self.hierarchy)
        self.egress = egress.Egress(self.rung, self.site, self.runtime)
        stage = os.path.join(self.runtime, "stage")
        os.makedirs(stage, mode=0o700, exist_ok=True)
        self.machine = monitor.Machine(self.rung, self.runtime, self.hierarchy, stage, self.code)
        programs.compile_default(self.rung is Rung.ROOTLESS_SINGLE)
        self.listener = listen(os.path.join(self.runtime, "launcher.sock"))
        self.last_used = time.monotonic()

    def run(self) -> None:
        """Serve until idle or told to leave."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self.selector.register(self.listener, selectors.EVENT_READ, lambda: self._accept(self.listener))
        self.selector.register(wake, selectors.EVENT_READ, lambda: self._reap(wake))
        gc.collect()
        gc.freeze()
        while not self.quitting:
            events = self.selector.select(_QUIET if self._lacking() else _TICK)
            for key, _ in events:
                key.data()
            if not events and not self.quitting:
                self._refill()
            self._leave_if_idle()
        self.egress.close()

    def _lacking(self) -> Door | None:
        """A door at which too few wait, the last used first."""
        doors = sorted(self.doors.values(), key=lambda door: -door.last_used)
        return next((door for door in doors if len(door.spares) < _SPARES and not door.fault), None)

    def _refill(self) -> None:
        """Fork one more waiting monitor, while nobody asks for anything."""
        if door := self._lacking():
            try:
                self._wait_at(door)
            except (RuntimeFault, OSError) as fault:  # the next caller is told, and then it is tried again
                door.fault = fault

    def _wait_at(self, door: Door) -> None:
        spare = self._fork_monitor(door.network, door)
        self.selector.register(spare.channel, selectors.EVENT_READ, lambda: self._taken(door, spare))
        if not door.spares:
            self.selector.unregister(door.listener)
        door.spares.append(spare)

    def _taken(self, door: Door, spare: Spare) -> None:
        """A waiting monitor tells which order it took from a caller, or has been killed."""
        try:
            message = spare.channel.receive()
        except (OSError, RuntimeFault):
            message = None
        self.last_used = door.last_used = time.monotonic()
        self._dismiss(door, spare)
        if message is None:  # none is made anew before somebody asks: it might be killed again and again
            door.fault = RuntimeFault("wait", "for an order", "a waiting process was killed")
        if message and message.get("code") != self.code:
            self._quit()
        elif message:
            with suppress(RuntimeFault):  # the monitor tells its caller what is wrong with the order, and ends
                self._count(spare.pid, message)

    def _dismiss(self, door: Door, spare: Spare) -> None:
        """A monitor waits at *door* no more; one that has no order gives back what it prepared."""
        self.selector.unregister(spare.channel)
        spare.channel.close()
        door.spares.remove(spare)
        if not door.spares:
            self.selector.register(door.listener, selectors.EVENT_READ, lambda: self._accept(door.listener))

    def _leave_if_idle(self) -> None:
        idle = not self.monitors and not self.workers and time.monotonic() - self.last_used > self.idle
        if idle or not os.path.isdir(self.store):
            self._quit()

    def _quit(self) -> None:
        if not self.quitting:
            self.quitting = True
            os.unlink(os.path.join(self.runtime, "launcher.sock"))
            self.selector.unregister(self.listener)
            self.listener.close()
            for door in self.doors.values():
                for spare in list(door.spares):
                    self._dismiss(door, spare)
                self.selector.unregister(door.listener)
                door.close()

    # -- requests ----------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return  # a monitor that waits at this door was faster
        channel = Channel(sock)
        sock.settimeout(5)
        self.last_used = time.monotonic()
        try:
            if peer_uid(sock) != os.getuid():
                return
            message = channel.receive()
            if message:
                self._answer(channel, message)
        except (OSError, RuntimeFault) as error:
            fault = error if isinstance(error, RuntimeFault) else RuntimeFault("serve", "", str(error))
            try:
                channel.send({"event": "fault", "fault": fault.to_dict()})
            except OSError:
                pass
        finally:
            if channel not in self.workers.values():
                channel.close()

    def _answer(self, channel: Channel, message: Message) -> None:
        operation = message.get("op")
        if message.get("code", self.code) != self.code:
            channel.send({"event": "outdated"})
            self._quit()
        elif operation == "start":
            self._start(channel, message)
        elif operation == "info":
            channel.send({"event": "info", **self.info()})
        elif operation == "delete":
            self._delete(channel, message)
        elif operation == "root":
            self._open_root(channel, message)
        elif operation == "sweep":
            swept = sweep.sweep(self.store, self.runtime, self.hierarchy)
            channel.send({"event": "done", "recovered": swept})
        elif operation == "quit":
            self._quit()
            channel.send({"event": "done"})
        else:
            raise RuntimeFault("serve", str(operation), "unknown request")

    def info(self) -> dict[str, Any]:
        """What ``doctor`` and ``info`` show of this launcher."""
        return {
            "pid": os.getpid(),
            "rung": self.rung,
            "cgroup": {"kind": self.hierarchy.kind, "why": self.hierarchy.why, "mend": self.hierarchy.mend},
            "network": self.egress.report(),
            "containers": len(self.monitors),
            "prepared": {network: len(door.spares) for network, door in self.doors.items()},
        }

    def _start(self, channel: Channel, message: Message) -> None:
        """Hand an order on to a monitor: no caller came to one's door."""
        request = Request.parse(message)
        stdio = channel.take_fds()
        try:
            spare = self._fork_monitor(request.network)
            door = self._door(request.network)
            door.last_used, door.fault = time.monotonic(), None
            try:
                spare.channel.send(message, (channel.fileno(), *stdio))
            finally:
                spare.channel.close()
            self._count(spare.pid, message)
        finally:
            for fd in stdio:
                os.close(fd)

    def _count(self, pid: int, message: Message) -> None:
        """A monitor has got its order; the next ones are prepared for the same limits."""
        self.monitors[pid] = Request.parse(message)
        if "config" in message and self.hierarchy.kind != "none":
            resources = orders.resources_of(message)
            self.machine.limits = resources if orders.usual(resources) else {}

    def _door(self, network: str) -> Door:
        if network not in self.doors:
            door = self.doors[network] = Door(self.runtime, network)
            self.selector.register(door.listener, selectors.EVENT_READ, lambda: self._accept(door.listener))
        return self.doors[network]

    def _fork_monitor(self, network: str, door: Door | None = None) -> Spare:
        netns = self.egress.take() if network == "default" else -1
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_monitor(Channel(theirs), network, netns, door.listener if door else None)
        theirs.close()
        if netns >= 0:
            os.close(netns)
        return Spare(pid, Channel(ours))

    def _become_monitor(self, channel: Channel, network: str, netns: int, listener: socket.socket | None) -> None:
        code = 1
        try:
            self._forget_everything(listener)
            code = prepared.wait_and_run(self.machine, channel, listener, network, netns)
        except BaseException:  # noqa: BLE001 - the log of the launcher is the last place to say it
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def _forget_everything(self, kept: socket.socket | None) -> None:
        """Close what belongs to the launcher alone, but for the one listener at which this process waits."""
        signal.set_wakeup_fd(-1)
        self.selector.close()
        self.listener.close()
        self.egress.forget()
        for door in self.doors.values():
            for spare in door.spares:
                spare.channel.close()
            if door.listener is not kept:
                door.listener.close()

    def _delete(self, channel: Channel, message: Message) -> None:
        """Remove a bundle or a layer in a child: its files may belong to ids that only this namespace has."""
        path = self._inside(message, "remove")
        if state.is_running(state.read(path)):
            raise RuntimeFault("remove", path, "the container is running", "Stop it first.")
        self._in_child(channel, "remove", path, lambda: trees.remove(path))

    def _open_root(self, channel: Channel, message: Message) -> None:
        """Give the caller a descriptor of a container's merged root, opened in a child: it changes namespaces."""
        path = self._inside(message, "open root")
        machine = self.machine

        def open_root() -> int:
            return merged.open_root(path, machine.stage, machine.in_user_namespace)

        self._in_child(channel, "open root", path, open_root)

    def _inside(self, message: Message, step: str) -> str:
        path = os.path.realpath(str(message["path"]))
        if not path.startswith(os.path.realpath(self.store) + "/"):
            raise RuntimeFault(step, path, "it lies outside the store")
        return path

    def _in_child(self, channel: Channel, step: str, path: str, action: Callable[[], int | None]) -> None:
        """Do *action* in a child, which tells the caller ``done`` (with the descriptor it gave) or the fault."""
        pid = os.fork()
        if pid:
            self.workers[pid] = channel
            return
        try:
            fd = action()
            channel.send({"event": "done"}, () if fd is None else (fd,))
        except OSError as error:
            fault = RuntimeFault(step, path, error.strerror or str(error), "", error.errno or 0)
            channel.send({"event": "fault", "fault": fault.to_dict()})
        except RuntimeFault as fault:
            channel.send({"event": "fault", "fault": fault.to_dict()})
        finally:
            os._exit(0)

    def _reap(self, wake: socket.socket) -> None:
        try:
            wake.recv(4096)
        except BlockingIOError:
            pass
        self.last_used = time.monotonic()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        if pid in self.workers:
            self.workers.pop(pid).close()
        request = self.monitors.pop(pid, None)
        if request and status:
            sweep.recover(request.bundle, self.runtime, request.remove)
        if status:
            self.hierarchy.sweep(state.LivingMonitors())
        for door in self.doors.values():
            for spare in [spare for spare in door.spares if spare.pid == pid]:
                self._dismiss(door, spare)
        if self.egress.ended(pid) and "default" in self.doors:
            for spare in list(self.doors["default"].spares):
                self._dismiss(self.doors["default"], spare)  # what they joined leads nowhere any more
