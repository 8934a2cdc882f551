"""More programs in a running container: how they fail, are stopped, get a terminal, or are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.rigs import engines
from tests.rigs.engines import COMMAND, ours
from tests.rigs.screen import Screen
from tests.rigs.users import User


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


@pytest.fixture
def box(user: User) -> Iterator[str]:
    """A container that does nothing; its name."""
    user.run(*COMMAND, "run", "-d", "--name", "box", "--network", "none", "busybox:test", "sleep", "1000")
    yield "box"
    user.run(*COMMAND, "rm", "-f", "box")


def processes(user: User, name: str) -> list[str]:
    """The commands that run in a container; not those that have ended and that its first process never waits for."""
    commands = [line.split(None, 5)[5] for line in ours(user, "top", name).stdout.splitlines()[1:]]
    return [command for command in commands if not command.startswith("[")]


# -- programs that can't be executed ---------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [(), ("-t",)])
def test_what_cannot_be_executed_has_dockers_code(
    user: User, box: str, leak_watch: None, terminal: tuple[str, ...]
) -> None:
    for program, code, says in (
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "permission denied"),
    ):
        done = ours(user, "exec", *terminal, box, program)
        assert done.returncode == code, done
        [line] = done.stderr.splitlines()
        assert "OCI runtime exec failed: exec failed: unable to start container process" in line
        assert f'exec: "{program}": {says}' in line
    assert ours(user, "exec", box, "echo", "well").stdout == "well\n"


def test_the_error_in_python_has_the_code_too(user: User, box: str) -> None:
    assert user.call(failing_exec, box) == 127


def failing_exec(name: str) -> int:
    from jupyter_containers import from_env
    from jupyter_containers.errors import CannotStart

    try:
        from_env().containers.get(name).exec_run(["nosuch"])
    except CannotStart as error:
        return error.exit_code
    return 0


# -- signals and sizes -----------------------------------------------------------------------------------------

_TRAPS = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done"


def test_a_signal_reaches_the_program_and_not_the_container(user: User, box: str) -> None:
    with user.popen([*COMMAND, "exec", box, "sh", "-c", _TRAPS], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout and program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=20)[0] == "interrupted\n"
    assert program.returncode == 7
    assert processes(user, box) == ["sleep 1000"]


def test_a_second_interrupt_ends_the_deaf_program_alone(user: User, box: str) -> None:
    deaf = "trap '' INT TERM; echo ready; while :; do sleep 0.05; done"
    with user.popen([*COMMAND, "exec", box, "sh", "-c", deaf], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout and program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        time.sleep(0.2)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
    assert program.returncode == 137
    assert processes(user, box) == ["sleep 1000"]


def test_the_stop_button_of_a_notebook_ends_the_program_alone(user: User, box: str) -> None:
    assert user.call(interrupted_exec, box) == 130
    assert processes(user, box) == ["sleep 1000"]


def interrupted_exec(name: str) -> int:
    """The stop button is pressed when the program's first word is shown."""
    from jupyter_containers import from_env

    def press(*_: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    container = from_env().containers.get(name)
    code, _ = container.exec_run(["sh", "-c", "echo ready; exec sleep 4242"], on_output=press)
    return code


def test_ctrl_c_in_a_terminal_interrupts_the_program(user: User, box: str) -> None:
    with Screen(user, *COMMAND, "exec", "-it", box, "sh", "-c", _TRAPS) as screen:
        screen.until("ready")
        screen.type("\x03")
        screen.until("interrupted")
        assert screen.ended() == 7
    assert processes(user, box) == ["sleep 1000"]


def test_the_size_of_the_window_reaches_the_programs_terminal(user: User, box: str) -> None:
    watch = "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.05; done"
    with Screen(user, *COMMAND, "exec", "-it", box, "sh", "-c", watch) as screen:
        screen.until("24 80")
        screen.until("ready")
        screen.resize(31, 99)
        screen.until("31 99")
        screen.type("\x03")
        screen.ended()


# -- in the background -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", ["-d", "-dt", "-di"])
def test_a_detached_program_outlives_its_caller_and_is_silent(
    user: User, box: str, leak_watch: None, flags: str
) -> None:
    body = "cat; echo loud; echo loud >&2; sleep 2; echo done > /dev/shm/mark; [ -t 1 ] && echo tty >> /dev/shm/mark"
    if flags == "-dt":
        body = body.removeprefix("cat; ")  # nobody types, and a terminal without a typist has no end
    done = ours(user, "exec", flags, box, "sh", "-c", body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "done" not in ours(user, "exec", box, "cat", "/dev/shm/mark").stdout
    wanted = "done\ntty\n" if flags == "-dt" else "done\n"
    end = time.monotonic() + 10
    while ours(user, "exec", box, "cat", "/dev/shm/mark").stdout != wanted:
        assert time.monotonic() < end
    assert ours(user, "logs", box).stdout == ""


def test_a_detached_program_ends_with_its_container(user: User, leak_watch: None) -> None:
    user.run(*COMMAND, "run", "-d", "--rm", "--name", "short", "--network", "none", "busybox:test", "sleep", "1000")
    assert ours(user, "exec", "-d", "short", "sleep", "999").returncode == 0
    assert processes(user, "short") == ["sleep 1000", "sleep 999"]
    user.run(*COMMAND, "rm", "-f", "short")


def test_what_cannot_be_executed_is_told_of_a_detached_program_too(user: User, box: str) -> None:
    done = ours(user, "exec", "-d", box, "nosuch")
    assert done.returncode == 127
    assert "executable file not found in $PATH" in done.stderr
