"""How an order to run a container reaches a process that was prepared for it before it was known.

Two ways: from the launcher by way of the monitor; or at a *door*, a socket at which callers ask for a container with a
certain network. There the container's first process takes the order itself, as it has the longest way to go, and passes
it on to its monitor, which tells the launcher.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kernel_runtime import programs, spec
from kernel_runtime.errors import ProtocolError
from kernel_runtime.protocol import Channel, Message, peer_uid

NETWORKS = ("none", "host", "default")
NO_LIMITS = {"pids": {"limit": -1}}
_PATIENCE = 5.0  # seconds for a caller to say what it wants


@dataclass
class Request:
    """What the caller asked for besides config.json; field names are those of the message."""

    bundle: str
    id: str
    owned: bool = False
    remove: bool = False
    log: bool = False
    log_max_size: int = 10 * 1024 * 1024
    log_max_file: int = 1
    timeout: float = 0.0
    stop_signal: int = signal.SIGTERM
    explain: bool = False
    network: str = "none"
    terminal: bool = False
    stdin: bool = False  # keep standard input open for those who attach (-i)
    once: bool = False  # nobody will ask for one like it: none is made ready
    stdin_once: bool = False  # the end of the first one's input is the end of the container's

    @staticmethod
    def parse(message: Message) -> Request:
        """Check a ``start`` message.

        Raises:
            ProtocolError: a field is missing or makes no sense.
        """
        known = {name: message[name] for name in Request.__dataclass_fields__ if name in message}
        try:
            request = Request(**known)
        except TypeError as error:
            raise ProtocolError("start", "", str(error)) from error
        if request.network not in NETWORKS:
            raise ProtocolError("start", f"network {request.network!r}", f"known are {', '.join(NETWORKS)}")
        return request


def config_of(message: Message) -> spec.Spec:
    """The config.json of an order: it came along, or lies in the bundle.

    Raises:
        SpecError: it is malformed, or missing.
    """
    path = os.path.join(message["bundle"], "config.json")
    return spec.parse(programs.fill_in(message["config"]), path) if "config" in message else spec.load(path)


def resources_of(message: Message) -> Mapping[str, Any]:
    """``linux.resources`` of an order."""
    try:
        found = message["config"]["linux"]["resources"]
    except (KeyError, TypeError):
        found = None
    return found if isinstance(found, dict) else config_of(message).resources


def usual(resources: Mapping[str, Any]) -> bool:
    """Whether these limits may be set before the order is known: all that :data:`NO_LIMITS` takes back."""
    return resources.keys() == NO_LIMITS.keys()


def take(channel: Channel, door: socket.socket | None, code: str) -> tuple[Message, list[int]] | None:
    """Wait for an order: one that comes on *channel*, or from a caller at *door*; that one is passed on to *channel*.

    Several processes may wait at one door: the kernel wakes one of them.

    Args:
        code: what a caller of this very code says; another one is told ``outdated``, and so is *channel*.

    Returns:
        The message and the descriptors that came along, the caller's own first; ``None`` at the channel's end.
    """
    with select.epoll() as poll:
        poll.register(channel, select.EPOLLIN)
        if door:
            poll.register(door, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if channel.fileno() in ready:
                message = channel.receive()
                return (message, channel.take_fds()) if message else None
            if door and (order := _hear(door, channel, code)):
                return order


def _hear(door: socket.socket, channel: Channel, code: str) -> tuple[Message, list[int]] | None:
    try:
        sock, _ = door.accept()
    except BlockingIOError:
        return None  # another was faster
    caller = Channel(sock)
    sock.settimeout(_PATIENCE)
    line, message = _order_of(caller, peer_uid(channel.socket))
    if message.get("code") != code:
        with caller, suppress(OSError):  # it may have gone
            if line:
                channel.send_line(line)
                caller.send({"event": "outdated"})
        return None
    sock.setblocking(True)
    fds = [sock.detach(), *caller.take_fds()]
    channel.send_line(line, tuple(fds))
    return message, fds


def _order_of(caller: Channel, owner: int) -> tuple[bytes, Message]:
    """What the caller says, as it came and decoded; nothing where it is not *owner*'s or makes no sense.

    The owner is who made this process's own channel: it may have become another user, in another user namespace.
    """
    try:
        line = caller.receive_line() if peer_uid(caller.socket) == owner else None
        message = json.loads(line or b"{}")
    except (OSError, ValueError, ProtocolError):
        return b"", {}
    return (line or b"", message) if isinstance(message, dict) else (b"", {})
