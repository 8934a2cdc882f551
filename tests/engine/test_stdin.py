"""Standard input of containers that somebody attaches to, and leaving them again, as docker has it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.rigs import engines
from tests.rigs.engines import COMMAND, ours
from tests.rigs.screen import Screen
from tests.rigs.users import User

DETACH = "\x10\x11"


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


@pytest.fixture
def named(user: User) -> Iterator[str]:
    """A name for the test's container, which is removed afterwards."""
    yield "fed"
    user.run(*COMMAND, "rm", "-f", "fed")


def make(user: User, verb: str, *words: str) -> None:
    """``run`` or ``create`` a container called ``fed``."""
    user.run(*COMMAND, verb, "--name", "fed", "--network", "none", *words)


def status(user: User) -> str:
    """``running``, ``exited`` …"""
    return ours(user, "inspect", "-f", "{{.State.Status}}", "fed").stdout.strip()


# -- pipes -----------------------------------------------------------------------------------------------------


def test_start_attaches_stdin_to_a_container_made_with_it(user: User, leak_watch: None, named: str) -> None:
    make(user, "create", "-i", "busybox:test", "sh", "-c", "cat; echo end")
    for text in ("first\n", "second\n"):
        done = ours(user, "start", "-ai", named, input=text)
        assert (done.returncode, done.stdout) == (0, f"{text}end\n"), done
    ours(user, "rm", named)


def test_start_attached_gives_the_exit_code_and_all_the_output(user: User, named: str) -> None:
    make(user, "create", "busybox:test", "sh", "-c", "echo out; echo err >&2; cat; exit 4")
    done = ours(user, "start", "-a", named, input="never read\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")
    assert ours(user, "start", "-ai", named, input="not made with -i\n").returncode == 4
    assert ours(user, "logs", named).stdout == "out\nout\n"


def test_stdin_stays_open_in_the_background_while_nobody_is_attached(user: User, leak_watch: None, named: str) -> None:
    make(user, "run", "-di", "busybox:test", "sh", "-c", 'while read x; do echo "got $x"; done; echo end')
    for text in ("one", "two"):
        with user.popen([*COMMAND, "attach", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guest:
            assert guest.stdin and guest.stdout
            guest.stdin.write(f"{text}\n")
            guest.stdin.close()
            assert guest.stdout.readline() == f"got {text}\n"
            guest.kill()
    assert status(user) == "running"
    assert ours(user, "logs", named).stdout == "got one\ngot two\n"
    ours(user, "rm", "-f", named)


def test_without_i_stdin_is_empty(user: User, named: str) -> None:
    make(user, "run", "-d", "busybox:test", "sh", "-c", "cat; echo end; sleep 1000")
    guest = user.popen([*COMMAND, "attach", named], stdin=subprocess.PIPE)
    guest.stdin.write(b"x\n") if guest.stdin else None
    time.sleep(0.3)
    guest.kill()
    guest.communicate()
    assert ours(user, "logs", named).stdout == "end\n"


def test_a_program_that_does_not_read_holds_nobody_up(user: User, leak_watch: None, named: str) -> None:
    make(user, "run", "-di", "busybox:test", "sleep", "1000")
    flood = user.popen([*COMMAND, "attach", named], stdin=subprocess.PIPE)
    assert flood.stdin
    os.set_blocking(flood.stdin.fileno(), False)
    for _ in range(100):
        try:
            os.write(flood.stdin.fileno(), bytes(65536))
        except BlockingIOError:
            time.sleep(0.01)
    assert ours(user, "exec", named, "echo", "well").stdout == "well\n"
    assert ours(user, "rm", "-f", named).returncode == 0
    assert flood.wait(10) == 137
    flood.stdin.close()


def test_a_guest_passes_signals_on_and_does_not_take_the_container_along(user: User, named: str) -> None:
    make(user, "run", "-di", "busybox:test", "sh", "-c", "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done")
    guest = user.popen([*COMMAND, "attach", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert guest.stdout
    time.sleep(0.5)
    guest.send_signal(10)
    assert guest.stdout.readline() == "usr1\n"
    guest.kill()
    guest.communicate()
    assert status(user) == "running"


# -- terminals -------------------------------------------------------------------------------------------------


def test_attach_to_a_terminal_in_the_background_and_leave_it(user: User, leak_watch: None, named: str) -> None:
    make(user, "run", "-dit", "busybox:test", "sh")
    for number in ("1", "2"):
        with Screen(user, *COMMAND, "attach", named) as screen:
            screen.type(f"echo $((40+{number})) here\n")
            screen.until(f"4{number} here")
            screen.type(DETACH)
            assert screen.ended() == 0
            assert "read escape sequence" in screen.shown
        assert status(user) == "running"
    with Screen(user, *COMMAND, "attach", named) as screen:
        screen.type("exit 5\n")
        assert screen.ended() == 5
    ours(user, "rm", named)


def test_ctrl_c_and_size_reach_the_attached_terminal(user: User, named: str) -> None:
    body = "trap 'echo interrupted' INT; trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    make(user, "create", "-it", "busybox:test", "sh", "-c", body)
    with Screen(user, *COMMAND, "start", "-ai", named) as screen:
        screen.until("up")
        screen.type("\x03")
        screen.until("interrupted")
        screen.resize(33, 77)
        screen.until("33 77")
        screen.type(DETACH)
        assert screen.ended() == 0
    assert status(user) == "running"


def test_leaving_a_run_in_a_terminal_lets_it_go_on(user: User, leak_watch: None, named: str) -> None:
    with Screen(
        user, *COMMAND, "run", "-it", "--rm", "--name", named, "--network", "none", "busybox:test", "sh"
    ) as screen:
        screen.type("echo $((40+1)) here\n")
        screen.until("41 here")
        screen.type(DETACH)
        assert screen.ended() == 0
    assert status(user) == "running"
    with Screen(user, *COMMAND, "attach", named) as screen:
        screen.type("exit 3\n")
        assert screen.ended() == 3
    assert ours(user, "inspect", named).returncode == 1


def test_leaving_an_exec_lets_it_go_on(user: User, named: str) -> None:
    make(user, "run", "-d", "busybox:test", "sleep", "1000")
    with Screen(user, *COMMAND, "exec", "-it", named, "sh", "-c", "echo up; sleep 999") as screen:
        screen.until("up")
        screen.type(DETACH)
        assert screen.ended() == 0
    assert "sleep 999" in ours(user, "top", named).stdout


def test_a_killed_guest_types_no_end_into_the_terminal(user: User, named: str) -> None:
    make(user, "run", "-dit", "busybox:test", "sh")
    with Screen(user, *COMMAND, "attach", named) as screen:
        screen.type("echo $((40+1)) here\n")
        screen.until("41 here")
        screen.process.kill()
    time.sleep(0.3)
    assert status(user) == "running"
