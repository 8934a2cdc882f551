"""A further program in a running container (``exec``): what its caller may ask about it, and how it ends.

What a caller asks over the conversation that began with ``exec`` is about that program, never about the container.
Unlike the first process of a pid namespace it dies of every signal that it does not handle. How it joins the container
is in :mod:`children`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_runtime import streams
from kernel_runtime.protocol import Channel, Message

if TYPE_CHECKING:
    from kernel_runtime.children import Child
    from kernel_runtime.monitor import Monitor

GRACE = 3.0  # seconds between SIGINT, SIGTERM and SIGKILL of an interrupt
OPERATIONS = frozenset(("signal", "interrupt", "stop", "resize", "detach"))
INTERRUPT = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass
class Joined:
    """A process that joined the container, and who asked for it."""

    monitor: Monitor
    child: Child
    channel: Channel
    owned: bool
    terminal: streams.Terminal | None

    def answer(self, message: Message) -> None:
        """Do one of :data:`OPERATIONS`."""
        operation = message["op"]
        if operation == "signal":
            self.child.signal(int(message["signal"]), group=True)
        elif operation == "interrupt":
            self.stop(INTERRUPT)
        elif operation == "stop":
            self.stop((int(message.get("signal") or signal.SIGTERM), signal.SIGKILL), float(message.get("grace", 10)))
        elif operation == "resize" and self.terminal:
            self.terminal.resize(int(message["rows"]), int(message["columns"]))
        elif operation == "detach":
            self._detach()

    def stop(self, signals: Sequence[int], grace: float = GRACE) -> None:
        """Send the first signal now, the next ones each *grace* seconds later, until the process has ended."""
        self.child.signal(signals[0], group=True)
        if signals[1:] and self.child.status is None:
            self.monitor.after(grace, lambda: self.stop(signals[1:], grace))

    def _detach(self) -> None:
        self.owned = False
        if self.terminal:
            self.terminal.leave(streams.STARTER)
        self.channel.send({"event": "detached"})

    def finish(self) -> None:
        """Tell the caller how it ended."""
        if self.terminal:
            self.terminal.drain()
        try:
            self.channel.send({"event": "exit", **self.child.outcome("", {})})
        except OSError:
            pass

    def caller_left(self) -> None:
        """The caller's connection has ended: an owned process ends with it."""
        if self.terminal:
            self.terminal.leave(streams.STARTER)
        if self.owned:
            self.child.signal(signal.SIGKILL, group=True)
