"""What of a container can be made before it is known: /proc, /dev and /sys as Docker's defaults have them.

A waiting process mounts them on a stage, a small tmpfs in its own mount namespace, protected and masked. When it learns
which container it is, the finished trees are moved into the root. A container that asks for anything else than the
defaults there gets everything made afresh.
"""

from __future__ import annotations

import os

from kernel_runtime import devices, mounts
from kernel_runtime import syscalls as sc
from kernel_runtime.mounts import Root
from kernel_runtime.spec import Mount, Spec

_MOST_BYTES = 8 * 1024 * 1024  # as much as an order may be long
_HIDDEN = ("nosuid", "noexec", "nodev")
PROC = Mount("/proc", "proc", "proc", _HIDDEN)
DEV = (
    Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    Mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    Mount("/dev/shm", "tmpfs", "shm", (*_HIDDEN, "mode=1777", "size=67108864")),  # noqa: S108
    Mount("/dev/mqueue", "mqueue", "mqueue", _HIDDEN),
)
SYS = Mount("/sys", "sysfs", "sysfs", (*_HIDDEN, "ro"))
CGROUP = Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*_HIDDEN, "ro"))
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
          "/sys/firmware")  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
TREES = ("/proc", "/dev", "/sys")


class Stage:
    """The finished trees, mounted beneath *path* in this process's mount namespace."""

    def __init__(self, path: str, in_user_namespace: bool, procs_files: tuple[str, ...], own_network: bool) -> None:
        sc.mount("tmpfs", path, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, f"mode=700,size={_MOST_BYTES}")
        sc.mount(None, path, None, sc.MS_PRIVATE)
        self.path, self.in_user_namespace, self._files = path, in_user_namespace, 0
        self.root = f"{path}/root"
        os.mkdir(self.root)
        self._ready = {PROC, *DEV, *((SYS, CGROUP) if own_network else ())}
        root = Root(path, in_user_namespace)
        for mount in (PROC, *DEV, *((SYS,) if own_network else ())):
            mounts.mount_one(root, mount)
        devices.furnish(root, ())
        mounts.make_readonly(root, READONLY)
        if procs_files and own_network:
            mounts.mount_cgroup(root, CGROUP, procs_files)
        mounts.mask(root, MASKED)
        os.close(root.fd)

    def fits(self, spec: Spec) -> bool:
        """Whether *spec* asks for just these trees, and for nothing that must be set before they are protected."""
        wanted = set(spec.mounts)
        return (
            wanted.issuperset(self._ready)
            and set(spec.masked_paths).issuperset(MASKED)
            and set(spec.readonly_paths).issuperset(READONLY)
            and not (spec.sysctl or spec.process.terminal or spec.devices)
        )

    def covers(self, mount: Mount) -> bool:
        """Whether *mount* comes with one of the trees."""
        return mount in self._ready

    def write(self, text: str, mode: int, owner: tuple[int, int] = (0, 0)) -> str:
        """A new file on the stage, in memory that counts as the container's; its path.

        Args:
            text: bytes that are no UTF-8 are in it as surrogates (Python's ``surrogateescape``).
        """
        self._files += 1
        path = f"{self.path}/file{self._files}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            write_all(fd, text)
            if owner != (0, 0):
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        return path

    def move_to(self, root: Root, destination: str) -> None:
        """Move one tree to its place beneath *root*."""
        with root.resolve(destination, "directory", follow=False) as target:
            sc.mount(self.path + destination, target, None, sc.MS_MOVE)


def write_all(fd: int, text: str) -> None:
    """Write the whole *text*; bytes that are no UTF-8 are in it as surrogates (``surrogateescape``)."""
    data = text.encode(errors="surrogateescape")
    while data:
        data = data[os.write(fd, data) :]
