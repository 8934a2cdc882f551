"""Which rungs of isolation this machine allows, found by trying each, and why the better ones are not.

A rung is tried in a forked process: the namespaces are made, an overlay and a /proc are mounted, nothing stays. Only
single-threaded programs may call this (``python -m kernel_runtime probe``), never a Jupyter kernel.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from kernel_runtime import idmap, trees
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import ProbeError, RuntimeFault
from kernel_runtime.rungs import Rung as Rung

GUARANTEES = {
    Rung.ROOT: "all namespaces, real ids, cgroup limits, seccomp, 14 capabilities",
    Rung.ROOTLESS: "all namespaces, user namespace with subordinate ids, seccomp; root inside is nobody outside",
    Rung.ROOTLESS_SINGLE: "all namespaces, user namespace with one id, ownership emulated, seccomp",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about one rung; ``why`` and ``mend`` are empty where it works."""

    rung: str
    works: bool
    guarantees: str
    why: str = ""
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def enter(rung: Rung) -> None:
    """Put this process where the launcher of *rung* lives: its user namespace, and a private mount namespace.

    Raises:
        ProbeError: this machine does not allow it.
    """
    if rung is not Rung.ROOT:
        idmap.enter_user_namespace(subordinate=rung is Rung.ROOTLESS)
    try:
        sc.unshare(sc.CLONE_NEWNS)
        sc.mount(None, "/", None, sc.MS_SLAVE | sc.MS_REC)
    except OSError as error:
        mend = "Run as an ordinary user where user namespaces are allowed, or as root with CAP_SYS_ADMIN."
        if rung is not Rung.ROOT:
            mend = idmap.forbidden_mend()
        raise ProbeError("unshare", "mount namespace", error.strerror or "", mend, error.errno or 0) from error


def try_rung(rung: Rung, store: str) -> Report:
    """Try *rung* with a throw-away overlay beneath *store*."""
    if rung is Rung.ROOT and os.geteuid() != 0:
        return Report(rung, False, GUARANTEES[rung], "you are not root", "Run as root, if you need real ids.")
    if rung is not Rung.ROOT and os.geteuid() == 0 and rung is Rung.ROOTLESS and not _has_ids():
        return Report(rung, False, GUARANTEES[rung], "root has no subordinate ids", "Not needed: root uses rung root.")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report_from_child(rung, store, writer)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    fault = RuntimeFault.from_dict(json.loads(data)) if data else None
    if fault is None:
        return Report(rung, True, GUARANTEES[rung])
    return Report(
        rung, False, GUARANTEES[rung], f"{fault.step} {fault.object}: {fault.cause}".replace(" :", ":"), fault.mend
    )


def ladder(store: str) -> list[Report]:
    """All rungs, strongest first, each tried."""
    return [try_rung(rung, store) for rung in Rung]


def choose(store: str) -> Rung:
    """The strongest rung that works here.

    Raises:
        ProbeError: none does; the text carries the mend for the easiest one.
    """
    for rung in Rung:
        report = try_rung(rung, store)
        if report.works:
            return rung
    mend = f"{report.mend} `%container doctor` tells of every rung.".lstrip()
    raise ProbeError("isolate", "a container on this machine", report.why, mend)


def _has_ids() -> bool:
    return idmap.subordinate_ids("/etc/subuid", os.geteuid()) is not None


def _report_from_child(rung: Rung, store: str, writer: int) -> None:
    try:
        _try_everything(rung, store)
    except RuntimeFault as fault:
        os.write(writer, json.dumps(fault.to_dict()).encode())
    except BaseException as error:  # noqa: BLE001 - told to the parent
        os.write(writer, json.dumps(ProbeError("try", rung, repr(error)).to_dict()).encode())
    finally:
        os._exit(0)


def _try_everything(rung: Rung, store: str) -> None:
    enter(rung)
    work = os.path.join(store, f".probe-{os.getpid()}-{rung}")
    folders = [os.path.join(work, name) for name in ("lower", "upper", "work", "root")]
    try:
        for folder in folders:
            os.makedirs(folder)
        _step("mount overlay", "in your data folder", lambda: _try_overlay(rung, folders))
        sc.unshare(sc.CLONE_NEWPID | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWCGROUP)
        _step("create network namespace", "", lambda: sc.unshare(sc.CLONE_NEWNET))
        _try_proc(folders[3])
    finally:
        _unmount(folders[3])
        trees.remove(work)


def _unmount(path: str) -> None:
    try:
        sc.umount2(path, sc.MNT_DETACH)
    except OSError:
        return  # it was never mounted


def _try_overlay(rung: Rung, folders: list[str]) -> None:
    lower, upper, work, root = folders
    data = f"lowerdir={lower},upperdir={upper},workdir={work}"
    sc.mount("overlay", root, "overlay", 0, data + ("" if rung is Rung.ROOT else ",userxattr"))
    os.mkdir(os.path.join(root, "proc"))


def _try_proc(root: str) -> None:
    """A /proc needs a process of the new pid namespace."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            sc.mount("proc", os.path.join(root, "proc"), "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
        except OSError as error:
            code = error.errno or 1
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        mend = "This happens inside a container that masks /proc (Docker's default): run outside it, or unmask /proc."
        raise ProbeError("mount", "/proc", os.strerror(code), mend, code)


def _step(step: str, thing: str, action: Any) -> None:
    try:
        action()
    except OSError as error:
        mend = "Overlay in a user namespace needs Linux 5.11 and a data folder on a local file system."
        if "network" in step:
            mend = "See /proc/sys/user/max_net_namespaces."
        raise ProbeError(step, thing, error.strerror or str(error), mend, error.errno or 0) from error
