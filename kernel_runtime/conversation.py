"""A caller's conversation with a launcher or a monitor: requests, events, and how a container ended."""

from __future__ import annotations

from dataclasses import dataclass

from kernel_runtime.errors import NotRunning, RuntimeFault
from kernel_runtime.protocol import Channel, Message


@dataclass
class Exit:
    """How a container's process ended; field names are those of the ``exit`` event."""

    exit_code: int
    reason: str
    signal: int = 0
    oom_killed: bool = False
    duration: float = 0.0
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    fault: RuntimeFault | None = None

    @staticmethod
    def parse(message: Message) -> Exit:
        """From an ``exit`` event."""
        fault = message.get("fault")
        return Exit(
            int(message.get("exitCode", 125)),
            str(message.get("reason", "")),
            int(message.get("signal", 0)),
            bool(message.get("oomKilled", False)),
            float(message.get("duration", 0.0)),
            message.get("cpuSeconds"),
            message.get("peakMemory"),
            RuntimeFault.from_dict(fault) if fault else None,
        )


class Connection:
    """A conversation with a monitor. Closing it ends an ``owned`` container or exec."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def fileno(self) -> int:
        """The socket's descriptor, readable when an event waits."""
        return self._channel.fileno()

    def take_fds(self) -> list[int]:
        """Descriptors that came with an event; the caller closes them."""
        return self._channel.take_fds()

    @property
    def has_event(self) -> bool:
        """Whether an event has arrived together with the last one; the descriptor tells only of later ones."""
        return self._channel.has_message

    def ask(self, message: Message, fds: tuple[int, ...] = ()) -> Message:
        """Send a request, wait for its answer.

        Raises:
            RuntimeFault: what the monitor answered.
            NotRunning: the monitor is gone.
        """
        self.tell(message, fds)
        return self.next_event()

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send a request that has no answer."""
        try:
            self._channel.send(message, fds)
        except OSError as error:
            raise NotRunning("talk to", "the container", "it has ended") from error

    def next_event(self, timeout: float | None = None) -> Message:
        """The next event; ``{"event": "gone"}`` when the monitor ended without one (it was killed)."""
        self._channel.socket.settimeout(timeout)
        try:
            message = self._channel.receive()
        except ConnectionError:
            message = None
        if message is None:
            return {"event": "gone"}
        if message.get("event") == "fault":
            raise to_fault(message)
        return message

    def wait(self) -> Exit:
        """Wait for the end."""
        while True:
            event = self.next_event()
            if event["event"] == "exit":
                return Exit.parse(event)
            if event["event"] == "gone":
                return Exit(137, "monitor killed", 9)

    def close(self) -> None:
        """End the conversation."""
        self._channel.close()

    def __enter__(self) -> Connection:
        """The connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def to_fault(event: Message) -> RuntimeFault:
    """What a ``fault`` or ``exit`` event says went wrong, with ``exit_code``."""
    fault = RuntimeFault.from_dict(event.get("fault") or {"step": "start", "cause": "unknown"})
    fault.exit_code = event.get("exitCode", 125)  # type: ignore[attr-defined]
    return fault
