"""What is typed, on its way from the user's terminal into a container; Ctrl-P Ctrl-Q on the way leaves it, as docker.

It goes through a pipe of ours: the runtime never has the terminal itself, and takes no key that is meant for the shell
once we have left. Not here: the terminal's modes and signals (``terminal``).
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_containers.run.runtime import Connection

CTRL_P_CTRL_Q = b"\x10\x11"
_CHUNK = 4096


class DetachKeys:
    """Looks for a sequence of keys; a part of it is held back until the next key tells (moby's term/proxy.go)."""

    def __init__(self, sequence: bytes = CTRL_P_CTRL_Q) -> None:
        self._sequence, self._matched, self.found = sequence, 0, False

    def feed(self, data: bytes) -> bytes:
        """*data* as far as it is for the container.

        >>> keys = DetachKeys()
        >>> keys.feed(b"a\\x10"), keys.feed(b"b\\x10\\x10"), keys.feed(b"\\x11c"), keys.found
        (b'a', b'\\x10b\\x10', b'', True)
        """
        passed = bytearray()
        for key in data if self._sequence else b"":
            if key == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    self.found = True
                    return bytes(passed)
                continue
            passed += self._sequence[: self._matched]
            self._matched = int(key == self._sequence[0])
            if not self._matched:
                passed.append(key)
        return bytes(passed) if self._sequence else data


class Typing:
    """Copies a descriptor into a pipe while it waits for the end of the program that reads the pipe.

    Args:
        source: where the keys come from.
        keys: what leaves the container; an empty sequence for nothing.
    """

    def __init__(self, source: int, keys: DetachKeys) -> None:
        self._source, self._keys = source, keys
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._pending = b""

    @property
    def detached(self) -> bool:
        """Whether the user has left the container."""
        return self._keys.found

    def follow(self, connection: Connection) -> int:
        """The program's exit code; 0 where the user leaves first."""
        self._close_reader()
        while True:
            ready = [] if connection.has_event else self._wait(connection.fileno())
            if connection.has_event or connection.fileno() in ready:
                code = _exit_code(connection)
                if code is not None:
                    return code
            elif self._writer in ready:
                self._write()
            elif self._source in ready:
                self._read()
            if self.detached:
                return _leave(connection)

    def close(self) -> None:
        """Close the pipe: the program reads the end of its input."""
        self._close_reader()
        self._end()

    def _wait(self, news: int) -> list[int]:
        poll = select.poll()
        poll.register(news, select.POLLIN)
        if self._pending:
            poll.register(self._writer, select.POLLOUT)
        elif self._source >= 0:
            poll.register(self._source, select.POLLIN)
        return [fd for fd, _ in poll.poll()]

    def _read(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except OSError:
            data = b""
        if data:
            self._pending += self._keys.feed(data)
        else:
            self._end()

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self._writer, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # the program has closed its input
            self._end()

    def _end(self) -> None:
        self._source, self._pending = -1, b""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def _close_reader(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


def _exit_code(connection: Connection) -> int | None:
    """The exit code, if that is what the next event tells."""
    event = connection.next_event()
    if event["event"] == "gone":
        return 137  # its monitor was killed
    return int(event["exitCode"]) if event["event"] == "exit" else None


def _leave(connection: Connection) -> int:
    """Let the container go on without us; 0, or its exit code where it has just ended."""
    from jupyter_containers.errors import Conflict
    from jupyter_containers.run.runtime import mapped

    with suppress(Conflict):  # it has just ended, which the next event tells
        mapped(connection.tell)({"op": "detach"})
    while True:
        event = connection.next_event()
        if event["event"] in ("detached", "gone"):
            return 0
        if event["event"] == "exit":
            return int(event["exitCode"])
