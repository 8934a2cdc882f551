"""Kernel settings of a container: only those that belong to one of its own namespaces (ISOLATION 31; runc's rule)."""

from __future__ import annotations

import os

from kernel_runtime.errors import SetupError, SpecError
from kernel_runtime.mounts import Root
from kernel_runtime.spec import Spec

_IPC = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced"}  # fmt: skip


def check(spec: Spec) -> None:
    """Refuse settings that would reach the host, or another container.

    Raises:
        SpecError: naming the setting and the namespace that it would need.
    """
    for key in spec.sysctl:
        name = key.replace("/", ".")
        if any(part in ("", ".", "..") for part in key.split("/")) or "" in name.split("."):
            raise SpecError("set sysctl", key, "it is not the name of a setting", "Write net.ipv4.ip_forward and the like.")
        if name in _IPC or name.startswith("fs.mqueue."):
            needed = "ipc"
        elif name.startswith("net."):
            needed = "network"
        elif name == "kernel.domainname":
            needed = "uts"
        else:
            raise SpecError("set sysctl", key, "it is not namespaced: it would change the host")
        if spec.namespaces.get(needed) != "":
            raise SpecError("set sysctl", key, f"it needs a {needed} namespace of the container's own")


def apply(root: Root, spec: Spec) -> None:
    """Write the settings through the container's own /proc."""
    if not spec.sysctl:
        return
    check(spec)
    for key, value in spec.sysctl.items():
        path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
        try:
            with root.resolve(path, follow=False) as target:
                fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
        except OSError as error:
            raise SetupError("set sysctl", f"{key}={value}", error.strerror or str(error)) from error
