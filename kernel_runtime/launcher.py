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
from dataclasses import dataclass, field
from typing import Any

from kernel_runtime import cgroups, egress, monitor, programs, state, sweep, trees
from kernel_runtime.errors import RuntimeFault
from kernel_runtime.probe import Rung
from kernel_runtime.protocol import Channel, Message, listen, peer_uid

IDLE_SECONDS = 600.0
_TICK = 5.0
_QUIET = 0.003  # seconds without a request before a monitor is prepared: not while one starts


@dataclass
class Spare:
    """A monitor that waits for a container with a certain network."""

    pid: int
    network: str
    channel: Channel


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
    monitors: dict[int, monitor.Request] = field(default_factory=dict)
    workers: dict[int, Channel] = field(default_factory=dict)
    spares: list[Spare] = field(default_factory=list)
    last_network: str = ""
    quitting: bool = False

    def prepare(self) -> None:
        """Find the cgroup, end what earlier launchers left behind, take the socket."""
        name = os.path.basename(self.runtime)
        self.hierarchy = cgroups.find(name)
        sweep.sweep(self.store, self.runtime, self.hierarchy)
        self.egress = egress.Egress(self.rung, self.site, self.runtime)
        stage = os.path.join(self.runtime, "stage")
        os.makedirs(stage, mode=0o700, exist_ok=True)
        self.machine = monitor.Machine(self.rung, self.runtime, self.hierarchy, stage)
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
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(wake, selectors.EVENT_READ, lambda: self._reap(wake))
        gc.collect()
        gc.freeze()
        while not self.quitting:
            events = self.selector.select(_QUIET if self._needs_spare() else _TICK)
            for key, _ in events:
                key.data()
            if not events and not self.quitting:
                self._refill()
            self._leave_if_idle()
        for spare in self.spares:
            spare.channel.close()
        self.egress.close()

    def _refill(self) -> None:
        """Fork one more waiting monitor, while nobody asks for anything, for the network that was last asked for."""
        if self._needs_spare():
            self.spares.append(self._fork_monitor(self.last_network))

    def _needs_spare(self) -> bool:
        return bool(self.last_network) and all(spare.network != self.last_network for spare in self.spares)

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

    # -- requests ----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        sock, _ = self.listener.accept()
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
        }

    def _start(self, channel: Channel, message: Message) -> None:
        request = monitor.Request.parse({name: value for name, value in message.items() if name not in ("op", "code")})
        stdio = channel.take_fds()
        self.last_network = request.network
        try:
            while True:
                spare = self._take_spare(request.network)
                try:
                    spare.channel.send(request.to_dict(), (channel.fileno(), *stdio))
                    break
                except OSError:  # it was killed while it waited
                    spare.channel.close()
            spare.channel.close()
            self.monitors[spare.pid] = request
        finally:
            for fd in stdio:
                os.close(fd)

    def _take_spare(self, network: str) -> Spare:
        for spare in self.spares:
            if spare.network == network:
                self.spares.remove(spare)
                return spare
        return self._fork_monitor(network)

    def _fork_monitor(self, network: str) -> Spare:
        netns = self.egress.take() if network == "default" else -1
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_monitor(Channel(theirs), network, netns)
        theirs.close()
        if netns >= 0:
            os.close(netns)
        return Spare(pid, network, Channel(ours))

    def _become_monitor(self, channel: Channel, network: str, netns: int) -> None:
        code = 1
        try:
            self._forget_everything()
            code = monitor.wait_and_run(self.machine, channel, network, netns)
        except BaseException:  # noqa: BLE001 - the log of the launcher is the last place to say it
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def _forget_everything(self) -> None:
        """Close what belongs to the launcher alone."""
        signal.set_wakeup_fd(-1)
        self.selector.close()
        self.listener.close()
        self.egress.forget()
        for spare in self.spares:
            spare.channel.close()

    def _delete(self, channel: Channel, message: Message) -> None:
        """Remove a bundle or a layer in a child: its files may belong to ids that only this namespace has."""
        path = os.path.realpath(str(message["path"]))
        if not path.startswith(os.path.realpath(self.store) + "/"):
            raise RuntimeFault("remove", path, "it lies outside the store")
        found = state.read(path)
        if state.is_running(found):
            raise RuntimeFault("remove", path, "the container is running", "Stop it first.")
        pid = os.fork()
        if pid == 0:
            self._remove(channel, path)
        self.workers[pid] = channel

    @staticmethod
    def _remove(channel: Channel, path: str) -> None:
        try:
            trees.remove(path)
            channel.send({"event": "done"})
        except OSError as error:
            fault = RuntimeFault("remove", path, error.strerror or str(error), "", error.errno or 0)
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
        for spare in [spare for spare in self.spares if spare.pid == pid]:
            spare.channel.close()
            self.spares.remove(spare)
        self.egress.ended(pid)
