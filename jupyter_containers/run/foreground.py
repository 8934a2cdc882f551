"""A container in the foreground: its output to the caller while it runs, interrupts to it, its end.

One loop in the caller's thread over two pipes and the monitor's socket. Not here: where the text goes (a callback) and
what is made of the end (the engine, the magics).
"""

from __future__ import annotations

import codecs
import os
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from jupyter_containers.errors import Conflict
from jupyter_containers.run.asking import WAKE, Asking, Meanwhile
from jupyter_containers.run.runtime import Connection, Exit, mapped

OnOutput = Callable[[str, str], None]

MOST_SHOWN = 10 * 1024 * 1024  # bytes; the rest is read and dropped, so that the container is not held up
_CHUNK = 65536
_LASTING = 0.005  # seconds


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
    """The caller's ends of a container's stdout and stderr, and the container's ends until it is started.

    Its stdin is empty, or what *asking* gives it.
    """

    def __init__(self, asking: Asking | None = None) -> None:
        self._asking = asking
        self.readers: list[int] = []
        self._writers: list[int] = []
        for _ in range(2):
            reader, writer = os.pipe()
            self.readers.append(reader)
            self._writers.append(writer)
        self._null = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]

    def stdio(self) -> tuple[int, int, int]:
        """The descriptors for the container."""
        stdout, stderr = self._writers
        return (self._asking.reader if self._asking else self._null[0], stdout, stderr)

    def started(self) -> None:
        """Close the container's ends here."""
        for fd in self._writers:
            os.close(fd)
        self._writers = []
        if self._asking:
            self._asking.started()

    def close(self) -> None:
        """Close whatever is open."""
        self.started()
        if self._asking:
            self._asking.close()
        for fd in (*self.readers, *self._null):
            os.close(fd)
        self.readers, self._null = [], []


class Foreground:
    """Follows a started container until its end.

    Args:
        on_output: called with ``stdout`` or ``stderr`` and text, in the calling thread.
        asking: answers the container when it waits for input.
        on_lasting: called in the calling thread once the container has run for some milliseconds; never where it ends
            sooner. What it raises ends :meth:`run`.
    """

    def __init__(
        self,
        connection: Connection,
        pipes: Pipes,
        on_output: OnOutput | None,
        asking: Asking | None = None,
        on_lasting: Callable[[], None] | None = None,
    ) -> None:
        self._connection, self._pipes, self._on_output, self._asking = connection, pipes, on_output, asking
        self._on_lasting, self._lasts_at = on_lasting, time.monotonic() + _LASTING
        self._ended: Exit | None = None
        self.outputs: list[tuple[str, str]] = []
        self.truncated = False
        self._shown = 0
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._interrupts = 0

    def notice(self, text: str) -> None:
        """Tell the caller something that the container did not say."""
        self._emit("stderr", f"[{text}]\n")

    def run(self) -> Exit:
        """Pass output on until both pipes have ended and the monitor has told the exit.

        KeyboardInterrupt is sent to the container as SIGINT, a second one kills it; it is not raised here.
        """
        self._selector = selectors.PollSelector()
        for name, fd in zip(("stdout", "stderr"), self._pipes.readers, strict=True):
            self._selector.register(fd, selectors.EVENT_READ, name)
        self._selector.register(self._connection.fileno(), selectors.EVENT_READ, "")
        while self._ended is None or len(self._selector.get_map()) > 0:
            try:
                self._step()
                self._tell_if_lasting()
                if self._asking and self._asking.is_due and self._ended is None and not self._output_waits():
                    self._ask(self._asking)
            except KeyboardInterrupt:
                self._interrupt()
        return self._ended

    def _step(self) -> None:
        if self._ended is None and self._connection.has_event:
            self._next_event()
            return
        events = self._selector.select(self._patience())
        if not events and not self._on_lasting:
            self._nothing_came()
        for key, _ in events:
            if not key.data:
                self._next_event()
            elif not self._read(key.fd, key.data):
                self._selector.unregister(key.fd)

    def _patience(self) -> float | None:
        # Once the container has ended nobody writes any more: what is not there within a second never comes.
        if self._ended is not None:
            return 1.0
        if self._on_lasting:
            return max(0.0, self._lasts_at - time.monotonic())
        return self._asking.patience if self._asking else None

    def _tell_if_lasting(self) -> None:
        if self._on_lasting and (self._ended is not None or time.monotonic() >= self._lasts_at):
            if self._ended is None:
                self._on_lasting()
            self._on_lasting = None

    def _nothing_came(self) -> None:
        if self._ended is None and self._asking:
            self._asking.look(self._connection)
            return
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)

    def _next_event(self) -> None:
        event = self._connection.next_event()
        if event["event"] == "reads" and self._asking:
            self._asking.told(bool(event["waits"]))
        elif event["event"] in ("exit", "gone"):
            self._ended = Exit.parse(event) if event["event"] == "exit" else Exit(137, "monitor killed", 9)
            self._selector.unregister(self._connection.fileno())

    def _output_waits(self) -> bool:
        """Whether something printed is not passed on yet: the prompt, maybe, which belongs before the question."""
        return any(key.data in self._decoders for key, _ in self._selector.select(0))

    def _ask(self, asking: Asking) -> None:
        """Ask the user, and pass on meanwhile what is printed: a thread does what this one did."""
        self._lasts_at = 0.0  # long enough for a person
        self._tell_if_lasting()
        with Meanwhile(self._selector, self._step, lambda: self._ended is not None):
            asking.ask()

    def _read(self, fd: int, name: str) -> bool:
        if name == WAKE:
            return False
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
        with suppress(Conflict):  # it has just ended; the loop will see that
            mapped(self._connection.tell)(message)
