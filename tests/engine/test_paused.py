"""Paused containers, and those that fork without end, still end when they are told to; as root, who has a freezer."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs import engines
from tests.rigs.engines import COMMAND, ours
from tests.rigs.users import User

BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
PROGRAMS = [("sleep", "1000"), (sys.executable, "-c", BOMB)]
pytestmark = pytest.mark.parametrize("as_user", ["root"], indirect=True)


@pytest.fixture
def user(as_user: User) -> Iterator[User]:
    engines.warm(as_user)
    yield as_user
    ours(as_user, "rm", "-f", "ice")


def begin(user: User, *command: str) -> Path:
    """A paused container; its folder."""
    user.run(*COMMAND, "run", "-d", "--name", "ice", "--network", "none", "--pids-limit", "60", "host", *command)
    time.sleep(0.2)
    done = ours(user, "pause", "ice")
    assert done.returncode == 0, done
    return user.store / "containers" / ours(user, "inspect", "-f", "{{.Id}}", "ice").stdout.strip()


@pytest.mark.parametrize("command", PROGRAMS, ids=["sleep", "bomb"])
@pytest.mark.parametrize("verb", [("rm", "-f"), ("stop", "-t", "1"), ("kill",), ("restart", "-t", "1")])
def test_a_paused_container_ends_when_told_to(
    user: User, leak_watch: None, verb: tuple[str, ...], command: tuple[str, ...]
) -> None:
    begin(user, *command)
    done = ours(user, *verb, "ice")
    assert (done.returncode, done.stdout) == (0, "ice\n"), done
    ours(user, "rm", "-f", "ice")


@pytest.mark.parametrize("command", PROGRAMS, ids=["sleep", "bomb"])
def test_a_paused_container_whose_monitor_was_killed_is_swept(
    user: User, leak_watch: None, command: tuple[str, ...]
) -> None:
    state = json.loads((begin(user, *command) / "state.json").read_text())
    os.kill(state["monitorPid"], signal.SIGKILL)
    end = time.monotonic() + 15
    while Path(f"/proc/{state['pid']}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert ours(user, "run", "--rm", "--network", "none", "busybox:test", "echo", "well").stdout == "well\n"
    assert ours(user, "inspect", "-f", "{{.State.ExitCode}}", "ice").stdout == "137\n"
    ours(user, "rm", "ice")
