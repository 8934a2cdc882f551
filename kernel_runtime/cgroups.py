"""One group of processes per container, limited and measured by the kernel: what cgroup v1 and v2 have in common.

:func:`find` looks once, by trying, where this process may make groups; the :class:`Hierarchy` it returns makes a
:class:`Cgroup` per container. ``cgroup_v1`` and ``cgroup_v2`` hold what differs. Where nothing may be made, the
hierarchy's kind is ``"none"``: its groups measure nothing, and carry resource limits of setrlimit(2) with a notice of
how much weaker those are. Sources: cgroups(7), Documentation/admin-guide/cgroup-{v1,v2}.rst, OCI config-linux.md.

Not here: cgroup namespaces and the mount of /sys/fs/cgroup inside a container (``mounts``), and any policy about which
limits a container ought to have.
"""

# pathlib is slow to import, and this is on the launcher's path:

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any, NamedTuple

from .cgroup_files import (
    BASE_NAME as BASE_NAME,
)
from .cgroup_files import (
    PATIENCE as PATIENCE,
)
from .cgroup_files import (
    base_name as base_name,
)
from .cgroup_files import (
    end_members as end_members,
)
from .cgroup_files import (
    kill_members as kill_members,
)
from .cgroup_files import (
    make_directory as make_directory,
)
from .cgroup_files import (
    members as members,
)
from .cgroup_files import (
    mounts as mounts,
)
from .cgroup_files import (
    own_directory as own_directory,
)
from .cgroup_files import (
    own_paths as own_paths,
)
from .cgroup_files import (
    read as read,
)
from .cgroup_files import (
    read_number as read_number,
)
from .cgroup_files import (
    read_table as read_table,
)
from .cgroup_files import (
    remove_tree as remove_tree,
)
from .cgroup_files import (
    set_limit as set_limit,
)
from .cgroup_files import (
    set_or_tell as set_or_tell,
)
from .cgroup_files import (
    subdirectories as subdirectories,
)
from .cgroup_files import (
    write as write,
)
from .errors import SetupError, SpecError

NO_CGROUP_MEND = (
    "For real limits start Jupyter in a systemd user session with delegation "
    "(systemd-run --user --scope -p Delegate=yes jupyter lab), or as root"
)


class Limits(NamedTuple):
    """OCI ``linux.resources``, checked and flat. None: not asked for. -1: no limit, where the OCI text says so."""

    memory: int | None = None
    reservation: int | None = None
    swap: int | None = None  # memory and swap together, as in OCI and Docker
    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    burst: int | None = None
    idle: int | None = None
    cpus: str | None = None
    mems: str | None = None
    pids: int | None = None
    unified: Mapping[str, str] = {}

    @classmethod
    def read(cls, resources: Mapping[str, Any]) -> Limits:
        """The limits that *resources* ask for. As in runc, 0 of a memory or cpu limit is "not asked for".

        Raises:
            SpecError: a value is not of the OCI type, or a limit is asked for that no part of this runtime sets.
        """
        memory, cpu, pids = (_section(resources, name) for name in ("memory", "cpu", "pids"))
        for name in ("blockIO", "hugepageLimits", "network", "rdma"):
            if resources.get(name):
                raise SpecError("read limit", f"linux.resources.{name}", "this runtime does not set it", "Leave it out")
        if memory.get("disableOOMKiller"):
            raise SpecError("read limit", "linux.resources.memory.disableOOMKiller", "it would hang, not end, a hog")
        return cls(
            memory=_number(memory, "memory", "limit") or None,
            reservation=_number(memory, "memory", "reservation") or None,
            swap=_number(memory, "memory", "swap") or None,
            shares=_number(cpu, "cpu", "shares") or None,
            quota=_number(cpu, "cpu", "quota") or None,
            period=_number(cpu, "cpu", "period") or None,
            burst=_number(cpu, "cpu", "burst"),
            idle=_number(cpu, "cpu", "idle"),
            cpus=_cpu_list(cpu, "cpus"),
            mems=_cpu_list(cpu, "mems"),
            pids=_number(pids, "pids", "limit"),
            unified=_unified(resources),
        )


class Cgroup(ABC):
    """The group of one container. Its processes put themselves in: each writes ``0`` to every one of procs_files."""

    rlimits: tuple[tuple[str, int, int], ...] = ()
    notice: str = ""

    def __init__(self, id: str, path: str) -> None:
        self.id, self.path = id, path

    @property
    @abstractmethod
    def procs_files(self) -> tuple[str, ...]:
        """The files that a process joins by; empty where there is no cgroup."""

    @abstractmethod
    def stats(self, only: Collection[str] = ()) -> dict[str, int | float]:
        """What the group uses now and used at most; a key is absent where the kernel does not know.

        Args:
            only: the keys that are wanted; empty for all.

        Keys: ``cpu_seconds``, and in bytes ``memory_current memory_peak memory_limit`` (page cache counts as memory),
        and in processes and threads ``pids_current pids_peak``.
        """

    @abstractmethod
    def events(self) -> dict[str, int]:
        """How often a limit struck: ``oom_kill`` processes killed, ``pids_max`` forks refused."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL to every member, also to frozen ones and those that are being forked, within :data:`PATIENCE`."""

    @abstractmethod
    def update(self, resources: Mapping[str, Any]) -> None:
        """Change the limits that OCI *resources* name, while the group runs.

        Raises:
            SpecError: *resources* are malformed.
            SetupError: the kernel refuses a limit, or the controller for it is not ours to use.
        """

    @abstractmethod
    def freeze(self) -> None:
        """Stop every member where it stands; returns when all stand still.

        Raises:
            SetupError: there is no freezer, or some member did not stop within :data:`PATIENCE`.
        """

    @abstractmethod
    def thaw(self) -> None:
        """Let frozen members go on."""

    @abstractmethod
    def destroy(self, patience: float = PATIENCE) -> None:
        """Remove the group and any group inside it, waiting at most *patience* seconds for killed members to end.

        Raises:
            SetupError: processes still live in it.
        """


class Hierarchy(ABC):
    """Where the groups of this user's containers are made.

    ``kind`` is ``"v2"``, ``"v1"`` or ``"none"``; ``why`` says how that came about, ``mend`` what would give more.
    """

    kind: str
    why: str
    mend: str = ""
    controllers: frozenset[str] = frozenset()

    def __init__(self, prefix: str = "") -> None:
        self.prefix = f"{prefix}-" if prefix else ""

    @abstractmethod
    def create(self, id: str, resources: Mapping[str, Any]) -> Cgroup:
        """A new group for the container *id*, with the limits of OCI ``linux.resources`` in force.

        Raises:
            SpecError: *resources* are malformed.
            SetupError: a limit can't be set here. Nothing of the group is left.
        """

    @abstractmethod
    def _found(self) -> Iterable[Cgroup]:
        """The groups with our prefix that exist now, whoever made them."""

    def sweep(self, alive_ids: Container[object]) -> list[str]:
        """Kill and remove every group with our prefix whose container is not in *alive_ids*; returns their ids.

        With an empty prefix that is every group below :data:`BASE_NAME`.
        """
        removed = []
        for group in self._found():
            if group.id not in alive_ids:
                group.kill()
                try:
                    group.destroy()
                except SetupError:
                    continue  # something in it can't die (a dead disk): no reason to serve nobody; the next sweep tries
                removed.append(group.id)
        return removed

    @abstractmethod
    def close(self) -> None:
        """Remove the folder that holds our groups if none is left; :meth:`create` would make it again."""


def find(prefix: str = "", proc: str = "/proc/self") -> Hierarchy:
    """Where this process may make groups; tries instead of guessing, and may move this process into a leaf group.

    Version 2 wins where it has the controllers; then version 1; then ``"none"`` with both reasons.

    Args:
        prefix: begins the name of every group, so that the stores of one user do not sweep each other's.
        proc: the /proc folder of this process (tests pass another).
    """
    from . import cgroup_v1, cgroup_v2  # they build upon this file

    reasons = []
    for version in (cgroup_v2, cgroup_v1):
        answer: Hierarchy | str = version.find(prefix, proc)
        if isinstance(answer, Hierarchy):
            return answer
        reasons.append(answer)
    return NoHierarchy("; ".join(reasons), NO_CGROUP_MEND)


def discard(procs_files: Iterable[str]) -> None:
    """Kill and remove a group known only by the procs_files that a dead monitor recorded.

    For groups that were made below another folder than the one :func:`find` chose today. Files that are not below a
    folder of ours are left alone.
    """
    ours = _ours(procs_files)
    end_members(ours, PATIENCE)
    for directory in ours:
        remove_tree(directory, PATIENCE)


def _ours(procs_files: Iterable[str]) -> list[str]:
    directories = [os.path.dirname(file) for file in procs_files]
    return [d for d in directories if d.rsplit("/", 2)[-2:-1] and d.rsplit("/", 2)[-2].startswith(BASE_NAME)]


def rlimit_fallback(resources: Mapping[str, Any]) -> tuple[list[tuple[str, int, int]], str]:
    """What setrlimit(2) can do for *resources* where no group can be made.

    Returns:
        ``(limits, notice)``: each limit is ``(name in the resource module, soft, hard)``; the notice is an honest
        sentence for the user, empty where nothing was asked for.
    """
    limits, rules, words = Limits.read(resources), [], []
    if limits.memory is not None and limits.memory > 0:
        rules.append(("RLIMIT_AS", limits.memory, limits.memory))
        words.append("the memory limit holds for the address space of each process, not for the container")
    if limits.pids is not None and limits.pids > 0:
        rules.append(("RLIMIT_NPROC", limits.pids, limits.pids))
        words.append("the process limit counts all processes of the user, and not those of root")
    if limits.cpus or limits.mems or (limits.quota or 0) > 0 or limits.shares or limits.idle:
        words.append("processor limits are not in force")
    if limits.reservation or limits.swap or limits.unified:
        words.append("reservation, swap and other limits are not in force")
    return rules, f"No cgroup is available: {'; '.join(words)}." if words else ""


class NoHierarchy(Hierarchy):
    """No group can be made here."""

    kind = "none"

    def __init__(self, why: str, mend: str) -> None:
        super().__init__()
        self.why, self.mend = why, mend

    def create(self, id: str, resources: Mapping[str, Any]) -> Cgroup:
        """A group that is none: only its ``rlimits`` and ``notice`` tell what was asked for."""
        return NoCgroup(id, resources, self)

    def _found(self) -> Iterable[Cgroup]:
        return ()

    def close(self) -> None:
        """Nothing was made."""


class NoCgroup(Cgroup):
    """The place of a group where there is none: knows nothing, counts nothing."""

    def __init__(self, id: str, resources: Mapping[str, Any], hierarchy: Hierarchy) -> None:
        super().__init__(id, "")
        self._hierarchy = hierarchy
        rules, self.notice = rlimit_fallback(resources)
        self.rlimits = tuple(rules)

    @property
    def procs_files(self) -> tuple[str, ...]:
        """None to join by."""
        return ()

    def stats(self, only: Collection[str] = ()) -> dict[str, int | float]:
        """Nothing is known."""
        return {}

    def events(self) -> dict[str, int]:
        """Nothing is known."""
        return {}

    def kill(self) -> None:
        """Nobody is known: the end of the container's first process ends its pid namespace."""

    def update(self, resources: Mapping[str, Any]) -> None:
        """Refused: limits of setrlimit(2) are set once, by the process itself."""
        raise SetupError("update limits", self.id, self._hierarchy.why, self._hierarchy.mend)

    def freeze(self) -> None:
        """Refused."""
        raise SetupError("pause", self.id, self._hierarchy.why, self._hierarchy.mend)

    def thaw(self) -> None:
        """Nothing can be frozen."""

    def destroy(self, patience: float = PATIENCE) -> None:
        """Nothing was made."""


def _section(resources: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = resources.get(name) or {}
    if not isinstance(section, Mapping):
        raise SpecError("read limit", f"linux.resources.{name}", "it is not an object")
    return section


def _number(section: Mapping[str, Any], place: str, name: str) -> int | None:
    value = section.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        raise SpecError("read limit", f"linux.resources.{place}.{name}", f"{value!r} is not a whole number from -1 up")
    return value


def _cpu_list(cpu: Mapping[str, Any], name: str) -> str | None:
    value = cpu.get(name) or None
    if value is not None and (not isinstance(value, str) or value.strip("0123456789,-")):
        raise SpecError("read limit", f"linux.resources.cpu.{name}", f"{value!r} is not a list such as 0-2,4")
    return value


def _unified(resources: Mapping[str, Any]) -> dict[str, str]:
    section = _section(resources, "unified")
    for file, value in section.items():
        if not isinstance(value, str) or "/" in file or "." not in file or file.startswith("cgroup."):
            place = f"linux.resources.unified.{file}"
            raise SpecError("read limit", place, "it is not the name and text of a controller's file")
    return dict(section)
