"""A container in the foreground: its output to the caller while it runs, interrupts to it, its end.

One loop in the caller's thread over two pipes and the monitor's socket. Not here: where the text goes (a callback) and
what is made of the end (the engine, the magics).
"""

from __future__ import annotations

import codecs
import os
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from jupyter_containers.run.runtime import Connection, Exit

OnOutput = Callable[[str, str], None]

MOST_SHOWN = 10 * 1024 * 1024  # bytes; the rest is read and dropped, so that the container is not held up
_CHUNK = 65536


class Caller(Protocol):
    """One who gives a program its own descriptors, and passes on signals, keys and window sizes."""

    def ready(self) -> None:
        """The program is about to run: what is typed and signalled from now on is for it."""

    def follow(self, connection: Connection) -> int:
        """The program runs: stay until it ends. Its exit code; 0 where the caller leaves one that goes on."""


def follow(caller: Caller | None, connection: Connection) -> int:
    """The exit code of what runs on the descriptors of *caller*."""
    return caller.follow(connection) if caller else connection.wait().exit_code


class Pipes:
    """The caller's ends of a container's stdout and stderr, and the container's ends until it is started."""

    def __init__(self) -> None:
        self.readers: list[int] = []
        self._writers: list[int] = []
        for _ in range(2):
            reader, writer = os.pipe()
            self.readers.append(reader)
            self._writers.append(writer)
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def stdio(self, stdin: int | None = None) -> tuple[int, int, int]:
        """The descriptors for the container."""
        return (self._null if stdin is None else stdin, *self._writers)  # type: ignore[return-value]

    def started(self) -> None:
        """Close the container's ends here."""
        for fd in self._writers:
            os.close(fd)
        self._writers = []

    def close(self) -> None:
        """Close whatever is open."""
        self.started()
        for fd in (*self.readers, self._null):
            os.close(fd)
        self.readers, self._null = [], os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._null)


class Foreground:
    """Follows a started container until its end.

    Args:
        on_output: called with ``stdout`` or ``stderr`` and text, in the calling thread.
    """

    def __init__(self, connection: Connection, pipes: Pipes, on_output: OnOutput | None) -> None:
        self._connection, self._pipes, self._on_output = connection, pipes, on_output
        self.outputs: list[tuple[str, str]] = []
        self.truncated = False
        self._shown = 0
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._interrupts = 0

    def run(self) -> Exit:
        """Pass output on until both pipes have ended and the monitor has told the exit.

        KeyboardInterrupt is sent to the container as SIGINT, a second one kills it; it is not raised here.
        """
        selector = selectors.PollSelector()
        for name, fd in zip(("stdout", "stderr"), self._pipes.readers, strict=True):
            selector.register(fd, selectors.EVENT_READ, name)
        selector.register(self._connection.fileno(), selectors.EVENT_READ, "")
        ended: Exit | None = None
        while ended is None or len(selector.get_map()) > 0:
            try:
                ended = self._step(selector, ended)
            except KeyboardInterrupt:
                self._interrupt()
        return ended

    def _step(self, selector: selectors.BaseSelector, ended: Exit | None) -> Exit | None:
        if ended is None and self._connection.has_event:
            ended = self._next_event()
            if ended:
                selector.unregister(self._connection.fileno())
            return ended
        # Once the container has ended nobody writes any more: what is not there within a second never comes.
        events = selector.select(None if ended is None else 1.0)
        if not events:
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)
        for key, _ in events:
            if key.data:
                if not self._read(key.fd, key.data):
                    selector.unregister(key.fd)
                continue
            ended = self._next_event()
            if ended:
                selector.unregister(key.fd)
        return ended

    def _next_event(self) -> Exit | None:
        """The exit, if that is what the next event tells."""
        event = self._connection.next_event()
        if event["event"] == "exit":
            return Exit.parse(event)
        return Exit(137, "monitor killed", 9) if event["event"] == "gone" else None

    def _read(self, fd: int, name: str) -> bool:
        data = os.read(fd, _CHUNK)
        text = self._decoders[name].decode(data, final=not data)
        if text:
            self._pass_on(name, text, len(data))
        return bool(data)

    def _pass_on(self, name: str, text: str, size: int) -> None:
        if self._shown >= MOST_SHOWN:
            if not self.truncated:
                self.truncated = True
                notice = f"\n[more than {MOST_SHOWN >> 20} MiB of output: the rest is not shown]\n"
                self._emit("stderr", notice)
            return
        self._shown += size
        self.outputs.append((name, text))
        self._emit(name, text)

    def _emit(self, name: str, text: str) -> None:
        if self._on_output:
            self._on_output(name, text)

    def _interrupt(self) -> None:
        self._interrupts += 1
        message: dict[str, Any] = {"op": "interrupt"}
        if self._interrupts > 1:
            message = {"op": "stop", "signal": 9, "reason": "interrupted"}
        with suppress(Exception):  # it has just ended; the loop will see that
            self._connection.tell(message)
