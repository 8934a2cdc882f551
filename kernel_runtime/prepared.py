"""The time of a monitor before its container is known: prepare a first process, wait for an order.

Not here: how an order travels (:mod:`orders`), what the first process prepares (:mod:`first`, :mod:`sandbox`), and
the container's own life (:mod:`monitor`).
"""

from __future__ import annotations

import json
import os
import select
import socket
from contextlib import suppress

from kernel_runtime import cgroups, first, orders, rehearsal, state
from kernel_runtime.children import Child
from kernel_runtime.errors import ProtocolError
from kernel_runtime.monitor import Machine, Monitor
from kernel_runtime.orders import Request
from kernel_runtime.protocol import Channel, Message


def wait_and_run(machine: Machine, launcher: Channel, door: socket.socket | None, network: str, netns_fd: int) -> int:
    """The whole life of a monitor process: prepare a first process, wait for an order, run that container.

    The launcher keeps such processes ready, so that a start need not wait for forks, cgroup and namespaces. The first
    process takes the order of the next caller at *door* itself. When the launcher leaves without an order, everything
    prepared is given back.
    """
    group = machine.hierarchy.create(state.group_id(), machine.limits) if machine.hierarchy.kind != "none" else None
    child = first.prepare(machine, network, netns_fd, group.procs_files if group else (), door)
    if netns_fd >= 0:
        os.close(netns_fd)
    rehearsal.of_monitor(group)
    order = _wait_for_order(machine, launcher, child, door)
    launcher.close()
    if door:
        door.close()
    if order is None:
        _give_back(group, child)
        return 0
    message, (caller, *stdio) = order
    return _run(machine, message, Channel(socket.socket(fileno=caller)), stdio, group, child)


def _run(
    machine: Machine, message: Message, caller: Channel, stdio: list[int], group: cgroups.Cgroup | None, child: Child
) -> int:
    try:
        request = Request.parse(message)
    except ProtocolError as fault:
        caller.send({"event": "fault", "fault": fault.to_dict()})
        _give_back(group, child)
        return 0
    return Monitor(machine, request, caller, child, message, stdio).run(group)


def _wait_for_order(
    machine: Machine, launcher: Channel, child: Child, door: socket.socket | None
) -> tuple[Message, list[int]] | None:
    """The next order and its descriptors, the caller's first; ``None`` once the launcher or the first process is gone.

    What the launcher hands on is passed to the first process, what that took at the door is told the launcher.
    """
    poll = select.poll()
    poll.register(launcher, select.POLLIN)
    poll.register(child.channel, select.POLLIN)
    while True:
        if not child.channel.has_message and launcher.fileno() in [fd for fd, _ in poll.poll()]:
            line = launcher.receive_line()
            if line is None:
                return None
            fds = launcher.take_fds()
            child.hand_on(line, fds)
            return json.loads(line), fds
        line = child.channel.receive_line()
        if line is None:
            return None  # it was killed, which is nothing that the next caller should be told
        message = json.loads(line)
        if "fault" in message:
            child.keep_fault(message)  # that this machine can't do it the next caller must be told
            return orders.take(launcher, door, machine.code)
        if "ready" in message:
            child.is_ready()
            continue
        with suppress(OSError):  # it has just been killed: the next one finds this container in the store
            launcher.send_line(line)
        if message["code"] == machine.code:
            return message, child.channel.take_fds()


def _give_back(group: cgroups.Cgroup | None, child: Child) -> None:
    child.kill()
    if group:
        group.destroy()
