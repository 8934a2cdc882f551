"""A pseudo terminal made inside the container's own devpts; its master goes to the monitor.

The slave is had from the master (TIOCGPTPEER), never by a path of the image, and bound on /dev/console
(CVE-2025-52565). See pts(4), ioctl_tty(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from kernel_runtime import syscalls as sc
from kernel_runtime.mounts import Root, bind
from kernel_runtime.protocol import Channel
from kernel_runtime.spec import Process

_TIOCSPTLCK, _TIOCGPTPEER, _TIOCGPTN = 0x40045431, 0x5441, 0x80045430


def open_console(root: Root, process: Process, to_monitor: Channel) -> None:
    """Make this process the leader of a session on a new terminal: standard streams, /dev/console, controlling tty."""
    with root.resolve("/dev/pts/ptmx", follow=False) as path:
        slave = open_terminal(path, process, to_monitor)
    with root.resolve("/dev/console", "file", follow=False) as target:
        bind(f"/proc/self/fd/{slave}", target, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC)
    take_terminal(slave)


def open_terminal(ptmx: str, process: Process, to_monitor: Channel) -> int:
    """Open a terminal pair through *ptmx*, send the master to the monitor, return the slave."""
    master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        if process.console_size:
            resize(master, *process.console_size)
        slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        to_monitor.send({"console": True}, (master,))
    finally:
        os.close(master)
    return slave


def take_terminal(slave: int) -> None:
    """Start a session whose controlling terminal and standard streams are *slave*."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    if slave > 2:
        os.close(slave)


def resize(master: int, rows: int, columns: int) -> None:
    """Tell the terminal its size in characters."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def number(master: int) -> int:
    """N of the terminal's /dev/pts/N."""
    return int(struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))[0])
