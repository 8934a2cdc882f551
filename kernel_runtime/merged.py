"""The merged root file system of a container as one descriptor, for whoever reads or writes its files from outside.

Of a running container it is a clone of its root mount alone: what is mounted in it (/proc, volumes, bound files) is not
seen, as docker exports. Of a stopped one it is a read-only overlay over its layers. Either way the mount belongs to no
path of the host and ends with the descriptor. Opened in a child of the launcher, which has the namespace's rights; who
gets the descriptor needs the same ids to read every file (``python -m kernel_runtime unshare``).

Not here: walking the tree (callers do, by descriptors, following nothing).
"""

from __future__ import annotations

import os
import time

from kernel_runtime import mounts, spec, state
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import RuntimeFault, SetupError
from kernel_runtime.spec import Mount

_PATIENCE = 10.0  # seconds for a container that is just being started
_PAUSE = 0.005


def open_root(bundle: str, stage: str, in_user_namespace: bool) -> int:
    """A descriptor of the merged root of the container in *bundle*.

    Leaves this process in another mount namespace: call it in a child that ends afterwards.

    Args:
        stage: an empty folder to mount on, in a mount namespace of this process's own.

    Raises:
        RuntimeFault: the container is just being started, or its root can't be mounted.
    """
    found = state.read(bundle) or {}
    if state.is_running(found):
        if found["status"] not in ("running", "paused"):
            raise RuntimeFault("open root", bundle, "the container is being started", "Try again.")
        fd = _of_running(bundle, int(found["pid"]), int(found["pidStart"]))
        if fd >= 0:
            return fd
    return _overlay_of_stopped(bundle, stage, in_user_namespace)


def _of_running(bundle: str, pid: int, started: int) -> int:
    """The root mount of a process's mount namespace, without the mounts in it; -1 where the process has ended.

    A container is told to run a moment before its process has left the host's root: that one must never be given.
    """
    end, host = time.monotonic() + _PATIENCE, os.stat("/").st_dev
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fd = _clone(pid, started, host)
            except OSError as error:
                raise SetupError("open root", str(pid), error.strerror or str(error), "", error.errno or 0) from error
            if fd is not None:
                return fd
            if time.monotonic() > end:
                raise RuntimeFault("open root", bundle, "the container is still being started", "Try again.")
            sc.setns(own, sc.CLONE_NEWNS)
            time.sleep(_PAUSE)
    finally:
        os.close(own)


def _clone(pid: int, started: int, host: int) -> int | None:
    """A descriptor, -1 where the process has ended, None where its root is still that of file system *host*."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    try:
        if not state.is_alive(pid, started):
            return -1
        sc.prctl(sc.PR_SET_DUMPABLE, 0)  # nothing inside may look into us while we are there (CVE-2016-9962)
        try:
            sc.setns(pidfd, sc.CLONE_NEWNS)
        except OSError:
            if state.is_alive(pid, started):
                raise
            return -1
        fd = sc.open_tree(sc.AT_FDCWD, "/", sc.OPEN_TREE_CLONE)
        if os.fstat(fd).st_dev != host:
            return fd
        os.close(fd)
        return None
    finally:
        os.close(pidfd)


def _overlay_of_stopped(bundle: str, stage: str, in_user_namespace: bool) -> int:
    """A read-only overlay with the container's writable layer as the uppermost of its lower ones.

    So nothing is written to what another process may just be starting the container on.
    """
    root = next(
        (mount for mount in spec.load(os.path.join(bundle, "config.json")).mounts if mount.destination == "/"), None
    )
    if root is None or root.type != "overlay":
        raise SetupError("open root", bundle, "its root is no overlay")
    try:
        sc.unshare(sc.CLONE_NEWNS)
        sc.mount(None, "/", None, sc.MS_PRIVATE | sc.MS_REC)
        mounts.mount_overlay(_readonly(root), stage, in_user_namespace)
        return os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        mend = "`%container doctor` tells what this machine allows."
        raise SetupError("open root", bundle, error.strerror or str(error), mend, error.errno or 0) from error


def _readonly(root: Mount) -> Mount:
    upper = [option.partition("=")[2] for option in root.options if option.startswith("upperdir=")]
    lower = [option for option in root.options if option.startswith("lowerdir+=")]
    return Mount(root.destination, root.type, root.source, (*(f"lowerdir+={path}" for path in upper), *lower, "ro"))
