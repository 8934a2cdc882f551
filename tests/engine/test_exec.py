"""More programs in a running container: how they fail, are stopped, get a terminal, or are left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.rigs import engines
from tests.rigs.users import User

COMMAND = (sys.executable, "-m", "jupyter_containers")


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


def ours(user: User, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Our command in the user's terminal."""
    return user.run(*COMMAND, *words, check=False, **options)


def processes(user: User, name: str) -> list[str]:
    """The commands that run in a container."""
    return [line.split(None, 7)[7] for line in ours(user, "top", name).stdout.splitlines()[1:]]


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
