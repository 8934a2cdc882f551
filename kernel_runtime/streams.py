"""Standard streams of a container: handed through, or pumped into the log and to whoever is attached.

* neither log nor terminal: the container writes into the caller's own descriptors, the monitor sees nothing;
* log: pipes, copied into the log and to every attached descriptor;
* terminal: the same from the master of a pseudo terminal, and from the caller's stdin to it.

A reader that does not keep up stops the pump, never fills memory; one that is gone is dropped.
"""

from __future__ import annotations

import os
import select
import selectors
from typing import TYPE_CHECKING

from kernel_runtime import console
from kernel_runtime.logs import JsonLog

if TYPE_CHECKING:
    from kernel_runtime.orders import Request

_CHUNK = 4096  # PIPE_BUF: a write of this size to a pipe that polls writable does not block
_END_OF_FILE = b"\x04"


class Pump:
    """Copies one descriptor to others and to the log, for as long as it lasts."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        source: int,
        sinks: list[int],
        log: JsonLog | None = None,
        name: str = "",
    ) -> None:
        self._selector, self.source, self.sinks, self._log, self._name = selector, source, sinks, log, name
        self._waits_for = -1
        selector.register(source, selectors.EVENT_READ, self.step)

    def step(self) -> None:
        """Copy one chunk, if every sink is ready for it."""
        for sink in self.sinks:
            if not _is_writable(sink):
                self._pause(sink)
                return
        if not self._copy():
            self.stop()

    def drain(self) -> None:
        """Copy what is left, now that all writers have ended; a sink that is not ready gets no more."""
        self._resume()
        while self.source >= 0:
            self.sinks = [sink for sink in self.sinks if _is_writable(sink, 1000)]
            if not _is_readable(self.source) or not self._copy():
                self.stop()

    def stop(self) -> None:
        """End the pump and close the source; the sinks belong to others."""
        self._resume()
        if self.source >= 0:
            self._selector.unregister(self.source)
            os.close(self.source)
            self.source = -1

    def _copy(self) -> bool:
        try:
            data = os.read(self.source, _CHUNK)
        except OSError:  # EIO: the last process has left the terminal
            return False
        if self._log and data:
            self._log.write(self._name, data)
        for sink in list(self.sinks):
            try:
                os.write(sink, data)
            except OSError:
                self.sinks.remove(sink)
        return bool(data)

    def _pause(self, sink: int) -> None:
        self._selector.unregister(self.source)
        self._waits_for = sink
        try:
            self._selector.register(sink, selectors.EVENT_WRITE, self._resume)
        except KeyError:  # another pump waits for the same sink already
            self._waits_for = -1
            self.sinks.remove(sink)
            self._selector.register(self.source, selectors.EVENT_READ, self.step)

    def _resume(self) -> None:
        if self._waits_for >= 0:
            self._selector.unregister(self._waits_for)
            self._waits_for = -1
            self._selector.register(self.source, selectors.EVENT_READ, self.step)


class Terminal:
    """The master of a pseudo terminal with the caller's descriptors: stdin to it, its output to stdout and the log."""

    def __init__(
        self, selector: selectors.BaseSelector, master: int, fds: list[int], log: JsonLog | None = None
    ) -> None:
        self.master, self._fds, self._selector = master, list(fds), selector
        self.output = Pump(selector, master, [fds[1]] if len(fds) == 3 else [], log, "stdout")
        self._stdin = os.dup(fds[0]) if len(fds) == 3 else -1
        if self._stdin >= 0:
            selector.register(self._stdin, selectors.EVENT_READ, self._type)

    def _type(self) -> None:
        try:
            data = os.read(self._stdin, _CHUNK)
            os.write(self.master, data or _END_OF_FILE)
        except OSError:
            data = b""
        if not data:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._selector.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def drain(self) -> None:
        """Copy the rest of the output and close everything."""
        self._close_stdin()
        self.output.drain()
        for fd in self._fds:
            os.close(fd)
        self._fds = []


class Streams:
    """The standard streams of a container's first process."""

    def __init__(self, request: Request, stdio: list[int]) -> None:
        self._stdio, self._is_terminal = stdio, request.terminal
        path = os.path.join(request.bundle, "log")
        self._log = JsonLog(path, request.log_max_size, request.log_max_file) if request.log else None
        self._pipes: list[tuple[int, int]] = []
        if self._log and not request.terminal:
            self._pipes = [os.pipe(), os.pipe()]
        self._pumps: list[Pump] = []
        self._terminal: Terminal | None = None
        self._attached: list[int] = []

    def child_fds(self) -> tuple[int, int, int]:
        """The descriptors that become 0, 1 and 2 of the container; -1 for none."""
        if self._is_terminal:
            return -1, -1, -1
        stdin, stdout, stderr = self._stdio or (-1, -1, -1)
        if self._pipes:
            return stdin, self._pipes[0][1], self._pipes[1][1]
        return stdin, stdout, stderr

    def started(self, console_master: int, selector: selectors.BaseSelector) -> None:
        """The container runs: close its ends here, begin to pump."""
        if self._is_terminal:
            self._terminal = Terminal(selector, console_master, self._stdio, self._log)
            self._stdio = []
            return
        for number, (reader, writer) in enumerate(self._pipes):
            os.close(writer)
            sinks = [self._stdio[number + 1]] if self._stdio else []
            self._pumps.append(Pump(selector, reader, sinks, self._log, ("stdout", "stderr")[number]))
        if not self._pipes:
            for fd in self._stdio:
                os.close(fd)
            self._stdio = []

    def attach(self, fds: list[int]) -> None:
        """Copy what is printed from now on to *fds* (stdin, stdout, stderr) as well."""
        self._attached += fds
        if len(fds) != 3:
            return
        if self._terminal:
            self._terminal.output.sinks.append(fds[1])
        for pump, fd in zip(self._pumps, fds[1:], strict=False):
            pump.sinks.append(fd)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size; nothing where there is none."""
        if self._terminal:
            console.resize(self._terminal.master, rows, columns)

    def drain(self) -> None:
        """Copy the rest and close everything."""
        if self._terminal:
            self._terminal.drain()
        for pump in self._pumps:
            pump.drain()
        if self._log:
            self._log.close()
        for fd in (*self._stdio, *self._attached):
            os.close(fd)
        self._stdio, self._attached = [], []


def _is_writable(fd: int, milliseconds: int = 0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
