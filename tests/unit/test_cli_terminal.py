"""The user's terminal while a container has it: signals passed on, sizes told, everything put back."""

from __future__ import annotations

import os
import pty
import signal
import termios
from typing import Any

import pytest

from jupyter_containers.cli.keys import DetachKeys
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
        here.ready()
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


def test_a_signal_that_comes_before_the_program_waits_for_it() -> None:
    told = Told()
    with Foreground(False, False) as here:
        here.ready()
        os.kill(os.getpid(), signal.SIGTERM)
        here.connected(told)  # type: ignore[arg-type]
        assert told.messages == [{"op": "signal", "signal": signal.SIGTERM}]
    with Foreground(False, False) as here, pytest.raises(KeyboardInterrupt):
        here.ready()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_guest_passes_signals_on_and_leaves_at_the_third() -> None:
    told = Told()
    with Foreground(False, False, owns=False) as here:
        here.ready()
        here.connected(told)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGHUP)
    assert told.messages == [{"op": "signal", "signal": number} for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("typed", "passed", "found"),
    [
        ((b"ls\n",), b"ls\n", False),
        ((b"a\x10", b"\x11b"), b"a", True),
        ((b"\x10", b"x"), b"\x10x", False),
        ((b"\x10\x10\x11",), b"\x10", True),
        ((b"\x11\x10",), b"\x11", False),
    ],
)
def test_the_keys_that_leave_a_container(typed: tuple[bytes, ...], passed: bytes, found: bool) -> None:
    keys = DetachKeys()
    assert b"".join(keys.feed(data) for data in typed) == passed
    assert keys.found == found


def test_a_terminal_is_raw_meanwhile_and_as_before_afterwards() -> None:
    master, slave = pty.openpty()
    saved, told = [os.dup(0), os.dup(1)], Told()
    try:
        os.dup2(slave, 0)
        os.dup2(slave, 1)
        termios.tcsetwinsize(0, (20, 50))
        before = termios.tcgetattr(0)
        with Foreground(True, True) as here:
            assert here.stdio[0] > 2, "a pipe: the runtime never has the terminal itself"
            here.ready()
            here.connected(told)  # type: ignore[arg-type]
            assert not termios.tcgetattr(0)[3] & termios.ECHO
        assert termios.tcgetattr(0) == before
    finally:
        for number, copy in enumerate(saved):
            os.dup2(copy, number)
        for fd in (master, slave, *saved):
            os.close(fd)
    assert told.messages == [{"op": "resize", "rows": 20, "columns": 50}]
