"""The program that tries to get out, run inside a container: ``probe_inside.py PART [ARGUMENT...]`` prints JSON.

Every attempt is harmless where it succeeds (wrong arguments, the mode that is there already); the tests judge what
is printed. Standard library only: the image holds no more of Python than this imports.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
          "/sys/devices/virtual/powercap")  # fmt: skip
WRITABLE = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
            "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger",
            "/proc/irq/default_smp_affinity", "/proc/bus/pci/00/00.0", "/sys/kernel/uevent_helper", "/sys/power/state",
            "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/kernel/yama/ptrace_scope")  # fmt: skip
CALLS = ("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load",
         "init_module", "finit_module", "delete_module", "open_by_handle_at", "mount", "umount2", "pivot_root", "setns",
         "io_uring_setup", "io_uring_enter", "io_uring_register", "swapon", "swapoff", "acct", "quotactl", "fsopen",
         "fsconfig", "fsmount", "fspick", "open_tree", "move_mount", "mount_setattr", "syslog", "iopl", "ioperm",
         "settimeofday", "clock_settime", "kcmp", "lookup_dcookie", "fanotify_init", "vhangup", "move_pages",
         "migrate_pages", "sethostname", "setdomainname", "clone3", "pidfd_getfd")  # fmt: skip
CONTROL = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
NEWUSER, NEWNS, NEWNET = 0x10000000, 0x00020000, 0x40000000


def attempt(action: Callable[[], Any]) -> str:
    """``ok`` or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except OverflowError as error:
        return str(error)
    return "ok"


def call(number: int, *arguments: int) -> str:
    """A system call by number."""
    ctypes.set_errno(0)
    if LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments)) >= 0:
        return "ok"
    return errno.errorcode.get(ctypes.get_errno(), "?")


def read(path: str) -> str:
    """The text of a file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def open_for_writing(path: str) -> str:
    """Whether *path* can be opened for writing; nothing is written."""
    return attempt(lambda: os.close(os.open(path, os.O_WRONLY)))


def in_child(action: Callable[[], str]) -> str:
    """What *action* says, done in a forked process that may crash."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, action().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return text or f"died {status}"


# -- the parts of "facts" --------------------------------------------------------------------------------------


def masked() -> dict[str, Any]:
    """What each path that Docker masks shows."""
    thermal = [f"/sys/devices/system/cpu/{name}/thermal_throttle" for name in os.listdir("/sys/devices/system/cpu")]
    return {path: _look(path) for path in (*MASKED, *thermal) if os.path.lexists(path)}


def _look(path: str) -> dict[str, Any]:
    found = os.stat(path)
    if os.path.isdir(path):
        make = attempt(lambda: os.mkdir(f"{path}/x"))
        return {
            "folder": True,
            "content": os.listdir(path),
            "write": make,
            "links": found.st_nlink,
            "device": found.st_dev,
        }
    try:
        with open(path, "rb") as file:
            content = file.read(64).hex()
    except OSError as error:
        content = errno.errorcode[error.errno or 0]
    return {"folder": False, "content": content, "write": open_for_writing(path), "character": found.st_rdev}


def system_calls(tables: dict[str, dict[str, int]]) -> dict[str, dict[str, str]]:
    """The calls that nobody inside may make, in each way to call the kernel."""
    found: dict[str, dict[str, str]] = {}
    for name, numbers in tables.items():
        if not name.endswith("_ARM"):  # those calls can't be made from a 64-bit program
            found[name] = _calls(numbers, _by_interrupt if name.endswith("X86") else call)
    return found


def _calls(numbers: dict[str, int], way: Callable[..., str]) -> dict[str, str]:
    found = {}
    for wanted in CALLS:
        if wanted in numbers:
            found[wanted] = in_child(lambda wanted=wanted: way(numbers[wanted], -1, 0, 0, 0, 0))
    for wanted, flag in (("user", NEWUSER), ("mount", NEWNS), ("net", NEWNET)):
        found[f"unshare {wanted}"] = in_child(lambda flag=flag: way(numbers["unshare"], flag))
        found[f"clone {wanted}"] = in_child(lambda flag=flag: way(numbers["clone"], flag | signal.SIGCHLD))
    return {**found, "getppid": in_child(lambda: way(numbers["getppid"]))}


def _by_interrupt(number: int, *arguments: int) -> str:
    """An i386 call by ``int 0x80``, the way into the 32-bit table from a 64-bit program."""
    values = [*arguments, 0, 0, 0, 0, 0][:5]
    code = b"\x53\x55"  # push rbx; push rbp
    code += b"\xb8" + struct.pack("<I", number)
    for opcode, value in zip((b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf"), values, strict=True):
        code += opcode + struct.pack("<I", value & 0xFFFFFFFF)
    code += b"\xcd\x80\x5d\x5b\xc3"  # int 0x80; pop rbp; pop rbx; ret
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "ok" if result >= 0 else errno.errorcode.get(-result, "?")


def sockets() -> dict[str, str]:
    """Families of sockets, and the kernel's audit."""
    kinds = {"alg": (38, 5, 0), "vsock": (40, 1, 0), "packet": (17, 3, 768), "inet": (2, 1, 0), "audit": (16, 3, 9)}
    found = {name: attempt(lambda kind=kind: socket.socket(*kind).close()) for name, kind in kinds.items()}
    found["audit get"] = audit(1000)
    return found


def audit(kind: int) -> str:
    """Send one audit message and read the kernel's answer."""
    with socket.socket(16, socket.SOCK_RAW, 9) as channel:
        channel.settimeout(2)
        try:
            channel.send(struct.pack("IHHII", 16, kind, 5, 1, 0))
            answer = channel.recv(4096)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, "timeout")
    code = struct.unpack_from("i", answer, 16)[0] if struct.unpack_from("IH", answer)[1] == 2 else 0
    return errno.errorcode.get(-code, "ok")


def cgroups() -> dict[str, str]:
    """Every release_agent and every cgroup folder: may it be written?"""
    found: dict[str, str] = {}
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        found[folder] = attempt(lambda folder=folder: os.mkdir(f"{folder}/probe"))
        for name in ("release_agent", "notify_on_release", "cgroup.procs", "devices.allow"):
            if name in names:
                found[f"{folder}/{name}"] = open_for_writing(f"{folder}/{name}")
    return found


def devices() -> dict[str, Any]:
    """Nodes of every disk made and opened; those of /dev changed."""
    nodes = {}
    for line in read("/proc/partitions").splitlines()[2:]:
        major, minor, _, name = line.split()
        for folder in ("/", "/dev", "/dev/shm", "/tmp"):
            path = f"{folder}/probe-{name}"
            made = attempt(
                lambda path=path, n=(major, minor): os.mknod(path, 0o060600, os.makedev(int(n[0]), int(n[1])))
            )
            nodes[path] = [made, attempt(lambda path=path: os.close(os.open(path, os.O_RDONLY)))]
    path = "/tmp/probe-mem"
    made = attempt(lambda: os.mknod(path, 0o020600, os.makedev(1, 1)))
    nodes[path] = [made, attempt(lambda: os.close(os.open(path, os.O_RDONLY)))]
    changed = {}
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        mode = os.stat(f"/dev/{name}").st_mode & 0o7777
        change = attempt(lambda name=name, mode=mode: os.chmod(f"/dev/{name}", mode))
        own = attempt(lambda name=name: os.utime(f"/dev/{name}"))
        changed[name] = [change, own, open_for_writing(f"/dev/{name}")]
    return {"nodes": nodes, "changed": changed, "names": sorted(os.listdir("/dev"))}


def processes(host: list[int]) -> dict[str, Any]:
    """Which processes can be seen, and what can be done to those of the *host*."""
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    others = [pid for pid in host if pid not in pids]
    parent = next(line.split()[1] for line in read("/proc/1/status").splitlines() if line.startswith("PPid"))
    return {
        "pids": pids,
        "self": os.getpid(),
        "session": os.getsid(0),
        "parent of 1": parent,
        "root of 1": os.listdir("/proc/1/root"),
        "kill": [attempt(lambda pid=pid: os.kill(pid, 0)) for pid in others],
        "read memory": [_read_memory(pid) for pid in others],
        "attach": [in_child(lambda pid=pid: ptrace(16, pid)) for pid in others],
    }


def ptrace(request: int, pid: int) -> str:
    """ptrace(2): 16 is PTRACE_ATTACH."""
    ctypes.set_errno(0)
    return "ok" if LIBC.ptrace(request, pid, 0, 0) == 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def _read_memory(pid: int) -> str:
    buffer = ctypes.create_string_buffer(16)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16)
    ctypes.set_errno(0)
    done = LIBC.process_vm_readv(pid, vector, 1, vector, 1, 0)
    return "ok" if done >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def descriptors() -> dict[str, str]:
    """The open descriptors of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that was the listing's own
    return found


def program() -> dict[str, str]:
    """The file that this very process executes: opened for writing, directly and through another's descriptor; changed."""
    mode = os.stat("/proc/self/exe").st_mode & 0o7777
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    return {
        "write": open_for_writing("/proc/self/exe"),
        "descriptor": open_for_writing(f"/proc/self/fd/{fd}"),
        "change": attempt(lambda: os.chmod("/proc/self/exe", mode)),
        "name": os.readlink("/proc/self/exe"),
    }


def facts(tables: str, host: str) -> dict[str, Any]:
    """All of it."""
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    return {
        "status": status,
        "mounts": read("/proc/self/mountinfo").splitlines(),
        "masked": masked(),
        "writing": {path: open_for_writing(path) for path in WRITABLE if os.path.lexists(path)},
        "calls": system_calls(json.loads(tables)),
        "sockets": sockets(),
        "cgroups": cgroups(),
        "devices": devices(),
        "processes": processes(json.loads(host)),
        "descriptors": descriptors(),
        "environment": dict(os.environ),
        "control sockets": [path for path in CONTROL if os.path.lexists(path)],
        "program": program(),
        "uid_map": [int(number) for number in read("/proc/self/uid_map").split()],
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "uptime": read("/proc/uptime").split()[0],
        "shm": attempt(lambda: os.close(os.open("/dev/shm/x", os.O_CREAT | os.O_WRONLY))),
    }


# -- single attempts -------------------------------------------------------------------------------------------


def connect(*targets: str) -> dict[str, str]:
    """TCP to ``HOST:PORT``, all at once, within 0.7 seconds."""
    waiting = {}
    for target in targets:
        host, _, port = target.rpartition(":")
        channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        waiting[target] = (channel, channel.connect_ex((host, int(port))))
    time.sleep(0.7)
    found = {}
    for target, (channel, first) in waiting.items():
        code = first if first != errno.EINPROGRESS else channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        connected = code == 0 and attempt(channel.getpeername) == "ok"
        found[target] = "ok" if connected else errno.errorcode.get(code, "timeout") if code else "timeout"
        channel.close()
    return found


def abstract(*names: str) -> dict[str, str]:
    """Connect to abstract sockets, and list those that can be seen."""
    found = {name: _abstract(name) for name in names}
    return {**found, "seen": ",".join(line.split()[-1] for line in read("/proc/net/unix").splitlines() if "@" in line)}


def _abstract(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        return attempt(lambda: channel.connect(f"\0{name}"))


def terminal() -> dict[str, str]:
    """Push a byte into standard input's terminal (ioctl_tty(2))."""
    attempts = {"TIOCSTI": (0x5412, b"x"), "TIOCLINUX": (0x541C, b"\x03"), "TIOCSCTTY": (0x540E, struct.pack("i", 1))}
    return {name: attempt(lambda v=v: fcntl.ioctl(0, *v)) for name, v in attempts.items()}


def watch() -> None:
    """Until killed: look at every process that appears, as long as it is not yet a program of the image."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    known, told = {int(name) for name in os.listdir("/proc") if name.isdigit()}, set()
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    while True:
        for pid in {int(name) for name in os.listdir("/proc") if name.isdigit()} - known:
            for found in _peek(pid):
                if found not in told:
                    told.add(found)
                    sys.stdout.write(found + "\n")
                    sys.stdout.flush()


def _peek(pid: int) -> list[str]:
    """What could be had of a process whose program was the runtime's before and after."""
    attempts = {
        "fd": lambda: os.readlink(f"/proc/{pid}/fd/0"),
        "exe": lambda: os.close(os.open(f"/proc/{pid}/exe", os.O_RDONLY)),
        "mem": lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)),
        "cwd": lambda: os.listdir(f"/proc/{pid}/cwd"),
        "root": lambda: os.listdir(f"/proc/{pid}/root"),
        "environ": lambda: read(f"/proc/{pid}/environ"),
    }
    found = []
    for name, action in attempts.items():
        if not _is_runtime(pid):
            break
        outcome = attempt(action)
        if _is_runtime(pid):
            found.append(f"{name} {outcome}")
    return found


def _is_runtime(pid: int) -> bool:
    try:
        return "kernel_runtime" in read(f"/proc/{pid}/cmdline")
    except OSError:
        return False


def identity() -> dict[str, Any]:
    """Who this is."""
    return {"uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups()}


def first() -> dict[str, Any]:
    """What a program started under ``--init`` can do to the init, which is a process of the runtime."""
    return {
        "cmdline": read("/proc/1/cmdline").replace("\0", " "),
        "environ": attempt(lambda: read("/proc/1/environ")),
        "fd": attempt(lambda: os.readlink("/proc/1/fd/0")),  # that there is one may be seen, not what
        "exe": open_for_writing("/proc/1/exe"),
        "mem": attempt(lambda: os.close(os.open("/proc/1/mem", os.O_RDWR))),
        "root": attempt(lambda: os.listdir("/proc/1/root")),
        "ptrace": in_child(lambda: ptrace(16, 1)),
    }


PARTS: dict[str, Callable[..., Any]] = {
    "facts": facts, "connect": connect, "abstract": abstract, "terminal": terminal, "watch": watch, "first": first,
    "descriptors": descriptors, "program": program, "identity": identity,
}  # fmt: skip

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
