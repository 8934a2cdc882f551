"""/dev of a container: the nodes that every program expects, bound from the host, and the usual links.

Bound and not made: a user namespace may not make device nodes, and one way for all rungs is one way to test.
The list is the OCI runtime-spec's "Default Devices".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from kernel_runtime import syscalls as sc
from kernel_runtime.errors import SetupError
from kernel_runtime.mounts import Root, bind

DEFAULT = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
         "ptmx": "pts/ptmx", "core": "/proc/kcore"}  # fmt: skip

# Read-only keeps the host's node itself as it is (chmod, chown, utimes); a device can still be written to (mount(2)).
_ATTRIBUTES = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC


def furnish(root: Root, extra: tuple[Mapping[str, Any], ...]) -> None:
    """Put the default nodes, the links and the *extra* nodes of ``linux.devices`` into the mounted /dev."""
    dev = root.open("/dev", follow=False)
    try:
        for name in DEFAULT:
            _bind_node(f"/dev/{name}", dev, name)
        for name, target in LINKS.items():
            os.symlink(target, name, dir_fd=dev)
    finally:
        os.close(dev)
    for device in extra:
        _bind_extra(root, device)


def _bind_node(host_path: str, dev: int, name: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=dev))
    node = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=dev)
    try:
        bind(host_path, f"/proc/self/fd/{node}", _ATTRIBUTES)
    finally:
        os.close(node)


def _bind_extra(root: Root, device: Mapping[str, Any]) -> None:
    path, source = str(device["path"]), str(device.get("source") or device["path"])
    if path.rstrip("/").rpartition("/")[2] in DEFAULT and path.startswith("/dev/") and source == path:
        return
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise SetupError("add device", source, error.strerror or str(error), "See ls -l /dev.") from error
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise SetupError("add device", source, "it is not a device node", "Use -v to mount a file or folder.")
    with root.resolve(path, "file") as target:
        bind(source, target, _ATTRIBUTES)
