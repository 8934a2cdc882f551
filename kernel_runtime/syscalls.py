"""The system calls that Python's standard library lacks: one checked wrapper each, and nothing else.

This is the only file with ctypes. Names are the kernel's; each function raises ``OSError(errno, text, name)`` on
failure. The numbers of ``openat2`` and its like are the same on every architecture (they are newer than the unified
table of Linux 5.1); only ``pivot_root`` differs.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)

# sched.h
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# sys/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2

# linux/mount.h: mount_setattr, open_tree, move_mount
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
OPEN_TREE_CLONE = 1
AT_RECURSIVE = 0x8000
AT_EMPTY_PATH = 0x1000
AT_FDCWD = -100
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4

# linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_PIDFD_SEND_SIGNAL, _NR_OPENAT2, _NR_MOUNT_SETATTR = 428, 429, 424, 437, 442
_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217, "armv7l": 218}
_NR_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "ppc64le": 358, "s390x": 348, "armv7l": 383}
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_MACHINE = platform.machine()


def _check(result: int, name: str) -> int:
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), name)
    return result


def _bytes(path: str | bytes | os.PathLike[str] | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by CLONE_* flags for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, nstype: int = 0) -> None:
    """setns(2): join the namespace behind *fd*, or those of a pidfd named by CLONE_* flags."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(nstype)), "setns")


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). *data* is at most one page."""
    _check(
        _libc.mount(_bytes(source), _bytes(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data)),
        f"mount {target}",
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(_bytes(target), ctypes.c_int(flags)), f"umount2 {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.syscall(ctypes.c_long(_NR_PIVOT_ROOT[_MACHINE]), _bytes(new_root), _bytes(put_old)), "pivot_root")


def sethostname(name: str) -> None:
    """sethostname(2), at most 64 bytes."""
    data = name.encode()
    _check(_libc.sethostname(data, ctypes.c_size_t(len(data))), "sethostname")


def setdomainname(name: str) -> None:
    """setdomainname(2), at most 64 bytes."""
    data = name.encode()
    _check(_libc.setdomainname(data, ctypes.c_size_t(len(data))), "setdomainname")


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with whole-number arguments; the result is the call's."""
    return _check(_libc.prctl(option, arg2, arg3, arg4, arg5), "prctl")


def capget() -> tuple[int, int, int]:
    """capget(2) of this process: (effective, permitted, inheritable) as bit masks."""
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)), bytes(24)
    buffer = ctypes.create_string_buffer(data, 24)
    _check(_libc.capget(header, buffer), "capget")
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", buffer.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of this process from bit masks."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0))
    sets = (effective, permitted, inheritable)
    data = struct.pack("=6I", *(s & 0xFFFFFFFF for s in sets), *(s >> 32 for s in sets))
    _check(_libc.capset(header, ctypes.create_string_buffer(data, 24)), "capset")


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp_set_filter(bpf: bytes, flags: int = 0) -> None:
    """seccomp(2) SECCOMP_SET_MODE_FILTER with a program of 8-byte ``struct sock_filter`` instructions."""
    program = _SockFprog(len(bpf) // 8, bpf)
    _check(
        _libc.syscall(
            ctypes.c_long(_NR_SECCOMP[_MACHINE]),
            ctypes.c_uint(SECCOMP_SET_MODE_FILTER),
            ctypes.c_uint(flags),
            ctypes.byref(program),
        ),
        "seccomp",
    )


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): an open whose path resolution is confined by RESOLVE_* flags; O_CLOEXEC is added."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return _check(
        _libc.syscall(ctypes.c_long(_NR_OPENAT2), ctypes.c_int(dirfd), _bytes(path), how, ctypes.c_size_t(len(how))),
        f"openat2 {os.fsdecode(path)}",
    )


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of a mount tree, detached with OPEN_TREE_CLONE; close-on-exec."""
    return _check(
        _libc.syscall(
            ctypes.c_long(_NR_OPEN_TREE), ctypes.c_int(dirfd), _bytes(path), ctypes.c_uint(flags | os.O_CLOEXEC)
        ),
        f"open_tree {path}",
    )


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    """move_mount(2): attach a detached mount tree, or move one."""
    _check(
        _libc.syscall(
            ctypes.c_long(_NR_MOVE_MOUNT),
            ctypes.c_int(from_fd),
            _bytes(from_path),
            ctypes.c_int(to_fd),
            _bytes(to_path),
            ctypes.c_uint(flags),
        ),
        f"move_mount {to_path}",
    )


def mount_setattr(dirfd: int, path: str, flags: int, attr_set: int, attr_clr: int = 0, propagation: int = 0) -> None:
    """mount_setattr(2): change MOUNT_ATTR_* of a mount, of the whole tree with AT_RECURSIVE (Linux 5.12)."""
    attr = struct.pack("=QQQQ", attr_set, attr_clr, propagation, 0)
    _check(
        _libc.syscall(
            ctypes.c_long(_NR_MOUNT_SETATTR),
            ctypes.c_int(dirfd),
            _bytes(path),
            ctypes.c_uint(flags),
            attr,
            ctypes.c_size_t(len(attr)),
        ),
        f"mount_setattr {path}",
    )


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2): a signal that can't hit a reused pid."""
    _check(
        _libc.syscall(
            ctypes.c_long(_NR_PIDFD_SEND_SIGNAL), ctypes.c_int(pidfd), ctypes.c_int(signal), None, ctypes.c_uint(0)
        ),
        "pidfd_send_signal",
    )
