"""The adapter to :mod:`kernel_runtime`: the only module that imports it, and the one map of its errors.

Everything above speaks of containers, ids and options; everything below of bundles and processes.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from jupyter_containers.config import Settings
from jupyter_containers.errors import (
    CannotStart,
    Conflict,
    ContainersError,
    InvalidArgument,
    IsolationUnavailable,
    StorageFull,
)
from kernel_runtime import capabilities as _capabilities
from kernel_runtime import kinds as _kinds
from kernel_runtime import rungs as _rungs
from kernel_runtime import seccomp_profile as _seccomp_profile
from kernel_runtime import state as _state
from kernel_runtime.client import Client, Knock, fingerprint
from kernel_runtime.conversation import Connection, Exit
from kernel_runtime.errors import NotRunning, ProbeError, RuntimeFault, SpecError

__all__ = ["Connection", "Exit", "Knock", "Runtime", "all_capabilities", "capabilities", "default_seccomp", "mapped"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ON_DISK = frozenset(["mount", "write state", "start"])
_MAIN = Path(_state.__file__).with_name("__main__.py")


def to_error(fault: RuntimeFault) -> ContainersError:
    """The public error for a fault of the runtime."""
    step = "exec:" if fault.step == "execute" else fault.step  # Docker's words: exec: "prog": permission denied
    what = f"{step} {fault.object}".strip() + (f": {fault.cause}" if fault.cause else "")
    if fault.errno in (errno.ENOSPC, errno.EDQUOT) and fault.step in _ON_DISK:  # elsewhere: too many namespaces
        return StorageFull(what, mend=fault.mend)
    if isinstance(fault, SpecError):
        return InvalidArgument(what, mend=fault.mend)
    if isinstance(fault, ProbeError):
        return IsolationUnavailable(what, mend=fault.mend)
    if isinstance(fault, NotRunning):
        return Conflict(what, mend=fault.mend)
    error = CannotStart(what, mend=fault.mend)
    error.exit_code = getattr(fault, "exit_code", 125)
    return error


def mapped(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator: faults of the runtime leave the function as public errors."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except RuntimeFault as fault:
            raise to_error(fault) from fault

    return call


@mapped
def capabilities(add: Collection[str], drop: Collection[str]) -> tuple[str, ...]:
    """Docker's default capabilities with ``--cap-add`` and ``--cap-drop`` done."""
    return _capabilities.with_changes(add, drop)


def all_capabilities() -> tuple[str, ...]:
    """Every capability that this kernel knows (``--privileged``)."""
    return _capabilities.names_of(_capabilities.available())


@lru_cache(maxsize=8)
def default_seccomp(names: tuple[str, ...]) -> Mapping[str, Any]:
    """Docker's default seccomp profile for a set of capabilities, as OCI ``linux.seccomp``."""
    return _seccomp_profile.default_profile(names)


class Runtime:
    """The runtime of one store. Cheap to make: the launcher starts with the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kinds: dict[Hashable, str] = {}  # what the last container that was asked for alike was, by how it was

    @cached_property
    def _client(self) -> Client:
        settings = self._settings
        return Client(str(settings.home), _site(), settings.minimum_isolation, settings.rung)

    @mapped
    def info(self) -> dict[str, Any]:
        """``rung``, ``cgroup``, ``network`` and ``pid`` of the launcher."""
        return self._client.info()

    @cached_property
    def _machine(self) -> dict[str, Any]:
        """What the launcher says; it may have been started by somebody who asked for less isolation than we do."""
        found = self.info()
        mapped(_rungs.refuse_without)(self._settings.minimum_isolation, found["rung"])
        return found

    @property
    def rung(self) -> str:
        """The rung of isolation in use on this machine."""
        return str(self._machine["rung"])

    @property
    def has_cgroup(self) -> bool:
        """Whether containers get a cgroup, so that limits that nobody asked for can be set."""
        return bool(self._machine["cgroup"]["kind"] != "none")

    @property
    def outside(self) -> dict[str, Any]:
        """The default network: ``outside`` (does it lead there), ``why`` not and the ``mend``."""
        return dict(self._machine["network"])

    def within_reach(self, network: str) -> tuple[str, str]:
        """The network that can be had here instead of *network*, and what to tell where it is another one.

        Without pasta or its like the default one is ``none``.
        """
        outside = self.outside if network == "default" else {"outside": True}
        if outside["outside"]:
            return network, ""
        return "none", f"no network to the outside: {outside['why']}. {outside['mend']}"

    @mapped
    def knock(self, network: str, alike: Hashable = None) -> Knock | None:
        """Wake a container that waits for an order; to be given to :meth:`start` at once, or closed.

        Args:
            alike: equal for containers that are probably of one kind (see :mod:`kernel_runtime.kinds`): where one is
                ready, it is taken, and what is started must have its id.
        """
        return self._client.knock(network, self._kinds.get(alike, ""))

    def decline(self, knock: Knock) -> None:
        """No order will follow; what was taken with it is removed."""
        knock.close()
        if knock.id:
            self.delete(self._settings.home / "containers" / knock.id)

    @mapped
    def start(
        self,
        bundle: Path,
        stdio: tuple[int, int, int] | None,
        knock: Knock | None = None,
        alike: Hashable = None,
        **request: Any,
    ) -> tuple[Connection, dict[str, Any]]:
        """Start the container of *bundle*; the conversation with its monitor, and the ``started`` event.

        Args:
            alike: as for :meth:`knock`.

        Raises:
            IsolationUnavailable: the launcher's rung is weaker than the minimum.
        """
        _ = self._machine
        if "config" in request:
            config = request["config"] = _shortened(request["config"])
            split = _kinds.split(config, bundle.name, str(bundle), fingerprint()) if alike is not None else None
            request["split"] = split
            if alike is not None:
                self._kinds[alike] = split.name if split else ""
        return self._client.start(str(bundle), stdio, knock, **request)

    @mapped
    def connect(self, container_id: str) -> Connection:
        """Talk to the monitor of a running container."""
        return self._client.connect(container_id)

    @mapped
    def ask(self, container_id: str, message: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        """One question to the monitor of a running container."""
        with self._client.connect(container_id) as connection:
            return connection.ask(message, fds)

    @mapped
    def delete(self, path: Path) -> None:
        """Remove a folder of the store, whatever mapped ids its files belong to."""
        self._client.delete(str(path))

    @mapped
    def open_root(self, bundle: Path) -> int:
        """A descriptor of a container's merged root, running or not; to read in the containers' user namespace."""
        return self._client.open_root(str(bundle))

    @mapped
    def sweep(self) -> list[str]:
        """End and remove what killed monitors left behind."""
        return self._client.sweep()

    @mapped
    def rest(self) -> None:
        """Keep no container ready until one is asked for again."""
        self._client.rest()

    @mapped
    def quit(self) -> None:
        """Ask the launcher to leave; containers go on."""
        self._client.quit()

    @staticmethod
    @mapped
    def state(bundle: Path) -> dict[str, Any]:
        """The state of a container: ``status`` is ``created`` before its first start."""
        found = _state.read(str(bundle)) or {"status": "created"}
        if found["status"] in ("creating", "running", "paused") and not _state.is_running(found):
            found = {**found, "status": "stopped", "exitCode": 137, "reason": "monitor killed"}
        return found

    @staticmethod
    def is_alive(pid: int, started: int) -> bool:
        """Whether the very process lives that had this pid and start time."""
        return _state.is_alive(pid, started)

    @staticmethod
    def own_start() -> int:
        """The start time of this process, for :meth:`is_alive`."""
        return _start_time(os.getpid())

    def unshare(self, words: list[str]) -> list[str]:
        """The command that runs *words* where files can be given the containers' owners."""
        return [*self._program(), "unshare", f"--rung={self.rung}", "--", *words]

    def ladder(self) -> list[dict[str, Any]]:
        """Every rung of isolation, each tried just now in a process of its own."""
        command = [*self._program(), "probe", f"--root={self._settings.home}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IsolationUnavailable("the rungs of isolation can't be tried", mend=done.stderr.strip())
        reports: list[dict[str, Any]] = json.loads(done.stdout)
        return reports

    @staticmethod
    def _program() -> list[str]:
        return [os.path.realpath(sys.executable), "-I", "-S", str(_MAIN)]


@lru_cache(maxsize=1)
def _start_time(pid: int) -> int:
    return _state.start_time(pid)


def _shortened(config: dict[str, Any]) -> dict[str, Any]:
    """config.json as an order carries it."""
    linux = config["linux"]
    if linux.get("seccomp") == default_seccomp(_capabilities.DEFAULT):
        return {**config, "linux": {**linux, "seccomp": _seccomp_profile.DEFAULT}}
    return config


def _site() -> str:
    """Where pyroute2 lies; empty where it is not installed."""
    from importlib.util import find_spec

    spec = find_spec("pyroute2")
    return str(Path(spec.origin).parent.parent) if spec and spec.origin else ""
