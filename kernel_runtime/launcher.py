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

from kernel_runtime import (
    cgroups,
    egress,
    kinds,
    merged,
    monitor,
    orders,
    prepared,
    programs,
    ready,
    state,
    sweep,
    trees,
    waiting,
)
from kernel_runtime.errors import RuntimeFault
from kernel_runtime.orders import Request
from kernel_runtime.places import KINDS, Door, Place, Shelf, Spare
from kernel_runtime.probe import Rung
from kernel_runtime.protocol import Channel, Message, inode, listen, peer_uid

IDLE_SECONDS = 600.0
_TICK = 5.0
_QUIET = 0.004  # seconds without news before a monitor is prepared: not while a container starts


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
    shelves: dict[str, Shelf] = field(default_factory=dict)  # by kind
    quitting: bool = False

    def prepare(self) -> None:
        """Find the cgroup, end what earlier launchers left behind, take the socket."""
        name = os.path.basename(self.runtime)
        self.hierarchy = cgroups.find(name)
        os.makedirs(waiting.folder(self.store), mode=0o700, exist_ok=True)
        sweep.sweep(self.store, self.runtime, self.hierarchy)
        self.egress = egress.Egress(self.rung, self.site, self.runtime)
        stage = os.path.join(self.runtime, "stage")
        os.makedirs(stage, mode=0o700, exist_ok=True)
        self.machine = monitor.Machine(self.rung, self.store, self.runtime, self.hierarchy, stage, self.code)
        programs.compile_default(self.rung is Rung.ROOTLESS_SINGLE)
        self.path = os.path.join(self.runtime, "launcher.sock")
        self.listener = listen(self.path)
        self.inode = inode(self.path)
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

    def _places(self) -> list[Place]:
        """All places, the last used first."""
        return sorted([*self.doors.values(), *self.shelves.values()], key=lambda place: -place.last_used)

    def _lacking(self) -> Place | None:
        """A place at which too few wait, the last used first."""
        return next((place for place in self._places() if place.lacks), None)

    def _refill(self) -> None:
        """Fork one more waiting monitor, while nobody asks for anything."""
        if place := self._lacking():
            try:
                self._wait_at(place)
            except (RuntimeFault, OSError) as fault:  # the next caller is told, and then it is tried again
                place.fault = fault

    def _wait_at(self, place: Place) -> None:
        spare = self._fork_monitor(place.network, place)
        self.selector.register(spare.channel, selectors.EVENT_READ, lambda: self._taken(place, spare))
        if isinstance(place, Door) and not place.spares:
            self.selector.unregister(place.listener)
        place.spares.append(spare)

    def _taken(self, place: Place, spare: Spare) -> None:
        """A waiting monitor tells which order it took from a caller, or has ended without one."""
        try:
            message = spare.channel.receive()
        except (OSError, RuntimeFault):
            message = None
        self.last_used = place.last_used = time.monotonic()
        self._dismiss(place, spare)
        if message is None:  # none is made anew before somebody asks: it might end again and again
            place.fault = RuntimeFault("wait", "for an order", "a waiting process has ended")
        if message and message.get("code") != self.code:
            self._quit()
        elif message:
            with suppress(RuntimeFault):  # the monitor tells its caller what is wrong with the order, and ends
                self._count(spare.pid, message)

    def _dismiss(self, place: Place, spare: Spare) -> None:
        """A monitor waits at *place* no more; one that has no order gives back what it prepared."""
        self.selector.unregister(spare.channel)
        spare.channel.close()
        place.spares.remove(spare)
        if isinstance(place, Door) and not place.spares:
            self.selector.register(place.listener, selectors.EVENT_READ, lambda: self._accept(place.listener))

    def _clear(self, shelf: Shelf) -> None:
        """Nothing of this kind is kept ready any more."""
        del self.shelves[shelf.kind.name]
        for spare in list(shelf.spares):
            self._dismiss(shelf, spare)

    def _leave_if_idle(self) -> None:
        idle = not self.monitors and not self.workers and time.monotonic() - self.last_used > self.idle
        # Two of one store would keep containers ready that only one of them knows: who is not found any more leaves.
        if idle or not os.path.isdir(self.store) or inode(self.path) != self.inode:
            self._quit()

    def _quit(self) -> None:
        if not self.quitting:
            self.quitting = True
            if inode(self.path) == self.inode:
                os.unlink(self.path)
            self.selector.unregister(self.listener)
            self.listener.close()
            self._rest()
            for door in self.doors.values():
                for spare in list(door.spares):
                    self._dismiss(door, spare)
                self.selector.unregister(door.listener)
                door.close()

    def _rest(self) -> None:
        """Keep nothing ready until it is asked for again."""
        for shelf in list(self.shelves.values()):
            self._clear(shelf)

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
            with suppress(OSError):
                channel.send({"event": "fault", "fault": fault.to_dict()})
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
        elif operation == "rest":
            self._rest()
            channel.send({"event": "done"})
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
            "ready": [shelf.kind.name for shelf in self.shelves.values() if shelf.spares],
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
        self._note_kind(pid, message)

    def _note_kind(self, pid: int, message: Message) -> None:
        """What was ordered is made ready for the next one; what was not ordered for longest no more."""
        if self.monitors[pid].once:
            return
        shelf = self.shelves.get(str(message.get("kind"))) or self._new_shelf(message)
        if shelf:
            shelf.last_used, shelf.fault = time.monotonic(), None
            self.shelves[shelf.kind.name] = shelf
        if len(self.shelves) > KINDS:
            self._clear(min(self.shelves.values(), key=lambda shelf: shelf.last_used))

    def _new_shelf(self, message: Message) -> Shelf | None:
        try:
            found = kinds.split(message["config"], message["id"], message["bundle"], self.code)
        except (KeyError, TypeError, AttributeError, OSError):
            return None  # the monitor tells its caller what is wrong with it
        limited_elsewhere = self.hierarchy.kind == "none" and found and found.common["linux"].get("resources")
        return Shelf(ready.Kind(found.name, found.common)) if found and not limited_elsewhere else None

    def _door(self, network: str) -> Door:
        if network not in self.doors:
            door = self.doors[network] = Door(self.runtime, network)
            self.selector.register(door.listener, selectors.EVENT_READ, lambda: self._accept(door.listener))
        return self.doors[network]

    def _fork_monitor(self, network: str, place: Place | None = None) -> Spare:
        netns = self.egress.take() if network == "default" else -1
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_monitor(Channel(theirs), network, netns, place)
        theirs.close()
        if netns >= 0:
            os.close(netns)
        return Spare(pid, Channel(ours))

    def _become_monitor(self, channel: Channel, network: str, netns: int, place: Place | None) -> None:
        code = 1
        try:
            listener = place.listener if isinstance(place, Door) else None
            self._forget_everything(listener)
            if place and place.kind:
                code = ready.wait_and_run(self.machine, channel, place.kind, netns)
            else:
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
        for channel in self.workers.values():  # their callers must notice when a worker dies
            channel.close()
        for place in self._places():
            for spare in place.spares:
                spare.channel.close()
        for door in self.doors.values():
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
            sweep.sweep_waiting(self.store, self.runtime)
        outside_gone = self.egress.ended(pid)  # what joined its namespaces leads nowhere any more
        for place in self._places():
            for spare in list(place.spares):
                if spare.pid == pid or (outside_gone and place.network == "default"):
                    self._dismiss(place, spare)
