"""Sockets that keep a pace and stay away from forbidden addresses; connections and pools made of them.

A registry that stalls or drips bytes would hold a plain socket for ever: each receive may be short enough and all of
them together too long. So every receive goes by a :class:`Pace`, which also ends at once when its work is cancelled.
The address is looked at when the connection stands, because a name may lead anywhere. Imports urllib3.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from jupyter_containers.image.registry.access import Timing

_TICK = 0.25  # seconds until a waiting receive looks at its pace again

Forbidden = Callable[[str], bool]


class Pace:
    """What one request and its answer may take. ``why`` says what was too slow.

    Args:
        timing: the patience.
        answer: seconds until the first byte.
        cancelled: ends everything when set.
    """

    def __init__(self, timing: Timing, answer: float, cancelled: threading.Event) -> None:
        self.why = ""
        self.patience = timing.answer  # of each piece that is sent
        self._timing, self._answer, self._cancelled = timing, answer, cancelled
        self._begun, self._bytes, self._any = time.monotonic(), 0, False

    def sent(self) -> None:
        """Something was sent: the answer is waited for from now on."""
        self._begun = time.monotonic()

    def got(self, count: int) -> None:
        """*count* bytes came."""
        self._any = True
        self._bytes += count
        self.check()

    def check(self) -> None:
        """Raise TimeoutError where it takes too long."""
        spent = time.monotonic() - self._begun
        if self._cancelled.is_set():
            self.why = "cancelled"
        elif not self._any and spent > self._answer:
            self.why = f"no answer within {self._answer:g} s"
        elif self._any and spent > self._timing.window:
            if self._bytes < self._timing.least * self._timing.window:
                self.why = f"only {self._bytes} bytes came in {spent:.0f} s"
            self._begun, self._bytes = time.monotonic(), 0
        if self.why:
            raise TimeoutError(self.why)


class _Paced:
    """What both kinds of sockets do: receive in short turns, send in longer ones."""

    pace: Pace | None = None

    def recv_into(self, *words: Any) -> int:
        """Receive, looking at the pace between turns."""
        pace = self.pace
        if pace is None:
            return int(super().recv_into(*words))  # type: ignore[misc]
        self._wait_at_most(_TICK)
        while True:
            try:
                count = int(super().recv_into(*words))  # type: ignore[misc]
            except (TimeoutError, ssl.SSLWantReadError):
                pace.check()
                continue
            pace.got(count)
            return count

    def sendall(self, *words: Any) -> None:
        """Send; no piece may take longer than the patience."""
        if self.pace is not None:
            self.pace.check()
            self._wait_at_most(self.pace.patience)
        super().sendall(*words)  # type: ignore[misc]
        if self.pace is not None:
            self.pace.sent()

    def _wait_at_most(self, seconds: float) -> None:
        if self.gettimeout() != seconds:  # type: ignore[attr-defined]
            self.settimeout(seconds)  # type: ignore[attr-defined]


class PlainSocket(_Paced, socket.socket):
    """A TCP socket with a pace."""


class TlsSocket(_Paced, ssl.SSLSocket):
    """A TLS socket with a pace; made by a context whose ``sslsocket_class`` it is."""


# Which pace belongs to the request that a thread is sending: urllib3's pools choose the connection.
_current = threading.local()


class _Guarded(HTTPConnection):
    """A connection whose address is looked at and whose requests have a pace."""

    def __init__(self, *words: Any, forbidden: Forbidden | None = None, **options: Any) -> None:
        super().__init__(*words, **options)
        self._forbidden = forbidden

    def request(self, *words: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        _give_pace(self.sock)
        super().request(*words, **options)


class _Connection(_Guarded):
    """Without TLS."""

    def connect(self) -> None:
        super().connect()
        check_address(self.sock, self._forbidden)
        if not isinstance(self.sock, _Paced):
            self.sock = PlainSocket(fileno=self.sock.detach())


class _TlsConnection(_Guarded, HTTPSConnection):
    """With TLS."""

    def connect(self) -> None:
        super().connect()
        check_address(self.sock, self._forbidden)
        self.is_verified = True  # or configured not to be: no warning at each connection


class PlainPool(HTTPConnectionPool):
    """Kept plain connections to one host."""

    ConnectionCls = _Connection


class TlsPool(HTTPSConnectionPool):
    """Kept TLS connections to one host."""

    ConnectionCls = _TlsConnection


class ForbiddenAddress(Exception):
    """A host name that an answer sent us to has an address that it must not have."""


def check_address(sock: Any, forbidden: Forbidden | None) -> None:
    """Close *sock* and raise where its other end is forbidden."""
    address = str(sock.getpeername()[0])
    if forbidden and forbidden(address):
        sock.close()
        raise ForbiddenAddress(address)


def _give_pace(sock: Any) -> None:
    if isinstance(sock, _Paced):  # it is not while a proxy is spoken to over TLS
        sock.pace = _current.pace


def going_by(pace: Pace) -> None:
    """This thread's next request goes by *pace*."""
    _current.pace = pace
