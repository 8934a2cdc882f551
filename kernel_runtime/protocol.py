"""What callers, launcher and monitors say to each other: one JSON object per line over a private unix socket.

Descriptors travel with the first line (SCM_RIGHTS). Sockets are files in a folder of mode 0700, never abstract
(CVE-2020-15257), and both ends check the other's uid (SO_PEERCRED).

A request is ``{"op": …}``; an answer ``{"event": …}``. Events of a container: ``started``, ``notice``, ``exit``,
``fault``.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import Any

from kernel_runtime.errors import ProtocolError

MOST_BYTES = 8 * 1024 * 1024
_CHUNK = 65536
_MOST_FDS = 8

Message = dict[str, Any]


class Channel:
    """One end of a connection: whole messages in and out, with descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""
        self.fds: list[int] = []

    def fileno(self) -> int:
        """The descriptor of the socket, for selectors."""
        return self.socket.fileno()

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send one message; the descriptors arrive with it.

        Raises:
            OSError: the other end is gone.
        """
        self.send_line(json.dumps(message, separators=(",", ":")).encode(), fds)

    def send_line(self, line: bytes, fds: tuple[int, ...] = ()) -> None:
        """Send a message that is encoded already."""
        data = line + b"\n"
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            sent = self.socket.sendmsg([data], [rights])
            data = data[sent:]
        if data:
            self.socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message, ``None`` at the end of the connection; waits as the socket's timeout allows.

        Descriptors that came along are appended to :attr:`fds`, close-on-exec; the caller owns them.
        """
        line = self.receive_line()
        return None if line is None else _decoded(line)

    def receive_line(self) -> bytes | None:
        """The same, not decoded: for whoever passes it on."""
        while b"\n" not in self._buffer:
            if not self.fill():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def fill(self) -> bool:
        """Read once from the socket; ``False`` at its end."""
        space = socket.CMSG_SPACE(_MOST_FDS * 4)
        data, ancillary, _, _ = self.socket.recvmsg(_CHUNK, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % 4])
                self.fds.extend(received)
        self._buffer += data
        if len(self._buffer) > MOST_BYTES:
            raise ProtocolError("read message", "", f"longer than {MOST_BYTES} bytes")
        return bool(data)

    @property
    def has_message(self) -> bool:
        """Whether a whole message has been read from the socket already: a selector would wait for it in vain."""
        return b"\n" in self._buffer

    def pop(self) -> Message | None:
        """A message that has arrived whole, or ``None``."""
        if not self.has_message:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return _decoded(line)

    def take_fds(self) -> list[int]:
        """The descriptors received so far; the caller must close them."""
        fds, self.fds = self.fds, []
        return fds

    def __enter__(self) -> Channel:
        """The channel itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took."""
        for fd in self.take_fds():
            os.close(fd)
        self.socket.close()


def _decoded(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ProtocolError("read message", "", str(error)) from error
    if not isinstance(message, dict):
        raise ProtocolError("read message", "", "not an object")
    return message


def door_path(runtime: str, network: str) -> str:
    """Where a prepared monitor with a certain network takes the next order."""
    return os.path.join(runtime, f"{network}.door")


def peer_uid(sock: socket.socket) -> int:
    """The user at the other end (SO_PEERCRED), as this user namespace sees the id."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iii", credentials)[1])


def listen(path: str) -> socket.socket:
    """A listening socket at *path*, mode 0600, close-on-exec; an old one is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    previous = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(previous)
    sock.listen(512)
    return sock


def inode(path: str) -> int:
    """Of the socket at *path*, to tell later whether another process has put its own there; 0 where there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def connect(path: str, timeout: float | None = None) -> Channel:
    """Connect to *path*.

    Raises:
        OSError: nobody listens there.
        ProtocolError: somebody else's process does.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
        if peer_uid(sock) != os.getuid():
            raise ProtocolError("connect", path, "the socket belongs to another user")
    except BaseException:
        sock.close()
        raise
    return Channel(sock)
