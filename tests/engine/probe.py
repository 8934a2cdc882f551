"""Runs inside a container, under the ``host`` image's Python: looks around, tries what must not work, prints JSON.

Imported by tests only for its text. Every attempt answers ``0`` or the name of the error.
"""

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NR = {"keyctl": 250, "add_key": 248, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "kexec_load": 246,
      "init_module": 175, "open_by_handle_at": 304, "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308,
      "io_uring_setup": 425, "io_uring_enter": 426, "clone3": 435, "fsopen": 430, "open_tree": 428, "quotactl": 179,
      "settimeofday": 164, "syslog": 103, "x32_getpid": 0x40000000 + 39}  # fmt: skip


def call(number, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return "0" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def attempt(action):
    try:
        action()
        return "0"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def in_child(action):
    """Try in a process of its own: the kernel may kill it for trying."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, action().encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 100).decode()
    status = os.waitpid(pid, 0)[1]
    return answer or f"killed {os.WTERMSIG(status)}"


def read(path, size=4096):
    try:
        with open(path, "rb") as file:
            return file.read(size).decode("latin-1")
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")


def write(path, text="1"):
    def action():
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    return attempt(action)


def listing(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")


def tiocsti():
    terminal = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(terminal, 0x5412, b"x")


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def open_device():
    path = "/tmp/device"
    os.mknod(path, 0o600 | 0o060000, os.makedev(*DISK))
    os.open(path, os.O_RDONLY)


DISK = tuple(map(int, sys.argv[1].split(":")))
HOST_PID = int(sys.argv[2])
STATUS = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)

print(json.dumps({
    "status": STATUS,
    "pid": os.getpid(),
    "session": os.getsid(0),
    "pids": [name for name in os.listdir("/proc") if name.isdigit()],
    "environ": sorted(os.environ),
    "descriptors": descriptors(),
    "masked": {path: read(path) if not os.path.isdir(path) else listing(path) for path in sys.argv[3].split(",")},
    "readonly": {path: write(path) for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
                 "/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity")},
    "syscalls": {name: in_child(lambda n=number: call(n, 0, 0, 0, 0, 0)) for name, number in NR.items()},
    "unshare_user": in_child(lambda: call(272, 0x10000000)),
    "clone_user": in_child(lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0)),
    "af_alg": attempt(lambda: socket.socket(38, socket.SOCK_SEQPACKET, 0)),
    "af_vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM, 0)),
    "tiocsti": attempt(tiocsti),
    "device": attempt(open_device),
    "kill": attempt(lambda: os.kill(HOST_PID, signal.SIGKILL)),
    "root_of_1": listing("/proc/1/root/home"),
    "cgroup_write": attempt(lambda: os.mkdir("/sys/fs/cgroup/mine")),
    "cgroup_release": [write(os.path.join(folder, name)) for folder, _, names in os.walk("/sys/fs/cgroup")
                       for name in names if name in ("release_agent", "cgroup.procs")],
    "mounts": read("/proc/self/mountinfo", 1 << 20).splitlines(),
    "uid_map": read("/proc/self/uid_map").split(),
    "exe_write": attempt(lambda: os.open("/proc/self/exe", os.O_WRONLY)),
    "cwd": os.getcwd(),
    "groups": os.getgroups(),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "abstract": read("/proc/net/unix", 1 << 16).count("@"),
    "ptrace": attempt(lambda: os.open(f"/proc/{HOST_PID}/mem", os.O_RDONLY)),
    "hostname": socket.gethostname(),
    "sockets": [path for path in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)],
}))  # fmt: skip
