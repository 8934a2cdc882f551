"""The launcher's places at which monitors without a container wait: a door for each network, and one for each kind.

Not here: when they are filled (:mod:`launcher`), what the monitors do (:mod:`prepared`, :mod:`ready`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from kernel_runtime.protocol import Channel, door_path, inode, listen
from kernel_runtime.ready import Kind

SPARES = 2  # monitors kept at a door: one is taken, and preparing the next takes the kernel some 15 ms
KINDS = 4  # kinds of which one container is kept ready: those that were asked for last


@dataclass
class Spare:
    """A monitor without a container: it waits for a caller, or for what the launcher is about to hand it."""

    pid: int
    channel: Channel


@dataclass
class Place:
    """Where monitors wait for callers."""

    network: str
    enough: int
    spares: list[Spare] = field(default_factory=list)
    last_used: float = field(default_factory=time.monotonic)
    fault: Exception | None = None

    @property
    def lacks(self) -> bool:
        """Whether one more should wait here."""
        return len(self.spares) < self.enough and not self.fault

    @property
    def kind(self) -> Kind | None:
        """What is made ready here; nothing at a door."""
        return None


class Door(Place):
    """The socket at which callers ask for a container with a certain network.

    A waiting monitor answers there by itself, which spares a hop; only while none waits, the launcher does. So callers
    queue in the socket's backlog, whoever is busy.
    """

    def __init__(self, runtime: str, network: str) -> None:
        super().__init__(network, SPARES)
        self._path = door_path(runtime, network)
        self.listener = listen(self._path)
        self._inode = inode(self._path)
        self.listener.setblocking(False)

    def close(self) -> None:
        """Callers go to the launcher's own socket from now on."""
        if self.listener.fileno() >= 0:
            if inode(self._path) == self._inode:  # else another launcher's, see there
                os.unlink(self._path)
            self.listener.close()


class Shelf(Place):
    """Where a container of one kind is ready; each has a door of its own."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.network, 1)
        self._kind = kind

    @property
    def kind(self) -> Kind:
        """What they are like."""
        return self._kind
