"""All further programs in a running container, and the callers who asked for them.

Not here: what one caller may ask about its program (:mod:`joined`), how it joins the container (:mod:`children`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_runtime import children
from kernel_runtime.errors import NotRunning
from kernel_runtime.joined import OPERATIONS, Joined
from kernel_runtime.protocol import Channel, Message
from kernel_runtime.spec import parse_process

if TYPE_CHECKING:
    from kernel_runtime.monitor import Monitor


class Execs:
    """The programs by process id while they live, the callers while they listen."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._living: dict[int, Joined] = {}
        self._callers: dict[Channel, Joined | None] = {}  # None: it could not be executed

    def start(self, channel: Channel, message: Message) -> None:
        """Run one more program.

        Raises:
            RuntimeFault: it could not be executed.
        """
        monitor = self._monitor
        if monitor.child.status is not None:
            raise NotRunning("exec in", monitor.request.id, "the container has ended")
        self._callers[channel] = None
        process = parse_process(message.get("process"), "exec: process")
        joined = children.join(monitor, channel, process, channel.take_fds(), bool(message.get("owned", True)))
        self._living[joined.child.pid] = self._callers[channel] = joined
        channel.send({"event": "started", "pid": joined.child.pid})

    def answers(self, channel: Channel, message: Message) -> bool:
        """Do what a caller asks about its program; False where it is not about one."""
        if channel not in self._callers or message.get("op") not in OPERATIONS:
            return False
        if joined := self._callers[channel]:
            joined.answer(message)
        return True

    def reap(self) -> None:
        """Tell the callers of those that have ended."""
        for pid, joined in list(self._living.items()):
            if joined.child.poll() is not None:
                del self._living[pid]
                joined.finish()

    def forget(self, channel: Channel) -> None:
        """A caller has left."""
        if joined := self._callers.pop(channel, None):
            joined.caller_left()

    def end(self) -> None:
        """The container has ended, and all that was in it."""
        for joined in self._living.values():
            joined.child.kill()
            joined.finish()
