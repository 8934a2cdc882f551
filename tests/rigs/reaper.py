"""An init for the test run: pytest runs as its child, and whatever a test lets loose stays below it.

A process whose parent ended is adopted by this one (PR_SET_CHILD_SUBREAPER) and reaped as the machine's init would do.
So the watch for leaks sees exactly what this run started, whatever else happens on the machine, and nothing outlives
the run.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from kernel_runtime import syscalls

_MARK = "NB_TESTS_INIT"


def become_init() -> None:
    """Fork: the child returns and goes on as pytest; the parent reaps until the child ends, and exits as it did."""
    if os.environ.get(_MARK) == str(os.getppid()):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    os.environ[_MARK] = str(os.getpid())
    child = os.fork()
    if child:
        _serve(child)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(child: int) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: pytest tidies up, and does not at SIGTERM
        signal.signal(number, lambda received, frame: os.kill(child, signal.SIGINT))
    status = 0
    while True:
        pid, found = os.wait()
        if pid == child:
            status = found
            break
    end(descendants(os.getpid()))
    os._exit(os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 128 + os.WTERMSIG(status))


def init_pid() -> int:
    """The process below which everything of this run lives."""
    return int(os.environ.get(_MARK, os.getpid()))


def end(pids: list[int]) -> None:
    """Kill exactly these processes."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def descendants(root: int) -> list[int]:
    """Every living process below *root*, zombies left out."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for pid, parent, state in processes():
        children.setdefault(parent, []).append(pid)
        if state == "Z":
            zombies.add(pid)
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found += below
    return [pid for pid in found if pid not in zombies]


def processes() -> Iterator[tuple[int, int, str]]:
    """Of every process: pid, parent's pid, state letter."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        yield int(name), int(fields[1]), fields[0]
