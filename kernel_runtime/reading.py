"""Whether a program waits for somebody to type: looked up, not guessed.

The kernel tells of every thread in which system call it sleeps and with which arguments (/proc/PID/syscall, proc(5)).
A thread that sleeps in ``read`` on the very pipe or terminal that is the container's standard input, or in ``poll`` and
its like on that among others, waits for input. The container's monitor may look, being an ancestor with the rights of
its user namespace (ptrace(2), "access mode checking"); nobody else needs to.
"""

from __future__ import annotations

import os
import select
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from kernel_runtime import syscall_table

_TTY_MAJOR = 136  # Documentation/admin-guide/devices.txt: Unix98 pseudo terminals, slaves
_MOST_WATCHED = 4096  # descriptors of one poll(2) that are looked at
_READS = {"read": 0, "readv": 0, "splice": 0, "sendfile": 1}  # which argument is the descriptor that is read
_POLLS = ("poll", "ppoll")
_SELECTS = ("select", "pselect6")
_EPOLLS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")


@dataclass(frozen=True, slots=True)
class Place:
    """A pipe by device and inode, or a terminal by its number."""

    device: int = -1
    inode: int = -1
    terminal: int = -1

    @staticmethod
    def of(fd: int) -> Place:
        """The place that *fd* reads from."""
        found = os.fstat(fd)
        return Place(found.st_dev, found.st_ino)

    def is_at(self, path: str) -> bool:
        """Whether *path*, an entry of /proc/PID/fd, leads here."""
        try:
            found = os.stat(path)
        except OSError:
            return False
        if self.terminal >= 0:
            return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(_TTY_MAJOR, self.terminal)
        return (found.st_dev, found.st_ino) == (self.device, self.inode)


def waits(pid: int, place: Place) -> bool:
    """Whether *pid* or a descendant waits for input from *place*.

    True as well where the kernel does not tell: rather one question too many than a program that waits for ever.
    """
    try:
        return any(_reads(process, place) for process in _family(pid))
    except PermissionError:
        return True


def _family(pid: int) -> Iterator[int]:
    """*pid* and its descendants: what is orphaned belongs to the first process, which is asked for."""
    waiting = [pid]  # not by recursion: a hostile family is deep
    while waiting:
        found = waiting.pop()
        yield found
        for thread in _threads(found):
            waiting += map(int, _text(f"/proc/{found}/task/{thread}/children").split())


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _reads(pid: int, place: Place) -> bool:
    for thread in _threads(pid):
        words = _text(f"/proc/{pid}/task/{thread}/syscall").split()
        if len(words) > 6:  # else "running", or asleep elsewhere than in a system call
            watched = _watched(pid, _names().get(int(words[0]), ""), [int(word, 16) for word in words[1:7]])
            if any(place.is_at(f"/proc/{pid}/fd/{fd}") for fd in watched):
                return True
    return False


def _watched(pid: int, call: str, arguments: list[int]) -> Iterable[int]:
    """The descriptors whose input a thread waits for in *call*."""
    first, second = arguments[:2]
    if call in _READS:
        return [arguments[_READS[call]]]
    if call in _POLLS:
        entries = struct.iter_unpack("ihh", _memory(pid, first, 8 * min(second, _MOST_WATCHED)))
        return [fd for fd, events, _ in entries if events & select.POLLIN]
    if call in _SELECTS and second:
        bits = int.from_bytes(_memory(pid, second, (min(first, _MOST_WATCHED) + 7) // 8), "little")
        return [fd for fd in range(min(first, _MOST_WATCHED)) if bits >> fd & 1]
    return _polled(pid, first) if call in _EPOLLS else []


def _polled(pid: int, epoll: int) -> list[int]:
    """What an epoll descriptor watches for input (proc(5), /proc/PID/fdinfo)."""
    rows = [line.split() for line in _text(f"/proc/{pid}/fdinfo/{epoll}").splitlines() if line.startswith("tfd:")]
    return [int(row[1]) for row in rows if int(row[3], 16) & select.EPOLLIN]


def _memory(pid: int, address: int, size: int) -> bytes:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            data = file.read(size) or b""
    except PermissionError:
        raise
    except (OSError, OverflowError):  # it has gone on meanwhile
        return b""
    return data[: len(data) - len(data) % 8] if size % 8 == 0 else data


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended meanwhile


@cache
def _names() -> dict[int, str]:
    wanted = (*_READS, *_POLLS, *_SELECTS, *_EPOLLS)
    for abi in syscall_table.abis(os.uname().machine)[:1]:
        numbers = syscall_table.numbers(abi)
        return {numbers[name]: name for name in wanted if name in numbers}
    return {}
