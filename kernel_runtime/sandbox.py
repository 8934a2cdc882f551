"""The recipe: how a process becomes a container, as an ordered list of step values.

The loop in :func:`furnish` runs it; ``--explain`` narrates the same list; errors name the step that failed. What the
steps do in detail is in :mod:`mounts`, :mod:`devices`, :mod:`console`, :mod:`network`; what comes after them, the
change of identity and ``execve``, in :mod:`init`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_runtime import console, devices, mounts, network, sysctls
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import RuntimeFault, SetupError, full_disk_mend
from kernel_runtime.mounts import Root
from kernel_runtime.protocol import Channel
from kernel_runtime.spec import Mount, Process, Spec
from kernel_runtime.stage import MASKED, READONLY, TREES, Stage


@dataclass
class Context:
    """What the steps share: the plan, and what earlier steps have made."""

    spec: Spec
    bundle: str
    in_user_namespace: bool
    procs_files: tuple[str, ...] = ()
    monitor: Channel | None = None
    stage: Stage | None = None
    texts: dict[str, int] | None = None  # descriptors of "data" mounts by destination, where their text comes later
    timings: list[tuple[str, float]] = field(default_factory=list)
    _root: Root | None = None

    @property
    def root_path(self) -> str:
        """The mount point of the root file system on the host: the root itself, where config.json mounts none on it."""
        if self.stage and any(mount.destination == "/" for mount in self.spec.mounts):
            return self.stage.root
        return os.path.join(self.bundle, self.spec.root_path)

    @property
    def root(self) -> Root:
        """The root file system, once it is mounted."""
        if self._root is None:
            self._root = Root(self.root_path, self.in_user_namespace)
        return self._root


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does, to what, by which system call, and why."""

    name: str
    object: str
    call: str
    why: str
    action: Callable[[Context], None]

    def describe(self) -> str:
        """One line for ``--explain``."""
        return f"{self.name} {self.object}: {self.why} [{self.call}]".replace("  ", " ")

    def apply(self, context: Context) -> None:
        """Do it.

        Raises:
            SetupError: naming this step, its object and the mend.
        """
        start = time.perf_counter()
        try:
            self.action(context)
        except RuntimeFault:
            raise
        except OSError as error:
            cause = error.strerror or str(error)
            raise SetupError(self.name, self.object, cause, _mend(self, error), error.errno or 0) from error
        context.timings.append((self.describe(), time.perf_counter() - start))


_NOTHING = Spec(Process(("",)), "")


def recipe(spec: Spec, stage: Stage | None = None) -> list[Step]:
    """The steps that *spec* asks for, in the order in which they are done; *stage* holds trees that are ready."""
    ready = stage if stage and stage.fits(spec) else None
    root_mount = next((mount for mount in spec.mounts if mount.destination == "/"), None)
    others = [mount for mount in spec.mounts if mount.destination != "/"]
    steps = [
        Step("mount", "/", "mount(2)", "the image below, copy-on-write above", lambda c: _mount_root(c, root_mount)),
    ]
    steps += _mount_steps(others, ready)
    if ready is None and any(mount.destination == "/dev" for mount in others):
        steps.append(Step("bind", "/dev nodes", "move_mount(2)", "null, zero, random, tty …", _furnish_dev))
    if spec.process.terminal:
        steps.append(Step("open", "/dev/console", "TIOCGPTPEER", "a pseudo terminal", _open_console))
    masked = [path for path in spec.masked_paths if not ready or path not in MASKED]
    readonly = [path for path in spec.readonly_paths if not ready or path not in READONLY]
    steps += [
        Step("set", "sysctl", "write(/proc/sys)", "namespaced kernel settings", lambda c: sysctls.apply(c.root, spec)),
        Step("protect", "paths", "mount_setattr(2)", "kernel settings", lambda c: _make_readonly(c, tuple(readonly))),
        Step("mask", "paths", "move_mount(2)", "what tells of the host", lambda c: mounts.mask(c.root, tuple(masked))),
        Step("pivot", "root", "pivot_root(2)", "leave the host's file system", _pivot),
        Step("name", spec.hostname or "host", "sethostname(2)", "its own host name", _set_names),
    ]
    return steps


def _mount_steps(wanted: list[Mount], ready: Stage | None) -> list[Step]:
    """One step per mount; those that are ready are moved as whole trees, with what is mounted in them."""
    steps: list[Step] = []
    for mount in wanted:
        if ready is None or not ready.covers(mount):
            steps.append(_mount_step(mount))
        elif mount.destination in TREES:
            steps.append(_move_step(ready, mount.destination))
    return steps


def _move_step(ready: Stage, destination: str) -> Step:
    return Step(
        "move", destination, "mount(MS_MOVE)", "made ready beforehand", lambda c: ready.move_to(c.root, destination)
    )


def furnish(context: Context) -> None:
    """Run the recipe in this process, which becomes the container's first process."""
    for step in recipe(context.spec, context.stage):
        step.apply(context)


def _mount_step(mount: Mount) -> Step:
    if mount.type == "data":
        return Step("bind", mount.destination, "move_mount(2)", "its own text", lambda c: _mount_data(c, mount))
    if mount.type == "cgroup":
        return Step("bind", mount.destination, "move_mount(2)", "its own cgroup", lambda c: _bind_cgroup(c, mount))
    why = {"proc": "its own processes", "tmpfs": "memory", "bind": f"from {mount.source}", "overlay": "copy-on-write"}
    text = why.get(mount.type, mount.type)
    return Step("mount", mount.destination, "mount(2)", text, lambda c: mounts.mount_one(c.root, mount))


def prepare(network: str, netns_fd: int, in_user_namespace: bool, stage: str, procs_files: tuple[str, ...]) -> Stage:
    """What every container begins with, done before the container is known: cgroup, namespaces, /proc, /dev, /sys.

    Args:
        network: ``host`` keeps the present network namespace, ``default`` joins *netns_fd*, ``none`` makes a new one.
        stage: a folder to mount on, seen by this process alone.

    Raises:
        SetupError: naming the step.
    """
    enter = Step("enter network", network, "setns or unshare(CLONE_NEWNET)", "its own interfaces",
                 lambda _: _enter_network(network, netns_fd))  # fmt: skip
    _prepared(Step("join cgroup", "", "write(cgroup.procs)", "limits and accounts", lambda _: _join(procs_files)))
    _prepared(enter)
    _prepared(Step("unshare", "mount ipc uts cgroup", "unshare(2)", "its own mounts, queues and names", _unshare))
    return Stage(stage, in_user_namespace, procs_files, own_network=network != "host")


def _prepared(step: Step) -> None:
    step.apply(Context(_NOTHING, "", False))


def _join(procs_files: tuple[str, ...]) -> None:
    for path in procs_files:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def _enter_network(kind: str, netns_fd: int) -> None:
    if kind == "default":
        sc.setns(netns_fd, sc.CLONE_NEWNET)
        os.close(netns_fd)
    elif kind != "host":
        network.new_with_loopback()


def _unshare(_: Context) -> None:
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWCGROUP)
    sc.mount(None, "/", None, sc.MS_SLAVE | sc.MS_REC)


def _mount_root(context: Context, mount: Mount | None) -> None:
    mounts.mount_root(context.root_path, mount, context.in_user_namespace)


def _bind_cgroup(context: Context, mount: Mount) -> None:
    if context.procs_files:
        mounts.mount_cgroup(context.root, mount, context.procs_files)


def _mount_data(context: Context, mount: Mount) -> None:
    if context.stage is None:
        raise SetupError("mount", mount.destination, "there is no stage to write it on")
    said = dict(option.split("=", 1) for option in mount.options if option.startswith(("mode=", "uid=", "gid=")))
    options = ("bind", *(option for option in mount.options if option.partition("=")[0] not in said))
    one_id = context.spec.emulates_ownership  # there is nobody else to give it to
    owner = (0, 0) if one_id else (int(said.get("uid", 0)), int(said.get("gid", 0)))
    path = context.stage.write(mount.source, int(said.get("mode", "644"), 8), owner)
    if context.texts is not None:
        context.texts[mount.destination] = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    mounts.mount_one(context.root, Mount(mount.destination, "bind", path, options))


def _furnish_dev(context: Context) -> None:
    devices.furnish(context.root, context.spec.devices)


def _open_console(context: Context) -> None:
    assert context.monitor is not None
    console.open_console(context.root, context.spec.process, context.monitor)


def _make_readonly(context: Context, paths: tuple[str, ...]) -> None:
    mounts.make_readonly(context.root, paths)
    if context.spec.root_readonly:
        mounts.make_root_readonly(context.root)


def _pivot(context: Context) -> None:
    """pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one and is taken off."""
    os.fchdir(context.root.fd)
    sc.pivot_root(".", ".")
    sc.umount2(".", sc.MNT_DETACH)
    os.chdir("/")


def _set_names(context: Context) -> None:
    if "uts" in context.spec.namespaces:
        if context.spec.hostname:
            sc.sethostname(context.spec.hostname)
        if context.spec.domainname:
            sc.setdomainname(context.spec.domainname)


def _mend(step: Step, error: OSError) -> str:
    if step.name == "enter network" and error.errno in (errno.EPERM, errno.ENOSPC):
        return "See /proc/sys/user/max_net_namespaces, or use --network host."
    if step.name == "unshare" and error.errno == errno.ENOSPC:
        return "See /proc/sys/user/max_*_namespaces."
    if mend := full_disk_mend(error.errno or 0):
        return mend
    if step.name == "mount" and error.errno in (errno.EPERM, errno.EACCES, errno.EINVAL):
        return "`%container doctor` tells what this machine allows."
    return ""
