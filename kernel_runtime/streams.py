"""Standard streams of a container: handed through, or pumped into the log and to whoever is attached.

* neither log nor terminal: the container writes into the caller's own descriptors, the monitor sees nothing;
* log: pipes, copied into the log and to every attached descriptor;
* terminal: the same from the master of a pseudo terminal, and from the caller's stdin to it.

With ``-i`` the standard input of a container in the background is a pipe that is kept open while nobody is attached;
without it is empty. A reader that does not keep up stops the pump, never fills memory; one that is gone is dropped.
"""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_runtime import console
from kernel_runtime.logs import JsonLog
from kernel_runtime.reading import Place

if TYPE_CHECKING:
    from kernel_runtime.orders import Request

STARTER = "starter"  # as a guest: the caller that started the program
_CHUNK = 4096  # PIPE_BUF: a write of this size to a pipe that polls writable does not block
_PIPE = 64 * 1024  # bytes
_ON_ITS_WAY = 20  # milliseconds
_END_OF_FILE = b"\x04"


class Pump:
    """Copies one descriptor to others and to the log, for as long as it lasts; then calls *on_end*."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        source: int,
        sinks: list[int],
        log: JsonLog | None = None,
        name: str = "",
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._selector, self.source, self.sinks, self._log, self._name = selector, source, sinks, log, name
        self._on_end = on_end
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
            if self._on_end:
                self._on_end()

    def catch_up(self) -> None:
        """Copy what is there, as far as the sinks take it, and no more than a pipe holds.

        What is written to a terminal is handed to its master by a thread of the kernel: it may be on its way.
        """
        for _ in range(_PIPE // _CHUNK):
            if self.source < 0 or self._waits_for >= 0 or not _is_readable(self.source, _ON_ITS_WAY):
                return
            self.step()

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

    def drop(self, sink: int) -> None:
        """Copy no more to *sink*, which its owner is about to close."""
        if sink == self._waits_for:
            self._resume()
        if sink in self.sinks:
            self.sinks.remove(sink)

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


@dataclass
class Guest:
    """One who is attached: descriptors that are written to, and the pump of what is typed."""

    who: object
    sinks: list[int]
    typing: Pump | None = None
    into: int = -1  # a descriptor of its own for stdin: two pumps can't wait for the same one

    def stop_typing(self) -> None:
        """Take no more from this one."""
        if self.typing:
            self.typing.stop()
        if self.into >= 0:
            os.close(self.into)
        self.typing, self.into = None, -1


class Guests:
    """All who are attached to a program: what it prints goes to each, what they type goes into its stdin.

    Args:
        outputs: the pumps of stdout and stderr; a terminal has one.
        stdin: where typing goes, -1 for nowhere.
    """

    def __init__(self, selector: selectors.BaseSelector, outputs: list[Pump], stdin: int = -1) -> None:
        self._selector, self._outputs, self._stdin = selector, outputs, stdin
        self._present: list[Guest] = []

    def attach(self, who: object, fds: list[int], types: bool = True, may_end: bool = False) -> None:
        """Join *fds* (stdin, stdout, stderr), which are ours from here on, until *who* leaves.

        Args:
            types: its stdin goes into the program's.
            may_end: the end of its stdin is the end of the program's.
        """
        if len(fds) != 3:
            _close(fds)
            return
        guest = Guest(who, fds[1:])
        for pump, sink in zip(self._outputs, guest.sinks, strict=False):
            pump.sinks.append(sink)
        if types and self._stdin >= 0:
            guest.into = os.dup(self._stdin)
            guest.typing = Pump(self._selector, fds[0], [guest.into], on_end=self.end_stdin if may_end else None)
        else:
            os.close(fds[0])
        self._present.append(guest)

    def leave(self, who: object) -> None:
        """Nothing more to or from *who*."""
        for guest in [guest for guest in self._present if guest.who is who]:
            guest.stop_typing()
            for pump in self._outputs:
                for sink in guest.sinks:
                    pump.drop(sink)
            _close(guest.sinks)
            self._present.remove(guest)

    def catch_up(self) -> None:
        """Copy what has been printed so far."""
        for pump in self._outputs:
            pump.catch_up()

    def end_stdin(self) -> None:
        """The program's stdin ends, for everybody."""
        for guest in self._present:
            guest.stop_typing()
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def drain(self) -> None:
        """Copy the rest of the output and close everything."""
        for guest in self._present:
            guest.stop_typing()
        for pump in self._outputs:
            pump.drain()
        for guest in self._present:
            _close(guest.sinks)
        self._present.clear()
        Guests.end_stdin(self)


class Terminal(Guests):
    """The master of a pseudo terminal and those in front of it; the starter's *fds* may be none."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        master: int,
        fds: list[int],
        log: JsonLog | None = None,
        may_end: bool = True,
    ) -> None:
        super().__init__(selector, [Pump(selector, master, [], log, "stdout")], os.dup(master))
        self.attach(STARTER, fds, may_end=may_end)

    def end_stdin(self) -> None:
        """As somebody would who types: Ctrl-D."""
        try:
            os.write(self._stdin, _END_OF_FILE)
        except OSError:
            pass  # nobody reads it any more

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size in characters."""
        if self._stdin >= 0:
            console.resize(self._stdin, rows, columns)


class Streams:
    """The standard streams of a container's first process."""

    def __init__(self, selector: selectors.BaseSelector, request: Request, stdio: list[int]) -> None:
        self._selector, self._stdio, self._request = selector, stdio, request
        path = os.path.join(request.bundle, "log")
        self._log = JsonLog(path, request.log_max_size, request.log_max_file) if request.log else None
        self._pipes: list[tuple[int, int]] = []
        self._stdin = (-1, -1)
        if self._log and not request.terminal:
            self._pipes = [os.pipe(), os.pipe()]
            if request.stdin and not request.owned:
                self._stdin = os.pipe()
        self._guests = Guests(selector, [])
        self.typed = Place()  # where the container reads what is typed
        if request.stdin and (self._stdin[0] >= 0 or stdio) and not request.terminal:
            self.typed = Place.of(self._stdin[0] if self._stdin[0] >= 0 else stdio[0])

    def child_fds(self) -> tuple[int, int, int]:
        """The descriptors that become 0, 1 and 2 of the container; -1 for none."""
        if self._request.terminal:
            return -1, -1, -1
        stdin, stdout, stderr = self._stdio or (-1, -1, -1)
        if self._stdin[0] >= 0:
            stdin = self._stdin[0]
        if self._pipes:
            stdout, stderr = (writer for _, writer in self._pipes)
        return stdin, stdout, stderr

    def started(self, console_master: int) -> None:
        """The container runs: close its ends here, begin to pump."""
        stdio, self._stdio = self._stdio, []
        if self._request.terminal:
            self.typed = Place(terminal=console.number(console_master))
            self._guests = Terminal(self._selector, console_master, stdio, self._log, self._request.owned)
        elif self._pipes:
            self._guests = Guests(self._selector, self._pumps(), self._stdin[1])
            self._guests.attach(STARTER, stdio, may_end=self._request.stdin_once)
        else:
            _close(stdio)

    def _pumps(self) -> list[Pump]:
        """One for each pipe, whose other ends are the container's alone from now on."""
        _close([*(writer for _, writer in self._pipes), *(fd for fd in self._stdin[:1] if fd >= 0)])
        readers = [reader for reader, _ in self._pipes]
        return [
            Pump(self._selector, reader, [], self._log, name)
            for reader, name in zip(readers, ("stdout", "stderr"), strict=True)
        ]

    def attach(self, who: object, fds: list[int], types: bool) -> None:
        """Copy what is printed from now on to *fds* (stdin, stdout, stderr) as well, and stdin where *types*.

        A program that runs on its caller's own stdin (``-i`` in the foreground) gets nothing from others.
        """
        ends = self._request.stdin_once and not self._request.terminal
        self._guests.attach(who, fds, types and self._request.stdin, ends)

    def leave(self, who: object) -> None:
        """Who attached, or :data:`STARTER`, is not there any more."""
        self._guests.leave(who)

    def catch_up(self) -> None:
        """Pass on what the program has printed so far."""
        self._guests.catch_up()

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size; nothing where there is none."""
        if isinstance(self._guests, Terminal):
            self._guests.resize(rows, columns)

    def drain(self) -> None:
        """Copy the rest and close everything."""
        self._guests.drain()
        if self._log:
            self._log.close()
        _close(self._stdio)
        self._stdio = []


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _is_writable(fd: int, milliseconds: int = 0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _is_readable(fd: int, milliseconds: int = 0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(milliseconds))
