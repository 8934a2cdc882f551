"""The time of a monitor whose container is made ready before anybody has asked for it: build it, wait for its caller.

Its folder lies in ``waiting/`` of the store until a caller takes it (:mod:`waiting`); its door is the container's own
socket, which nobody else knows. Whatever ends this process first, the launcher's sweep gives back what it made.

Not here: what is made ready (:mod:`first`), for which kinds (:mod:`launcher`), and the container's life
(:mod:`monitor`).
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

from kernel_runtime import children, first, kinds, programs, rehearsal, spec, state, trees, waiting
from kernel_runtime.cgroups import Cgroup
from kernel_runtime.errors import ProtocolError, RuntimeFault
from kernel_runtime.monitor import Machine, Monitor
from kernel_runtime.orders import Request
from kernel_runtime.protocol import Channel, Message, listen

_LOOK = 30.0  # seconds between two looks whether it was taken
_PATIENCE = 5.0  # seconds for a caller that has taken it to give its order


@dataclass(frozen=True)
class Kind:
    """What the next container shall be like: a :class:`kinds.Split` without anybody's own part."""

    name: str
    common: kinds.Config

    @property
    def network(self) -> str:
        """``none``, ``host`` or ``default``."""
        return str(self.common["annotations"][spec.NETWORK])


def wait_and_run(machine: Machine, launcher: Channel, kind: Kind, netns_fd: int) -> int:
    """The whole life of a monitor process: make a container of *kind* ready, wait for its caller, run it."""
    made = _Ready(replace(machine, limits=kind.common["linux"].get("resources") or {}), kind)
    try:
        made.make(netns_fd)
        order = made.wait(launcher)
    except (RuntimeFault, OSError) as fault:  # the layers are gone, the disk is full: who asks the next time is told
        print(f"make ready: {fault}", file=sys.stderr)
        order = None
    launcher.close()
    if order is None:
        made.give_back()
        return 0
    return made.run(*order)


class _Ready:
    """One container that waits, and what was made for it."""

    def __init__(self, machine: Machine, kind: Kind) -> None:
        self._machine, self._kind, self._id = machine, kind, os.urandom(32).hex()
        self._folder = waiting.place(machine.store, self._id)
        self._socket = state.monitor_socket(machine.runtime, self._id)
        self._group: Cgroup | None = None
        self._child: children.Child | None = None
        self._listener: socket.socket | None = None

    def make(self, netns_fd: int) -> None:
        """Folder, cgroup, socket, first process.

        Raises:
            RuntimeFault, OSError: it can't be made; :meth:`give_back` the rest.
        """
        os.mkdir(self._folder, 0o700)
        for name in ("upper", "work"):
            os.mkdir(f"{self._folder}/{name}")
            os.chmod(f"{self._folder}/{name}", 0o755)  # noqa: S103 - / has the mode of its writable layer
        config = self._config({"args": ["true"], "env": [], "texts": {}}, self._folder)
        if self._machine.hierarchy.kind != "none":
            self._group = self._machine.hierarchy.create(state.group_id(), self._machine.limits)
        procs_files = self._group.procs_files if self._group else ()
        self._listener = listen(self._socket)
        parsed = spec.parse(programs.fill_in(config))
        self._child = first.make_ready(self._machine, parsed, self._folder, netns_fd, procs_files, self._listener)
        if netns_fd >= 0:
            os.close(netns_fd)
        rehearsal.of_monitor(self._group)

    def _config(self, own: kinds.Config, bundle: str) -> kinds.Config:
        return kinds.joined(self._kind.common, own, self._id, bundle)

    def wait(self, launcher: Channel) -> tuple[Message, list[int]] | None:
        """The order that the first process has taken, and its descriptors; ``None`` once nobody will give one.

        The launcher sends nothing: it lets go of this one, or has ended. One that a caller has taken waits on for it.
        """
        assert self._child is not None
        poll, patience = select.poll(), _LOOK
        poll.register(launcher, select.POLLIN)
        poll.register(self._child.channel, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(patience * 1000)]
            if self._child.channel.fileno() in ready:
                if (message := self._hear(launcher)) is not None:
                    return message if message[0] else None
            elif launcher.fileno() in ready:
                if self._withdraw():
                    return None
                poll.unregister(launcher)
                patience = _PATIENCE
            elif patience == _PATIENCE:
                return None  # its caller has ended before it said anything
            elif not os.path.isdir(self._folder):
                patience = _PATIENCE

    def _withdraw(self) -> bool:
        """Take the container away, so that no caller gets it; whether none has."""
        gone = trees.put_aside(self._folder)
        withdrawn, self._folder = gone != self._folder, gone
        return withdrawn

    def _hear(self, launcher: Channel) -> tuple[Message, list[int]] | None:
        """An order; an empty one once the first process is gone; ``None`` for other news of it."""
        assert self._child is not None
        line = self._child.channel.receive_line()
        message = json.loads(line) if line else {}
        if "fault" in message:
            raise RuntimeFault.from_dict(message["fault"])
        if "ready" in message:
            self._child.is_ready()
            self._publish()
            return None
        if line:
            with suppress(OSError):  # it has just been killed: the next one finds this container in the store
                launcher.send_line(line)
        fds = self._child.channel.take_fds()
        return (message, fds) if not message or message["code"] == self._machine.code else None

    def _publish(self) -> None:
        """From now on callers find it."""
        place = waiting.place(self._machine.store, self._id, self._kind.name)
        os.rename(self._folder, place)
        self._folder = place

    def run(self, message: Message, fds: list[int]) -> int:
        """Be the monitor of the container that *message* orders."""
        assert self._child is not None
        caller, stdio = Channel(socket.socket(fileno=fds[0])), fds[1:]
        try:
            request = Request.parse(message)
            message = {**message, "config": self._config(message["own"], request.bundle)}
        except (ProtocolError, KeyError) as fault:
            told = fault if isinstance(fault, ProtocolError) else ProtocolError("start", "own", "it is missing")
            self.give_back()  # first: once told, the caller may start the container anew
            with suppress(OSError):
                caller.send({"event": "fault", "fault": told.to_dict()})
            return 0
        return Monitor(self._machine, request, caller, self._child, message, stdio).run(self._group, self._listener)

    def give_back(self) -> None:
        """Everything but a folder that a caller has taken: that is the caller's."""
        self._withdraw()  # nobody must take what is half gone
        if self._listener:
            state.remove(self._socket)  # before a caller sees an end, and starts the container anew
            self._listener.close()
        if self._child:
            self._child.kill()
            self._child.let_go_of_mounts()
        trees.remove(self._folder)
        if self._group:
            self._group.destroy()
