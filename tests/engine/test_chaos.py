"""kill -9 at random moments: after the sweep nothing is left, and the store stays readable (ISOLATION 37, 38)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import engines
from tests.rigs.users import User

_ROUNDS = {"root": 200, "subids": 40, "nosubids": 40}
_LOOP = """
from jupyter_containers import from_env
from jupyter_containers.options import RunOptions
engine = from_env()
while True:
    try:
        engine.containers.run_foreground(
            RunOptions(image="busybox:test", command=("/bin/sh", "-c", "sleep 0.02 & sleep 0.01"), rm=True, network="none")
        )
    except Exception:
        pass
"""


def rounds(count: int, seed: int) -> dict[str, Any]:
    """Two programs run cells without end; each round kills one of them, the launcher, or a monitor."""
    from jupyter_containers import from_env

    chance = random.Random(seed)
    engine = from_env()
    engine.runtime.info()
    kernels = [subprocess.Popen([sys.executable, "-c", _LOOP]) for _ in range(2)]
    try:
        for _ in range(count):
            time.sleep(chance.random() * 0.05)
            _kill_one(chance, kernels, str(engine.settings.home))
    finally:
        for kernel in kernels:
            kernel.kill()
            kernel.wait()
    return _left_after_the_sweep()


def _kill_one(chance: random.Random, kernels: list[Any], store: str) -> None:
    what = chance.choice(("kernel", "launcher", "monitor", "monitor"))
    if what == "kernel":
        number = chance.randrange(2)
        kernels[number].kill()
        kernels[number].wait()
        kernels[number] = subprocess.Popen([sys.executable, "-c", _LOOP])
        return
    ours = [pid for pid in _pids() if f"--store={store}" in _words(pid)]
    launchers = [pid for pid in ours if _parent(pid) not in ours]
    chosen = launchers if what == "launcher" else [pid for pid in ours if pid not in launchers]
    if chosen:
        try:
            os.kill(chance.choice(chosen), signal.SIGKILL)
        except ProcessLookupError:
            pass


def _left_after_the_sweep() -> dict[str, Any]:
    from jupyter_containers import from_env

    engine = from_env()
    deadline = time.monotonic() + 20
    while True:
        engine.runtime.sweep()
        engine.runtime.rest()
        again = from_env()
        again.containers.sweep()
        folders = [path.name for name in ("containers", "waiting") for path in (engine.settings.home / name).iterdir()]
        launcher = engine.runtime.info()["pid"]
        others = [pid for pid in _pids() if f"--store={engine.settings.home}" in _words(pid) and pid != launcher]
        containers = [pid for pid in _pids() if _words(pid)[:1] == ["sleep"] and _parent(pid) in (1, launcher)]
        # Two monitors and their first processes may wait for the next container.
        if (not folders and len(others) <= 4 and not containers) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    images = [tag for image in again.images.list() for tag in image.tags]
    return {"folders": folders, "others": len(others), "sleepers": len(containers), "images": images}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.timeout(280)
def test_nothing_is_left_after_random_kills(as_user: User) -> None:
    engines.warm(as_user)
    left = as_user.call(rounds, _ROUNDS[as_user.kind], 20261124, timeout=260)
    assert left["folders"] == []
    assert left["others"] <= 4
    assert left["sleepers"] == 0
    assert "busybox:test" in left["images"]


def many(count: int) -> dict[str, int]:
    """Run cells one after the other in one process; descriptors, memory (KiB) and processes before and after."""
    from jupyter_containers import from_env
    from jupyter_containers.options import RunOptions

    engine = from_env()
    asked = RunOptions(image="busybox:test", command=("true",), rm=True, network="none")
    for _ in range(50):
        engine.containers.run_foreground(asked)
    before = _usage()
    for _ in range(count):
        assert engine.containers.run_foreground(asked).exit_code == 0
    after = _usage()
    return {name: after[name] - before[name] for name in before}


def _usage() -> dict[str, int]:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"fds": len(os.listdir("/proc/self/fd")), "memory": int(fields["VmRSS"].split()[0])}


@pytest.mark.timeout(280)
def test_two_thousand_cells_leave_a_kernel_as_it_was(as_user: User) -> None:
    engines.warm(as_user)
    grown = as_user.call(many, 2000 if as_user.kind == "root" else 200, timeout=260)
    assert grown["fds"] == 0
    assert grown["memory"] < 4096


def at_once(count: int) -> list[int]:
    """Exit codes of *count* containers started at once."""
    from concurrent.futures import ThreadPoolExecutor

    from jupyter_containers import from_env
    from jupyter_containers.options import RunOptions

    engine = from_env()
    asked = RunOptions(image="busybox:test", command=("/bin/sh", "-c", "exit 7"), rm=True, network="none")
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: engine.containers.run_foreground(asked).exit_code, range(count)))


@pytest.mark.timeout(200)
def test_b38_two_hundred_at_once_and_none_is_lost(as_user: User) -> None:
    engines.warm(as_user)
    assert as_user.call(at_once, 200, timeout=180) == [7] * 200
