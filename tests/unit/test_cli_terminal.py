"""The user's terminal while a container has it: signals passed on, sizes told, everything put back."""

from __future__ import annotations

import os
import pty
import signal
import termios
from typing import Any

from jupyter_containers.cli.terminal import Foreground


class Told:
    """A connection that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def tell(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        self.messages.append(message)


def test_signals_go_to_the_container_and_the_second_of_a_kind_ends_it() -> None:
    before, told = signal.getsignal(signal.SIGINT), Told()
    with Foreground(False, False) as here:
        assert here.stdio[0] > 2
        here.connected(told)  # type: ignore[arg-type]
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    assert told.messages == [
        {"op": "signal", "signal": signal.SIGUSR1},
        {"op": "signal", "signal": signal.SIGINT},
        {"op": "interrupt"},
        {"op": "signal", "signal": signal.SIGTERM},
        {"op": "stop", "signal": signal.SIGHUP, "grace": 3.0},
    ]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_terminal_is_raw_meanwhile_and_as_before_afterwards() -> None:
    master, slave = pty.openpty()
    saved, told = [os.dup(0), os.dup(1)], Told()
    try:
        os.dup2(slave, 0)
        os.dup2(slave, 1)
        termios.tcsetwinsize(0, (20, 50))
        before = termios.tcgetattr(0)
        with Foreground(True, True) as here:
            assert here.stdio == (0, 1, 2)
            here.connected(told)  # type: ignore[arg-type]
            assert not termios.tcgetattr(0)[3] & termios.ECHO
        assert termios.tcgetattr(0) == before
    finally:
        for number, copy in enumerate(saved):
            os.dup2(copy, number)
        for fd in (master, slave, *saved):
            os.close(fd)
    assert told.messages == [{"op": "resize", "rows": 20, "columns": 50}]
