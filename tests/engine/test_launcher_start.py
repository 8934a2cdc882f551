"""However its callers end, a store has one launcher: two would keep containers ready that only one of them knows."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.rigs.users import User

_ASK = "from jupyter_containers import from_env; print(from_env().runtime.info()['pid'])"


def launchers(store: Path) -> list[int]:
    """Processes that serve *store* and were not forked by one that does."""
    found = {}
    for proc in Path("/proc").iterdir():
        try:
            words = (proc / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((proc / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if f"--store={store}" in words and "launcher" in words:
            found[int(proc.name)] = parent
    return [pid for pid, parent in found.items() if parent not in found]


def test_a_caller_that_is_killed_while_it_starts_the_launcher_makes_no_room_for_a_second(as_user: User) -> None:
    for number in range(4):
        user = as_user.with_store(f"start{number}")
        with user.popen([sys.executable, "-c", _ASK]) as first:
            while not launchers(user.store):
                time.sleep(0.001)
            time.sleep(0.008 * number)
            first.send_signal(signal.SIGKILL)
        user.python(_ASK)
        assert len(launchers(user.store)) == 1
        user.python("from jupyter_containers import from_env; from_env().runtime.quit()")


def test_a_launcher_whose_socket_is_another_ones_leaves(as_user: User) -> None:
    user = as_user.with_store("replaced")
    user.python(_ASK)
    [first] = launchers(user.store)
    user.call(take_the_socket_away)
    user.python(_ASK)
    end = time.monotonic() + 20
    while first in launchers(user.store) and time.monotonic() < end:
        time.sleep(0.1)
    assert [first] != launchers(user.store)
    assert len(launchers(user.store)) == 1
    user.python("from jupyter_containers import from_env; from_env().runtime.quit()")


def take_the_socket_away() -> None:
    from jupyter_containers import from_env

    os.unlink(from_env().runtime._client._socket)
