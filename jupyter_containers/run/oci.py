"""From options and an image to the config.json of the OCI runtime-spec, as Docker would write it. Pure.

The defaults (mounts, masked and read-only paths, capabilities) are Docker's: moby ``daemon/pkg/oci/defaults.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import Mount, RunOptions
from jupyter_containers.run.profile import Profile

_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_NAMESPACES = ("mount", "pid", "ipc", "uts", "cgroup")
_HIDDEN = ("nosuid", "noexec", "nodev")
_PERIOD = 100_000  # microseconds, the period of --cpus


@dataclass(frozen=True)
class Plan:
    """Everything that config.json is made from.

    Attributes:
        args: the whole command line.
        root: the root file system's mounts (see :mod:`jupyter_containers.run.rootfs`).
        image_config: the ``config`` object of the image (``Env``, ``WorkingDir``, ``User`` …).
        extra_mounts: mounts that are not the user's: the cell's script, variables.
        etc: texts of ``/etc/hosts`` and its like by path.
        thermal: ``/sys/devices/system/cpu/cpuN/thermal_throttle`` folders of this machine, to be masked.
    """

    options: RunOptions
    args: Sequence[str]
    bundle: Path
    root: Sequence[Mapping[str, Any]]
    image_config: Mapping[str, Any]
    profile: Profile
    hostname: str
    rung: str
    pids_limit: int
    extra_mounts: Sequence[Mapping[str, Any]] = ()
    masks: Sequence[str] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)
    thermal: Sequence[str] = ()
    etc: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_user_namespace(self) -> bool:
        """Whether the rung is an unprivileged one."""
        return self.rung != "root"


def config(plan: Plan) -> dict[str, Any]:
    """The config.json."""
    options = plan.options
    return {
        "ociVersion": "1.2.0",
        "process": _process(plan),
        "root": {"path": "rootfs", "readonly": options.read_only},
        "hostname": plan.hostname,
        "mounts": [*plan.root, *_system_mounts(plan), *_etc_mounts(plan), *_user_mounts(plan), *plan.extra_mounts],
        "annotations": _annotations(plan),
        "linux": _linux(plan),
    }


def environment(plan: Plan) -> dict[str, str]:
    """The variables: PATH and HOSTNAME, the image's, then the user's; TERM with a terminal."""
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": plan.hostname}
    if plan.options.tty:
        variables["TERM"] = "xterm"
    variables |= dict(entry.partition("=")[::2] for entry in plan.image_config.get("Env") or [])
    for name in plan.options.unset_env:
        variables.pop(name, None)
    return variables | dict(plan.options.env)


def _process(plan: Plan) -> dict[str, Any]:
    options, profile = plan.options, plan.profile
    sets = {name: list(profile.capabilities) for name in ("bounding", "effective", "permitted")}
    return {
        "terminal": options.tty,
        "user": {
            "uid": 0,
            "gid": 0,
            "username": options.user or plan.image_config.get("User") or "0",
            "additionalGroups": list(options.group_add),
        },
        "args": list(plan.args),
        "env": [f"{name}={value}" for name, value in environment(plan).items()],
        "cwd": options.workdir or plan.image_config.get("WorkingDir") or "/",
        "capabilities": sets,
        "rlimits": [
            {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
            for limit in options.ulimits
        ],
        "noNewPrivileges": profile.no_new_privileges,
    }


def _annotations(plan: Plan) -> dict[str, str]:
    network = plan.options.network
    notes = {"org.nb-containers.network": network}
    if plan.rung == "rootless-single":
        notes["org.nb-containers.emulate-ownership"] = "true"
    if plan.options.init:
        notes["org.nb-containers.init"] = "true"
    return notes


def _linux(plan: Plan) -> dict[str, Any]:
    options = plan.options
    namespaces = [{"type": kind} for kind in _NAMESPACES]
    if options.network != "host":
        namespaces.append({"type": "network"})
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "resources": _resources(plan),
        "devices": [{"path": device.target, "source": device.source} for device in options.devices],
        "sysctl": dict(options.sysctls),
        "maskedPaths": [] if options.privileged else [*_MASKED, *plan.thermal, *plan.masks],
        "readonlyPaths": [] if options.privileged else list(_READONLY),
    }
    if plan.profile.seccomp:
        linux["seccomp"] = plan.profile.seccomp
    return linux


def _resources(plan: Plan) -> dict[str, Any]:
    options = plan.options
    pids = plan.pids_limit if options.pids_limit is None else options.pids_limit
    resources: dict[str, Any] = {"pids": {"limit": pids}} if pids > 0 else {}
    if options.memory:
        swap = options.memory_swap if options.memory_swap is not None else options.memory * 2
        resources["memory"] = {"limit": options.memory, "swap": swap}
    cpu: dict[str, Any] = {}
    if options.cpus:
        cpu |= {"quota": int(options.cpus * _PERIOD), "period": _PERIOD}
    if options.cpu_shares:
        cpu["shares"] = options.cpu_shares
    if options.cpuset_cpus:
        cpu["cpus"] = options.cpuset_cpus
    return resources | ({"cpu": cpu} if cpu else {})


# -- mounts ----------------------------------------------------------------------------------------------------


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _system_mounts(plan: Plan) -> list[dict[str, Any]]:
    shm = f"size={plan.options.shm_size}"
    readonly = () if plan.options.privileged else ("ro",)
    mounts = [
        _mount("/proc", "proc", "proc", *_HIDDEN),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/dev/shm", "tmpfs", "shm", *_HIDDEN, "mode=1777", shm),  # noqa: S108
        _mount("/dev/mqueue", "mqueue", "mqueue", *_HIDDEN),
    ]
    if plan.options.network == "host" and plan.in_user_namespace:  # a sysfs of its own needs a network of its own
        mounts.append(_mount("/sys", "bind", "/sys", "rbind", "rslave", *_HIDDEN, "ro"))
    else:
        mounts.append(_mount("/sys", "sysfs", "sysfs", *_HIDDEN, *readonly))
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", *_HIDDEN, *readonly))
    return mounts


def _etc_mounts(plan: Plan) -> list[dict[str, Any]]:
    return [_mount(path, "data", text, "rprivate") for path, text in plan.etc.items()]


def _user_mounts(plan: Plan) -> list[dict[str, Any]]:
    mounts = []
    for mount in plan.options.volumes:
        mounts.append(_user_mount(plan, mount))
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _user_mount(plan: Plan, mount: Mount) -> dict[str, Any]:
    access = ("ro",) if mount.read_only else ("rw",)
    if mount.type == "tmpfs":
        return _mount(mount.target, "tmpfs", "tmpfs", *_HIDDEN, *access, *mount.options)
    source = str(plan.volumes[mount.source]) if mount.type == "volume" else mount.source
    if source in ("", "/") and plan.in_user_namespace and mount.type == "bind" and not source:
        raise InvalidArgument(f"mount {mount.target}: the source is missing")
    return _mount(mount.target, "bind", source, "rbind", *(mount.options or ("rprivate",)), *access)
