"""PID 1 of a container that asked for ``--init``: forwards signals to the program's group and reaps what is orphaned.

What tini does for Docker. It stays a Python process, undumpable, and ends with the program's own exit status.
"""

from __future__ import annotations

import os
import signal

from kernel_runtime import syscalls as sc

_NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS}


def fork_payload(status_fd: int) -> bool:
    """Fork the program's process. True, in PID 1, once it has ended and this process must end too; False in it."""
    payload = os.fork()
    if payload == 0:
        os.setpgid(0, 0)
        _take_foreground()
        return False
    os.close(status_fd)
    os.closerange(3, 1 << 20)
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    os._exit(_serve(payload))
    return True


def _take_foreground() -> None:
    """With a terminal the program's group must be the one that may read it."""
    if os.isatty(0):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _serve(payload: int) -> int:
    wanted = signal.valid_signals() - _NOT_FORWARDED - _FAULTS
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted | {signal.SIGCHLD})
    for handled in wanted:
        signal.signal(handled, _never_called)
    while True:
        code = _reap(payload)
        if code is not None:
            return code
        number = signal.sigwait(wanted | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            _forward(payload, number)


def _never_called(*_: object) -> None:
    """sigwait(3) takes the signals; but that PID 1 listens is seen by its handlers (:meth:`Child.listens_to`)."""


def _reap(payload: int) -> int | None:
    """Reap all that has ended; the program's exit code (128 + signal) once it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == payload:
            result = os.waitstatus_to_exitcode(status)
            code = 128 - result if result < 0 else result


def _forward(payload: int, number: int) -> None:
    for target in (-payload, payload):
        try:
            os.kill(target, number)
            return
        except ProcessLookupError:
            continue
