"""Control groups of version 1: one tree per controller (or per pair, as ``cpu,cpuacct``), each with its own folder.

Our folder lies below this process's own group in each tree, so that a limit from outside stays in force. A container
joins only the trees it needs: ``memory pids cpuacct`` for limits, peaks and times, ``cpu cpuset`` if a limit asks for
them. A tree needed later — the freezer for a pause, cpu for an update — is joined then, by moving the members: a start
pays nothing for it. See cgroups(7), Documentation/admin-guide/cgroup-v1. Used through ``cgroups``; not by anybody else.
"""

# pathlib is slow to import, and this is on the launcher's path:

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from errno import EINVAL, ENOENT
from time import monotonic, sleep
from typing import Any

from . import cgroups
from .cgroups import PATIENCE, Cgroup, Hierarchy, Limits
from .errors import SetupError

_ALWAYS = ("memory", "pids", "cpuacct")
_KNOWN = (*_ALWAYS, "cpu", "cpuset", "freezer")
_NO_LIMIT = 1 << 60  # memory.limit_in_bytes of a group without limit is the largest multiple of a page below 2**63
_MEND = "Start as root, or on a system with cgroup v2 (systemd.unified_cgroup_hierarchy=1 on the kernel's command line)"


def find(prefix: str, proc: str = "/proc/self") -> Hierarchy | str:
    """The trees in which we can make groups; else why there are none."""
    own, name = cgroups.own_paths(proc), cgroups.base_name(proc)
    bases: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for fstype, root, point, options in cgroups.mounts(proc):
        for controller in _KNOWN:
            if fstype == "cgroup" and controller in options and controller in own and controller not in bases:
                base = f"{cgroups.own_directory(root, point, own[controller])}/{name}"
                if reason := _refusal(base):
                    reasons[controller] = reason
                else:
                    bases[controller] = base
    if bases.keys() & {"memory", "pids"}:
        return V1Hierarchy(bases, reasons, prefix)
    first = next(iter(reasons.values()), "")
    return f"cgroup v1 is not usable: {first}" if first else "cgroup v1 is not mounted"


def _refusal(base: str) -> str:
    try:
        _make_base(base)
    except OSError as error:
        return f"{base}: {error.strerror}"
    return "" if os.access(base, os.W_OK) else f"{base}: not writable"


def _make_base(base: str) -> None:
    os.makedirs(base, 0o755, exist_ok=True)
    if cgroups.read(f"{base}/memory.use_hierarchy").strip() == "0":  # before Linux 5.11 a group's limit may be its own
        cgroups.write(f"{base}/memory.use_hierarchy", "1")
    _inherit_cpuset(base)


def _inherit_cpuset(directory: str) -> None:
    # A cpuset starts without processors and memory, and admits nobody until it has both.
    for file in ("cpuset.cpus", "cpuset.mems"):
        path = f"{directory}/{file}"
        if os.access(path, os.W_OK) and not cgroups.read(path).strip():
            cgroups.write(path, cgroups.read(f"{directory.rpartition('/')[0]}/{file}").strip())


class V1Hierarchy(Hierarchy):
    """Groups of version 1: *bases* maps each controller to the folder of our groups in its tree."""

    kind = "v1"

    def __init__(self, bases: Mapping[str, str], reasons: Mapping[str, str], prefix: str = "") -> None:
        super().__init__(prefix)
        self.bases, self._reasons = dict(bases), dict(reasons)
        self.controllers = frozenset(bases)
        self.why = f"cgroup v1 with {', '.join(sorted(bases))}"
        self.mend = "; ".join(f"no {name}: {reason}" for name, reason in reasons.items())

    def create(self, id: str, resources: Mapping[str, Any]) -> Cgroup:
        """As in the base class."""
        limits = Limits.read(resources)
        group = V1Cgroup(id, self)
        try:
            for controller in _ALWAYS:
                if controller in self.bases:
                    group.enter(controller)
            group.apply(limits)
        except BaseException:
            group.destroy(0)
            raise
        return group

    def make(self, controller: str, id: str) -> str:
        """A folder for the container *id* in one tree.

        Raises:
            SetupError: the tree is not ours to use.
        """
        base = self.bases.get(controller)
        if base is None:
            cause = self._reasons.get(controller, "this kernel has no such cgroup v1 hierarchy mounted")
            raise SetupError("use controller", controller, cause, _MEND)
        path = f"{base}/{self.prefix}{id}"
        try:
            cgroups.make_directory(path)
        except SetupError as error:
            if error.errno != ENOENT:
                raise
            _make_base(base)  # the folder went away with the last group of another launcher
            cgroups.make_directory(path)
        if controller == "cpuset":
            _inherit_cpuset(path)
        return path

    def _found(self) -> Iterable[Cgroup]:
        names: dict[str, dict[str, str]] = {}
        for controller, base in self.bases.items():
            for path in cgroups.subdirectories(base):
                name = path.rpartition("/")[2]
                if name.startswith(self.prefix):
                    names.setdefault(name, {})[controller] = path
        for name, directories in sorted(names.items()):
            yield V1Cgroup(name.removeprefix(self.prefix), self, directories)

    def close(self) -> None:
        """As in the base class."""
        for base in set(self.bases.values()):
            try:
                os.rmdir(base)
            except OSError:
                continue  # still in use, by us or by another store


class V1Cgroup(Cgroup):
    """One group: a folder in each tree that it was needed in. Those not yet needed are joined on demand."""

    def __init__(self, id: str, hierarchy: V1Hierarchy, directories: Mapping[str, str] | None = None) -> None:
        self._hierarchy, self._directories = hierarchy, dict(directories or {})
        super().__init__(id, next(iter(self._directories.values()), ""))

    @property
    def procs_files(self) -> tuple[str, ...]:
        """One file for each tree; controllers that share a tree share the file."""
        return tuple(f"{directory}/cgroup.procs" for directory in dict.fromkeys(self._directories.values()))

    def enter(self, controller: str) -> str:
        """The folder in a controller's tree, made and filled with the members if there is none yet."""
        if controller in self._directories:
            return self._directories[controller]
        base = self._hierarchy.bases.get(controller)
        shared = next((d for d in self._directories.values() if base and d.startswith(f"{base}/")), None)
        directory = shared or self._hierarchy.make(controller, self.id)
        if self.path and not shared:
            self._move_members(directory)
        self.path = self.path or directory
        self._directories[controller] = directory
        return directory

    def _move_members(self, directory: str) -> None:
        # What a moved process forks is born in the new place: each round finds fewer outside it.
        deadline = monotonic() + PATIENCE
        while outside := set(cgroups.members(self.path)) - set(cgroups.members(directory)):
            for pid in outside:
                try:
                    cgroups.write(f"{directory}/cgroup.procs", str(pid))
                except ProcessLookupError:
                    continue  # it ended meanwhile
                except OSError as error:
                    raise SetupError("move into cgroup", directory, error.strerror or "") from error
            if monotonic() > deadline:
                raise SetupError("move into cgroup", directory, "its processes fork faster than they can be moved")

    def apply(self, limits: Limits) -> None:
        """Put *limits* into force, in the order of :func:`writes`."""
        if limits.unified:
            cause = "linux.resources.unified is for cgroup v2, and this machine has v1"
            raise SetupError("set limit", ", ".join(limits.unified), cause, "Use the fields memory, cpu and pids")
        for controller, file, value in writes(limits):
            directory = self.enter(controller)
            if file == "memory.memsw.limit_in_bytes":
                self.notice = cgroups.set_or_tell(directory, file, value)
            else:
                cgroups.set_limit(directory, file, value)

    def _make_room_for(self, limits: Limits) -> None:
        # memory may never exceed memory+swap: to raise both, the sum goes first.
        try:
            cgroups.write(f"{self.enter('memory')}/memory.limit_in_bytes", str(limits.memory))
        except OSError as error:
            if error.errno == EINVAL and limits.swap is not None:
                cgroups.set_limit(self.enter("memory"), "memory.memsw.limit_in_bytes", str(limits.swap))

    def update(self, resources: Mapping[str, Any]) -> None:
        """As in the base class."""
        limits = Limits.read(resources)
        if limits.memory is not None:
            self._make_room_for(limits)
        self.apply(limits)

    def stats(self, only: Collection[str] = ()) -> dict[str, int | float]:
        """As in the base class."""
        files = {
            "memory_current": ("memory", "memory.usage_in_bytes"),
            "memory_peak": ("memory", "memory.max_usage_in_bytes"),
            "memory_limit": ("memory", "memory.limit_in_bytes"),
            "pids_current": ("pids", "pids.current"),
            "pids_peak": ("pids", "pids.peak"),  # since Linux 6.1
            "cpu_seconds": ("cpuacct", "cpuacct.usage"),
        }
        numbers = {key: self._number(*place) for key, place in files.items() if not only or key in only}
        found: dict[str, int | float] = {key: number for key, number in numbers.items() if number is not None}
        if found.get("memory_limit", 0) >= _NO_LIMIT:
            del found["memory_limit"]
        if "cpu_seconds" in found:
            found["cpu_seconds"] /= 1e9
        return found

    def _number(self, controller: str, file: str) -> int | None:
        directory = self._directories.get(controller)
        return cgroups.read_number(f"{directory}/{file}") if directory else None

    def events(self) -> dict[str, int]:
        """As in the base class; ``oom_kill`` since Linux 4.13."""
        found = {}
        for key, controller, file, word in (
            ("oom_kill", "memory", "memory.oom_control", "oom_kill"),
            ("pids_max", "pids", "pids.events", "max"),
        ):
            table = (
                cgroups.read_table(f"{self._directories[controller]}/{file}") if controller in self._directories else {}
            )
            if word in table:
                found[key] = table[word]
        return found

    def kill(self) -> None:
        """As in the base class: nobody may fork any more, or where that can't be forbidden all are held still."""
        hold = self._kill_held if "freezer" in self._hierarchy.bases else None
        cgroups.end_members(tuple(dict.fromkeys(self._directories.values())), PATIENCE, hold)

    def _kill_held(self) -> None:
        try:
            self._set_frozen("FROZEN")
        except SetupError:
            return  # they fork faster than they can be moved to the freezer: the next round of signals finds fewer
        cgroups.kill_members(self.path)
        self._set_frozen("THAWED")

    def freeze(self) -> None:
        """As in the base class."""
        deadline = monotonic() + PATIENCE
        self._set_frozen("FROZEN")
        while cgroups.read(f"{self._directories['freezer']}/freezer.state").strip() != "FROZEN":
            if monotonic() > deadline:
                self._set_frozen("THAWED")
                raise SetupError("pause", self.id, f"some process did not stop within {PATIENCE:g} s")
            sleep(0.001)
            self._set_frozen("FROZEN")  # what was forked while freezing is caught by asking again

    def thaw(self) -> None:
        """As in the base class."""
        if "freezer" in self._directories:
            self._set_frozen("THAWED")

    def _set_frozen(self, state: str) -> None:
        cgroups.set_limit(self.enter("freezer"), "freezer.state", state)

    def destroy(self, patience: float = PATIENCE) -> None:
        """As in the base class."""
        for directory in dict.fromkeys(self._directories.values()):
            cgroups.remove_tree(directory, patience)


def writes(limits: Limits) -> list[tuple[str, str, str]]:
    """What to write for *limits*, in order: ``(controller, file, value)``."""
    pids = limits.pids if limits.pids is None or limits.pids > 0 else "max"
    wanted: list[tuple[str, int | str | None]] = [
        ("memory.limit_in_bytes", limits.memory),
        ("memory.memsw.limit_in_bytes", limits.swap),
        ("memory.soft_limit_in_bytes", limits.reservation),
        ("cpu.shares", limits.shares),
        ("cpu.idle", limits.idle),
        ("cpu.cfs_period_us", limits.period),
        ("cpu.cfs_quota_us", limits.quota),
        ("cpu.cfs_burst_us", limits.burst),
        ("cpuset.cpus", limits.cpus),
        ("cpuset.mems", limits.mems),
        ("pids.max", pids),
    ]
    return [(file.partition(".")[0], file, str(value)) for file, value in wanted if value is not None]
