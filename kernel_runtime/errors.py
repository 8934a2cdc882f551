"""The one error tree of the runtime.

::

    RuntimeFault            something about a container could not be done
    ├── SpecError           config.json says something impossible or unsupported
    ├── SetupError          a step of the recipe failed while the container was being made
    ├── ProbeError          this machine lacks what a rung of isolation needs
    ├── ProtocolError       launcher, monitor and caller misunderstood each other
    └── NotRunning          the container asked about does not run (any more)

Every text names the step, the object and the mend. Errors cross process borders as dictionaries.
"""

from __future__ import annotations

import errno as numbers
from typing import Any


class RuntimeFault(Exception):
    """A failure with its step, its object, its cause and what the user can do about it.

    Args:
        step: what was being done, in the field's words ("mount overlay", "join network namespace").
        object: what it was done to (a path, an option, an id).
        cause: why it failed, one sentence without a full stop.
        mend: what would make it work; empty where nothing is known.
        errno: the kernel's error number, 0 where there is none.
    """

    def __init__(self, step: str, object: str = "", cause: str = "", mend: str = "", errno: int = 0) -> None:
        self.step, self.object, self.cause, self.mend, self.errno = step, object, cause, mend, errno
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.step} {self.object}".strip()
        if self.cause:
            text += f": {self.cause}"
        return f"{text}. {self.mend}" if self.mend else text

    def to_dict(self) -> dict[str, Any]:
        """The fault as JSON data: ``{"kind", "step", "object", "cause", "mend", "errno"}``."""
        return {
            "kind": type(self).__name__,
            "step": self.step,
            "object": self.object,
            "cause": self.cause,
            "mend": self.mend,
            "errno": self.errno,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> RuntimeFault:
        """The fault that :meth:`to_dict` described; an unknown kind becomes a plain :class:`RuntimeFault`."""
        kind = _KINDS.get(str(data.get("kind")), RuntimeFault)
        return kind(
            str(data.get("step", "")),
            str(data.get("object", "")),
            str(data.get("cause", "")),
            str(data.get("mend", "")),
            int(data.get("errno", 0)),
        )


class SpecError(RuntimeFault):
    """config.json says something impossible or unsupported."""


class SetupError(RuntimeFault):
    """A step of the recipe failed while the container was being made."""


class ProbeError(RuntimeFault):
    """This machine lacks what a rung of isolation needs."""


class ProtocolError(RuntimeFault):
    """Launcher, monitor and caller misunderstood each other."""


class NotRunning(RuntimeFault):
    """The container asked about does not run (any more)."""


_KINDS: dict[str, type[RuntimeFault]] = {
    kind.__name__: kind for kind in (RuntimeFault, SpecError, SetupError, ProbeError, ProtocolError, NotRunning)
}


def full_disk_mend(errno: int) -> str:
    """What helps against a full disk; empty for any other error number."""
    if errno == numbers.ENOSPC:
        return "The disk is full: free some space (docker-like: `%container prune`)."
    return "Your disk quota is used up: free some space." if errno == numbers.EDQUOT else ""
