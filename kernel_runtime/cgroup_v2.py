"""Control groups of version 2: one unified tree, of which a part was delegated to us.

Two places can be ours. In a scope that was delegated (``systemd-run --user --scope -p Delegate=yes``), this process
moves into the leaf ``supervisor`` — a group with controllers for its children may hold no process itself — and the
containers' groups are its neighbours. The machine's root, without such a scope, uses a folder at the top of the tree.
See cgroups(7) and systemd's CGROUP_DELEGATION.md. Used through ``cgroups``; not by anybody else.
"""

# pathlib is slow to import, and this is on the launcher's path:

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from errno import EBUSY
from time import monotonic, sleep
from typing import Any

from . import cgroups
from .cgroups import PATIENCE, Cgroup, Hierarchy, Limits
from .errors import SetupError, SpecError

SUPERVISOR = "supervisor"
_WANTED = ("memory", "pids", "cpu", "cpuset")
_DELEGATE_MEND = (
    "Let systemd delegate it: `systemctl edit user@.service`, with the lines [Service] and "
    "Delegate=cpu cpuset io memory pids, then log in again"
)


def find(prefix: str, proc: str = "/proc/self") -> Hierarchy | str:
    """The part of the tree that is ours, with controllers for limits; else why there is none."""
    mount = next((m for m in cgroups.mounts(proc) if m[0] == "cgroup2"), None)
    own = cgroups.own_paths(proc).get("")
    if mount is None or own is None:
        return "cgroup v2 is not mounted"
    _, root, point, _ = mount
    here = cgroups.own_directory(root, point, own)
    available = set(cgroups.read(f"{here}/cgroup.controllers").split())
    if here == point and not available & {"memory", "pids"}:
        return f"the cgroup v2 tree at {point} has no memory and no pids controller"
    return _first_usable(here, point, cgroups.base_name(proc), prefix)


def _first_usable(here: str, point: str, name: str, prefix: str) -> Hierarchy | str:
    reasons = []
    is_root = name == cgroups.BASE_NAME
    if not is_root or _is_delegated(here) or here == point:
        try:
            return _nest(here, name, prefix)
        except SetupError as error:
            reasons.append(str(error))
    if is_root and here != point:
        try:
            return _tree(point, name, prefix)
        except SetupError as error:
            reasons.append(str(error))
    return "; ".join(reasons)


def _is_delegated(directory: str) -> bool:
    # systemd marks what it delegates: trusted.delegate since version 236, user.delegate since 251.
    for attribute in ("trusted.delegate", "user.delegate"):
        try:
            if os.getxattr(directory, attribute) == b"1":
                return True
        except OSError:
            continue
    return False


def _nest(here: str, name: str, prefix: str) -> Hierarchy:
    """Make *here*, where this process lives, the parent of our groups."""
    # The top of the whole tree is the one group that may hold processes beside groups with controllers.
    is_top = not os.path.exists(f"{here}/cgroup.type")
    if is_top:
        return _tree(here, name, prefix)
    if here.endswith(f"/{SUPERVISOR}"):
        return _tree(here.removesuffix(f"/{SUPERVISOR}"), name, prefix)
    _move_self_to(f"{here}/{SUPERVISOR}", make=True)
    try:
        return _tree(here, name, prefix)
    except SetupError:
        _move_self_to(here)
        cgroups.remove_tree(f"{here}/{SUPERVISOR}", 0.1)
        raise


def _move_self_to(directory: str, make: bool = False) -> None:
    try:
        if make:
            os.makedirs(directory, 0o755, exist_ok=True)
        cgroups.write(f"{directory}/cgroup.procs", "0")
    except OSError as error:
        mend = "Start it with systemd-run --user --scope -p Delegate=yes"
        raise SetupError("move into cgroup", directory, error.strerror or "", mend, error.errno or 0) from error


def _tree(parent: str, name: str, prefix: str) -> Hierarchy:
    """The hierarchy in the folder *name* below *parent*, with what controllers *parent* can give."""
    _enable(parent)
    base = f"{parent}/{name}"
    try:
        os.makedirs(base, 0o755, exist_ok=True)
    except OSError as error:
        raise SetupError("create cgroup", base, error.strerror or "", errno=error.errno or 0) from error
    enabled = _enable(base)
    if not enabled & {"memory", "pids"}:
        raise SetupError("use cgroup", base, "neither the memory nor the pids controller is delegated", _DELEGATE_MEND)
    return V2Hierarchy(base, enabled, prefix)


def _enable(directory: str) -> frozenset[str]:
    """Give the children of *directory* every wanted controller that it has; returns those they then have."""
    control = f"{directory}/cgroup.subtree_control"
    available = set(cgroups.read(f"{directory}/cgroup.controllers").split())
    enabled = set(cgroups.read(control).split())
    for controller in _WANTED:
        if controller not in available or controller in enabled:
            continue
        try:
            cgroups.write(control, f"+{controller}")
        except OSError as error:
            if error.errno == EBUSY:
                cause = "other processes live in it, so it can't be divided"
                mend = "Start the launcher in a scope of its own: systemd-run --user --scope -p Delegate=yes"
                raise SetupError("use cgroup", directory, cause, mend, EBUSY) from error
            continue  # this one is not ours to enable: a limit that needs it will say so
        enabled.add(controller)
    return frozenset(enabled)


class V2Hierarchy(Hierarchy):
    """Groups of version 2, all in the folder *base*."""

    kind = "v2"

    def __init__(self, base: str, controllers: Iterable[str], prefix: str = "") -> None:
        super().__init__(prefix)
        self.base, self.controllers = base, frozenset(controllers)
        self.why = f"cgroup v2 in {base}, with {', '.join(sorted(self.controllers)) or 'no controller'}"
        lacking = [name for name in _WANTED if name not in self.controllers]
        self.mend = f"Not delegated: {', '.join(lacking)}. {_DELEGATE_MEND}" if lacking else ""

    def create(self, id: str, resources: Mapping[str, Any]) -> Cgroup:
        """As in the base class."""
        limits = Limits.read(resources)
        group = V2Cgroup(id, f"{self.base}/{self.prefix}{id}", self)
        if not os.access(self.base, os.F_OK):
            os.makedirs(self.base, 0o755, exist_ok=True)
            _enable(self.base)
        cgroups.make_directory(group.path)
        try:
            group.apply(limits)
        except BaseException:
            cgroups.remove_tree(group.path, 0)
            raise
        return group

    def _found(self) -> Iterable[Cgroup]:
        for path in cgroups.subdirectories(self.base):
            name = path.rpartition("/")[2]
            if name.startswith(self.prefix):
                yield V2Cgroup(name.removeprefix(self.prefix), path, self)

    def close(self) -> None:
        """As in the base class."""
        try:
            os.rmdir(self.base)
        except OSError:
            return  # still in use, by us or by another store


class V2Cgroup(Cgroup):
    """One group: one folder."""

    def __init__(self, id: str, path: str, hierarchy: V2Hierarchy) -> None:
        super().__init__(id, path)
        self._hierarchy = hierarchy

    @property
    def procs_files(self) -> tuple[str, ...]:
        """The one file to join by."""
        return (f"{self.path}/cgroup.procs",)

    def apply(self, limits: Limits) -> None:
        """Put *limits* into force, in the order of :func:`writes`."""
        for controller, file, value in writes(limits):
            if controller not in self._hierarchy.controllers:
                cause = f"the {controller} controller is not available in {self._hierarchy.base}"
                raise SetupError("set limit", file, cause, _DELEGATE_MEND)
            if file == "memory.swap.max":
                self.notice = cgroups.set_or_tell(self.path, file, value)
            else:
                cgroups.set_limit(self.path, file, value)

    def update(self, resources: Mapping[str, Any]) -> None:
        """As in the base class."""
        self.apply(Limits.read(resources))

    def stats(self, only: Collection[str] = ()) -> dict[str, int | float]:
        """As in the base class; ``cpu_seconds`` is there without the cpu controller."""
        files = {
            "memory_current": "memory.current",
            "memory_peak": "memory.peak",  # since Linux 5.19
            "memory_limit": "memory.max",
            "pids_current": "pids.current",
            "pids_peak": "pids.peak",
        }
        wanted = {key: file for key, file in files.items() if not only or key in only}
        numbers = {key: cgroups.read_number(f"{self.path}/{file}") for key, file in wanted.items()}
        found: dict[str, int | float] = {key: number for key, number in numbers.items() if number is not None}
        cpu = cgroups.read_table(f"{self.path}/cpu.stat")
        if "usage_usec" in cpu:
            found["cpu_seconds"] = cpu["usage_usec"] / 1e6
        return found

    def events(self) -> dict[str, int]:
        """As in the base class; memory.events counts groups inside as well."""
        memory = cgroups.read_table(f"{self.path}/memory.events")
        pids = cgroups.read_table(f"{self.path}/pids.events")
        found = {"oom_kill": memory.get("oom_kill"), "pids_max": pids.get("max")}
        return {key: number for key, number in found.items() if number is not None}

    def kill(self) -> None:
        """As in the base class: ``cgroup.kill`` since Linux 5.14, else by signals to members held still."""
        try:
            cgroups.write(f"{self.path}/cgroup.kill", "1")
        except FileNotFoundError:
            if cgroups.kill_members(self.path):
                self._set_frozen("1")
                cgroups.kill_members(self.path)
                self._set_frozen("0")

    def freeze(self) -> None:
        """As in the base class."""
        self._set_frozen("1")
        deadline = monotonic() + PATIENCE
        while cgroups.read_table(f"{self.path}/cgroup.events").get("frozen") != 1:
            if monotonic() > deadline:
                self._set_frozen("0")
                raise SetupError("pause", self.id, f"some process did not stop within {PATIENCE:g} s")
            sleep(0.001)

    def thaw(self) -> None:
        """As in the base class."""
        self._set_frozen("0")

    def _set_frozen(self, value: str) -> None:
        cgroups.set_limit(self.path, "cgroup.freeze", value)

    def destroy(self, patience: float = PATIENCE) -> None:
        """As in the base class."""
        cgroups.remove_tree(self.path, patience)


def writes(limits: Limits) -> list[tuple[str, str, str]]:
    """What to write for *limits*, in order: ``(controller, file, value)``."""
    found: list[tuple[str, str, str]] = []

    def add(file: str, value: int | str | None, unlimited: str = "max") -> None:
        if value is not None:
            text = unlimited if value == -1 else str(value)
            found.append((file.partition(".")[0], file, text))

    add("memory.max", limits.memory)
    add("memory.swap.max", _swap(limits))
    add("memory.low", limits.reservation)
    add("cpu.weight", None if limits.shares is None else weight_of_shares(limits.shares))
    add("cpu.idle", limits.idle)
    if limits.quota is not None or limits.period is not None:
        quota = limits.quota if limits.quota is not None and limits.quota > 0 else "max"
        add("cpu.max", f"{quota} {limits.period or 100000}")
    add("cpu.max.burst", limits.burst)
    add("cpuset.cpus", limits.cpus)
    add("cpuset.mems", limits.mems)
    if limits.pids is not None:
        add("pids.max", limits.pids if limits.pids > 0 else -1)
    for file, value in limits.unified.items():
        add(file, value)
    return found


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1 to 10000) for cpu.shares (2 to 262144), so that Docker's 1024 becomes the kernel's default 100.

    The curve through the three fixed points that runc and crun agreed on (runc pull request 4785).
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(round(10 ** ((power * power + 125 * power) / 612 - 7 / 34), 9))


def _swap(limits: Limits) -> int | None:
    # OCI's number is memory and swap together; version 2 limits swap alone.
    if limits.swap is None or limits.swap == -1:
        return limits.swap
    if limits.memory is None:
        raise SpecError("read limit", "linux.resources.memory.swap", "a swap limit needs a memory limit beside it")
    if limits.memory == -1 or limits.swap < limits.memory:
        raise SpecError("read limit", "linux.resources.memory.swap", "memory and swap together are less than memory")
    return limits.swap - limits.memory
