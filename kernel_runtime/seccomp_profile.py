"""Which system calls a container may make: Docker's default, and the emulation of ownership for one-id namespaces.

Written as its complement: everything in ``syscall_table`` is allowed but what is listed here, each group with its
reason and with the capabilities that lift it. The effect is that of moby's ``seccomp/default.json``; the differences
are the calls of :data:`TOO_NEW`, answered as an older kernel would. A profile is an OCI ``linux.seccomp`` object, for
``seccomp`` here or for any other runtime.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from errno import ENOSYS, EPERM
from typing import Any, NamedTuple

from . import syscall_table, syscalls


class Denied(NamedTuple):
    """Calls refused with EPERM, why, and the capabilities of which any one lifts the refusal."""

    reason: str
    names: str
    unless: tuple[str, ...] = ()


_ADMIN = "CAP_SYS_ADMIN"

DENIED: tuple[Denied, ...] = (
    Denied("The kernel's key rings are not namespaced by container.", "add_key keyctl request_key"),
    Denied("Makes calls that no filter sees.", "io_uring_setup io_uring_enter io_uring_register"),
    Denied("Lets a process hold the kernel in the middle of a copy: a tool of exploits.", "userfaultfd"),
    Denied("Starts another kernel.", "kexec_load kexec_file_load"),
    Denied("Swap and the placing of memory are the host's.", "swapon swapoff migrate_pages move_pages"),
    Denied("The root of the mount namespace was set for good.", "pivot_root"),
    Denied("Changes what is mounted where.", "mount umount umount2 mount_setattr move_mount open_tree", (_ADMIN,)),
    Denied("Opens file systems, whose code trusts its input.", "fsopen fsconfig fsmount fspick", (_ADMIN,)),
    Denied("Makes or joins namespaces, and with them capabilities.", "unshare setns", (_ADMIN,)),
    Denied("Names are set when the container starts.", "sethostname setdomainname", (_ADMIN,)),
    Denied("Quotas belong to the host.", "quotactl quotactl_fd", (_ADMIN,)),
    Denied("Sees every access to a mount, and profiles the whole machine.", "fanotify_init lookup_dcookie", (_ADMIN,)),
    Denied("Tells about and sets security modules.", "lsm_get_self_attr lsm_set_self_attr lsm_list_modules", (_ADMIN,)),
    Denied("Loads programs into the kernel.", "bpf", (_ADMIN, "CAP_BPF")),
    Denied("Observes the machine, with a history of flaws.", "perf_event_open", (_ADMIN, "CAP_PERFMON")),
    Denied("The kernel's log tells addresses and is the host's.", "syslog", (_ADMIN, "CAP_SYSLOG")),
    Denied("Opens files by number, past every path and mount.", "open_by_handle_at", ("CAP_DAC_READ_SEARCH",)),
    Denied("Stops the machine.", "reboot", ("CAP_SYS_BOOT",)),
    Denied("A changed root is a way out of careless ones.", "chroot", ("CAP_SYS_CHROOT",)),
    Denied("Changes the kernel's code.", "init_module finit_module delete_module", ("CAP_SYS_MODULE",)),
    Denied("Process accounting is the host's.", "acct", ("CAP_SYS_PACCT",)),
    Denied(
        "Reaches into other processes beyond ptrace's checks.", "kcmp pidfd_getfd process_madvise", ("CAP_SYS_PTRACE",)
    ),
    Denied("Speaks to the hardware.", "iopl ioperm", ("CAP_SYS_RAWIO",)),
    Denied("There is one clock for all.", "settimeofday stime clock_settime clock_settime64", ("CAP_SYS_TIME",)),
    Denied("Takes terminals away from others.", "vhangup", ("CAP_SYS_TTY_CONFIG",)),
    Denied(
        "Places memory against the host's plan.",
        "mbind get_mempolicy set_mempolicy set_mempolicy_home_node",
        ("CAP_SYS_NICE",),
    ),
    Denied(
        "Removed from the kernel, never in it, or only for programs of the last century.",
        "_sysctl afs_syscall bdflush break create_module ftime get_kernel_syms get_tls getpmsg gtty idle lock mpx "
        "nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname pciconfig_iobase pciconfig_read "
        "pciconfig_write prof profil putpmsg query_module readdir security sgetmask sigaction signal sigpending "
        "sigsuspend ssetmask stty sysfs tuxcall ulimit uselib usr26 usr32 ustat vm86 vm86old vserver",
    ),
)

# Newer than Docker's profile. ENOSYS tells a program to do it the old way; EPERM would tell it to give up.
TOO_NEW = ("file_getattr", "file_setattr", "listns", "open_tree_attr", "rseq_slice_yield", "uprobe")

AF_ALG, AF_VSOCK = 38, 40
_NEW_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWCGROUP
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
)
# PER_LINUX and PER_LINUX32, each also with UNAME26, and the question for the present one. Not ADDR_NO_RANDOMIZE.
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

# Charliecloud's list (its seccomp(2) root emulation): with one mapped id these can only fail, so they are not done.
_WITH_IDS = (
    *("chown", "fchown", "lchown", "setgroups", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid"),
    *("setfsuid", "setfsgid"),
)
OWNERSHIP = (*_WITH_IDS, *(f"{name}32" for name in _WITH_IDS), "fchownat", "capset")
_MAKE_NODE = {"mknod": 1, "mknodat": 2}  # which argument is the mode
_TYPE, _CHARACTER, _BLOCK = 0o170000, 0o020000, 0o060000
_HARMLESS_TYPES = (0, 0o010000, 0o100000, 0o140000)  # a regular file twice, a FIFO, a socket


DEFAULT = "default"  # in an order: Docker's default filter for its default capabilities


def default_profile(capabilities: Collection[str], machine: str | None = None) -> dict[str, Any]:
    """Docker's default filter, for a container that holds *capabilities* (``CAP_…``), as an OCI object.

    Args:
        capabilities: the names in the container's bounding set.
        machine: a name of ``os.uname()``; this machine's if None. It decides only the architectures listed.
    """
    held = frozenset(capabilities)
    denied = {name for group in DENIED if not held.intersection(group.unless) for name in group.names.split()}
    rules = _socket_rules() + _personality_rules()
    if _ADMIN not in held:
        # The kernel's argument order of clone differs on s390 alone, which has no table here.
        rules.append(_rule(["clone"], "ALLOW", args=[_masked(0, _NEW_NAMESPACES, 0)]))
        rules.append(_rule(["clone3"], "ERRNO", ENOSYS))  # its flags lie in memory, where no filter can look
    rules.append(_rule(sorted(TOO_NEW), "ERRNO", ENOSYS))
    special = {name for rule in rules for name in rule["names"]}
    allowed = sorted(syscall_table.names() - denied - special)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": [abi.name for abi in syscall_table.abis(machine or os.uname().machine)],
        "syscalls": [_rule(allowed, "ALLOW"), *rules],
    }


def emulate_ownership(profile: Mapping[str, Any]) -> dict[str, Any]:
    """*profile* with changes of owner, identity and device nodes answered by success, and nothing done.

    For a namespace with one id: package managers, ``useradd`` and ``chown`` then work as for root, although every file
    keeps the one owner. FIFOs, sockets and regular files are really made by mknod.
    """
    taken = {*OWNERSHIP, *_MAKE_NODE}
    kept = []
    for rule in profile.get("syscalls") or ():
        names = [name for name in rule["names"] if name not in taken]
        if names:
            kept.append({**rule, "names": names})
    emulated = [_rule(list(OWNERSHIP), "ERRNO", 0)]
    for name, mode in _MAKE_NODE.items():
        emulated += [_rule([name], "ERRNO", 0, [_masked(mode, _TYPE, kind)]) for kind in (_CHARACTER, _BLOCK)]
        emulated += [_rule([name], "ALLOW", args=[_masked(mode, _TYPE, kind)]) for kind in _HARMLESS_TYPES]
    return {**profile, "syscalls": [*kept, *emulated]}


def _socket_rules() -> list[dict[str, Any]]:
    """Every family but the kernel's cryptography and the line to the hypervisor."""
    ranges = (("LT", AF_ALG), ("EQ", AF_ALG + 1), ("GT", AF_VSOCK))
    return [_rule(["socket"], "ALLOW", args=[_argument(0, operator, value)]) for operator, value in ranges]


def _personality_rules() -> list[dict[str, Any]]:
    return [_rule(["personality"], "ALLOW", args=[_argument(0, "EQ", value)]) for value in _PERSONALITIES]


def _rule(
    names: list[str], action: str, errno: int | None = None, args: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": f"SCMP_ACT_{action}"}
    if errno is not None:
        rule["errnoRet"] = errno
    if args:
        rule["args"] = args
    return rule


def _argument(index: int, operator: str, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
