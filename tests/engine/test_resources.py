"""ISOLATION B33 to B37: what a container uses up is bounded, and what it held is given back (B38: test_chaos).

As root a cgroup holds the limits. On this project's test machines an ordinary user has none (cgroup v1, or nothing
delegated): there resource limits stand in, a notice says so, and each test says what they can do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.rigs import engines
from tests.rigs.abilities import must
from tests.rigs.users import User

if TYPE_CHECKING:
    from jupyter_containers.engine.container import Container

MIB = 1 << 20
SECONDS = 8.0  # in which whatever runs wild must be gone
NO_CGROUP = "No cgroup is available"
Found = dict[str, Any]

BOMB = "f() { while :; do f & done; }; f & sleep 600"  # stays at its limit: whoever can't fork ends, another one forks
PILE = "while :; do sleep 600 & done"  # the shell itself ends at the first fork that is refused
HOG = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"
PYTHON_HOG = "held = []\nwhile True: held.append(bytearray(1 << 20))"


@pytest.fixture
def user(as_user: User) -> User:
    """With the launcher running and ``busybox:test`` in the store."""
    engines.warm(as_user)
    return as_user


@pytest.fixture
def cgroup(user: User) -> bool:
    """Whether a cgroup holds this user's limits; by the launcher's own report."""
    return bool(user.call(has_cgroup))


# -- as the user -----------------------------------------------------------------------------------------------


def has_cgroup() -> bool:
    from jupyter_containers import from_env

    return from_env().runtime.has_cgroup


def foreground(script: str, options: Found, image: str = "busybox:test") -> Found:
    """A script in the foreground: its end, what was shown, and how much this process grew (bytes) at most."""
    from jupyter_containers import from_env

    engine, shown = from_env(), {"stdout": "", "stderr": ""}
    engine.runtime.info()

    def show(name: str, text: str) -> None:
        shown[name] = (shown[name] + text)[-4096:]

    before = _status("self", "VmHWM")
    result = engine.containers.run_foreground(_asked(script, options, image), show)
    return {
        "code": result.exit_code,
        "reason": result.reason,
        "truncated": result.truncated,
        "size": sum(len(text) for _, text in result.outputs),
        "grown": _status("self", "VmHWM") - before,
        **shown,
    }


def _asked(script: str, options: Found, image: str = "busybox:test") -> Any:
    from jupyter_containers.options import RunOptions

    interpreter = [sys.executable, "-c"] if image == "host" else ["/bin/sh", "-c"]
    defaults = {"network": "none", "rm": True, "timeout": 60.0}
    return RunOptions.from_dict({**defaults, **options, "image": image, "command": [*interpreter, script]})


@contextmanager
def running(script: str, options: Found) -> Iterator[Container]:
    """The same in the background, kept until the end of the ``with``."""
    from jupyter_containers import from_env

    container = from_env(log_max_size=MIB).containers.create(_asked(script, {"rm": False, "timeout": None, **options}))
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True)


def _status(pid: int | str, field: str) -> int:
    """A size of a process in bytes, of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _until(true: Callable[[], object]) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + SECONDS
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _took(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def _processes(container: Container) -> list[int]:
    """The host's pids of all processes in the container's pid namespace, those that joined it later too."""
    namespace, found = os.readlink(f"/proc/{container.state['pid']}/ns/pid"), []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and os.readlink(path / "ns/pid") == namespace:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _inspected(container: Container) -> Found:
    return dict(container.attrs["State"])


# -- B33 -------------------------------------------------------------------------------------------------------


def bomb(limit: int) -> Found:
    """Let a fork bomb burn; from outside: fork, look at it, kill it."""
    with running(BOMB, {"pids_limit": limit}) as container:
        full = _until(lambda: len(_processes(container)) > limit // 2)
        most = max(len(_processes(container)) for _ in range(20))
        fork = _took(lambda: subprocess.run(["/bin/true"], check=True))
        other = _took(lambda: foreground("true", {}))
        pids = _processes(container)
        kill = _took(container.kill)
        return {
            "full": full, "most": most, "fork": fork, "other": other, "kill": kill, "state": _inspected(container),
            "left": [pid for pid in pids if Path(f"/proc/{pid}").exists()],
        }  # fmt: skip


def test_b33_a_fork_bomb_stops_at_the_limit_and_can_be_killed(user: User, leak_watch: None) -> None:
    """runtime-tools linux_cgroups_pids, kern BENCHMARKS: meanwhile the user forks and starts other containers."""
    found = user.call(bomb, 100)
    assert found["full"]
    assert found["most"] <= 100
    assert found["fork"] < SECONDS
    assert found["other"] < SECONDS
    assert found["kill"] < SECONDS
    assert not found["left"]
    assert found["state"]["ExitCode"] == 137


def test_b33_the_limit_is_told(user: User, cgroup: bool) -> None:
    """With a cgroup the reason of the end is ``pids``; without, the notice says whose processes are counted."""
    found = user.call(foreground, PILE, {"pids_limit": 60})
    assert "can't fork" in found["stderr"]
    assert found["code"] != 0
    assert (found["reason"] == "pids") is cgroup
    assert (NO_CGROUP in found["stderr"]) is not cgroup


# -- B34 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "hog", "says"), [("busybox:test", HOG, "out of memory"), ("host", PYTHON_HOG, "MemoryError")]
)
def test_b34_a_memory_hog_is_ended(user: User, cgroup: bool, image: str, hog: str, says: str) -> None:
    """Crun test_resources.py: by the cgroup with 137 and the reason ``oom``; else an allocation is refused.

    Then Python gets a MemoryError, and the notice says what the limit holds for.
    """
    found = user.call(foreground, hog, {"memory": 64 * MIB}, image)
    if cgroup:
        assert (found["code"], found["reason"]) == (137, "oom"), found
        assert NO_CGROUP not in found["stderr"]
    else:
        assert (found["code"], found["reason"]) == (1, "exit"), found
        assert says in found["stderr"]
        assert f"{NO_CGROUP}: the memory limit holds for the address space" in found["stderr"]


def hogs(memory: int) -> Found:
    """What inspect says of a hog that was PID 1, and of one whose parent went on."""
    found = {}
    for name, script in (("first", HOG), ("child", f"({HOG}); exit 0")):
        with running(script, {"memory": memory}) as container:
            found[name] = {"waited": container.wait()["StatusCode"], **_inspected(container)}
    return found


def test_b34_inspect_says_so(user: User, cgroup: bool) -> None:
    """Moby integration/container: State.OOMKilled also where a child was killed and the first process went on."""
    found = user.call(hogs, 64 * MIB)
    assert found["first"]["waited"] == found["first"]["ExitCode"] == (137 if cgroup else 1)
    assert found["child"]["ExitCode"] == 0
    assert found["first"]["OOMKilled"] is found["child"]["OOMKilled"] is cgroup


@pytest.mark.parametrize("place", ["/dev/shm", "/scratch"])
def test_b34_files_in_memory_count(user: User, cgroup: bool, place: str) -> None:
    """A tmpfs is charged to the cgroup that fills it; without one its own size bounds it: 64 MiB for /dev/shm."""
    script = f"exec dd if=/dev/zero of={place}/x bs=1M count=80"
    tmpfs = [{"type": "tmpfs", "source": "", "target": "/scratch", "options": ["size=64m"]}]
    found = user.call(foreground, script, {"memory": 32 * MIB, "volumes": tmpfs})
    if cgroup:
        assert (found["code"], found["reason"]) == (137, "oom"), found
    else:
        assert "No space left" in found["stderr"], found


def test_b34_the_size_of_shm_is_a_limit(user: User) -> None:
    found = user.call(
        foreground, "dd if=/dev/zero of=/dev/shm/x bs=1M count=8; stat -c %s /dev/shm/x", {"shm_size": MIB}
    )
    assert "No space left" in found["stderr"]
    assert found["stdout"] == f"{MIB}\n"


# -- B35 -------------------------------------------------------------------------------------------------------

FLOODS = {
    "lines": "exec yes",
    "one endless line": "exec tr '\\0' x < /dev/zero",
    "control characters": "exec cat /dev/zero",
}


def floods(seconds: float) -> dict[str, Found]:
    """All of them at once."""
    with ThreadPoolExecutor(len(FLOODS)) as pool:
        return dict(zip(FLOODS, pool.map(lambda script: flood(script, seconds), FLOODS.values()), strict=True))


def flood(script: str, seconds: float) -> Found:
    """A log under a flood: its largest size on disk, how much its monitor grew, how long it takes to end it."""
    with running(script, {}) as container:
        folder, monitor = container.record.bundle, container.state["monitorPid"]
        assert _until((folder / "log.1").exists)
        before, sizes, end = _status(monitor, "VmRSS"), [], time.monotonic() + seconds
        while time.monotonic() < end:
            sizes.append(_log_size(folder))
            time.sleep(0.02)
        grown = _status(monitor, "VmRSS") - before
        stop = _took(lambda: container.stop(timeout=1))
        last = container.logs(tail=1)
        return {
            "disk": max(sizes), "grown": grown, "stop": stop, "last": len(last) if isinstance(last, bytes) else -1,
            "files": sorted(path.name for path in folder.glob("log*")),
        }  # fmt: skip


def _log_size(folder: Path) -> int:
    total = 0
    for path in folder.glob("log*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # it was renamed meanwhile
            continue
    return total


def test_b35_flooded_logs_stay_bounded(user: User) -> None:
    """Podman 035-logs.bats: two files of 1 MiB here (of 10 by default), whatever is printed, and no memory."""
    for name, found in user.call(floods, 1.0).items():
        assert found["files"] == ["log", "log.1"], name
        assert MIB // 2 < found["disk"] <= 2 * MIB, name
        assert found["grown"] < 4 * MIB, name
        assert found["stop"] < SECONDS, name
        assert 0 < found["last"] <= 16 * 1024, name


def test_b35_a_flooded_cell_is_cut_and_says_so(user: User) -> None:
    """Containerd CVE-2022-31030's class: 10 MiB are shown, then a notice; the rest is read and dropped until the end."""
    found = user.call(foreground, "yes & sleep 1; kill $!; echo end", {})
    assert found["truncated"]
    assert "[more than 10 MiB of output: the rest is not shown]" in found["stderr"]
    assert 10 * MIB <= found["size"] < 11 * MIB
    assert found["grown"] < 64 * MIB
    assert (found["code"], found["reason"]) == (0, "exit")


def flooded_exec() -> Found:
    with running("sleep 600", {}) as container:
        before = _status("self", "VmHWM")
        code, output = container.exec_run(["/bin/sh", "-c", "yes & sleep 1; kill $!; exit 5"])
        return {"code": code, "size": len(output), "grown": _status("self", "VmHWM") - before}


def test_b35_a_flooding_exec_is_cut(user: User) -> None:
    """Containerd CVE-2022-31030 itself: the output of ``exec`` was collected without bound."""
    found = user.call(flooded_exec)
    assert found["code"] == 5
    assert 10 * MIB <= found["size"] < 11 * MIB
    assert found["grown"] < 64 * MIB


# -- B36 -------------------------------------------------------------------------------------------------------

EXHAUST = """
import ctypes, errno, json, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def fill(make):
    made = []
    try:
        while True:
            fd = make()
            if fd < 0:
                raise OSError(ctypes.get_errno(), "")
            made.append(fd)
    except OSError as error:
        for fd in made:
            os.close(fd)
        return [len(made), errno.errorcode[error.errno]]
def attempt(action):
    try:
        return action() or "ok"
    except (OSError, ValueError) as error:
        return type(error).__name__
def number(number, *words):
    ctypes.set_errno(0)
    return "ok" if libc.syscall(number, *words) >= 0 else errno.errorcode[ctypes.get_errno()]
calls = {"x86_64": (250, 248, 249), "aarch64": (219, 217, 218)}[os.uname().machine]
print(json.dumps({
    "limit": resource.getrlimit(resource.RLIMIT_NOFILE),
    "raised": attempt(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))),
    "files": fill(lambda: os.open("/dev/null", os.O_RDONLY)),
    "inotify": fill(lambda: libc.inotify_init1(0)),
    "keyctl": number(calls[0], 0, -3, 1), "add_key": number(calls[1], b"user", b"x", b"x", 1, -3),
    "request_key": number(calls[2], b"user", b"x", 0, -3),
}))
"""


def test_b36_descriptors_end_at_their_limit(user: User) -> None:
    """Crun test_rlimits.py: files and inotify instances count alike; the limit can't be raised from inside."""
    limit = [{"name": "nofile", "soft": 64, "hard": 64}]
    found = json.loads(user.call(foreground, EXHAUST, {"ulimits": limit}, "host")["stdout"])
    assert found["limit"] == [64, 64]
    assert found["raised"] in ("ValueError", "PermissionError")
    for name in ("files", "inotify"):
        count, error = found[name]
        assert (count <= 61, error) == (True, "EMFILE"), found
    os.close(os.open("/dev/null", os.O_RDONLY))  # the host still can
    assert (found["keyctl"], found["add_key"], found["request_key"]) == ("EPERM",) * 3


def test_b36_a_limit_that_can_not_be_set_is_refused(user: User) -> None:
    """More than the hard limit outside needs CAP_SYS_RESOURCE there, which users (and root in some sandboxes) lack."""
    limit = [{"name": "nofile", "soft": 1 << 29, "hard": 1 << 29}]
    code = user.call(refusal, {"ulimits": limit})
    assert "RLIMIT_NOFILE" in code
    assert "The hard limit here is" in code


def refusal(options: Found) -> str:
    """The error of a container that does not start."""
    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError

    try:
        from_env().containers.run_foreground(_asked("true", options))
    except ContainersError as error:
        return str(error)
    return ""


# -- B37 -------------------------------------------------------------------------------------------------------

DEAF = "trap '' TERM; {}; echo ready; while :; do sleep 1; done"
STUBBORN = "trap : TERM; {}; echo ready; while :; do sleep 1; done"
FAMILY = "(trap '' TERM HUP INT; setsid sleep 600) & sleep 600 & kill -STOP $!"


def stopped(script: str, options: Found, verb: str, paused: bool = False) -> Found:
    """How long ``stop`` or ``kill`` takes, how it ended, and which of its processes are left."""
    with running(script.format(FAMILY), options) as container:
        assert _until(lambda: b"ready" in container.logs())
        pids = _processes(container)
        if paused:
            container.pause()
        took = _took(lambda: _end(container, verb))
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        return {"took": took, "left": left, "count": len(pids), "code": _inspected(container)["ExitCode"]}


def stops() -> dict[str, Found]:
    """``stop`` of every kind of first process, with our init and without, all at once."""
    cases = [
        (name, script, init) for name, script in (("deaf", DEAF), ("stubborn", STUBBORN)) for init in (False, True)
    ]
    with ThreadPoolExecutor(len(cases)) as pool:
        found = pool.map(lambda case: stopped(case[1], {"init": case[2]}, "stop"), cases)
    return {f"{name}{' under init' if init else ''}": one for (name, _, init), one in zip(cases, found, strict=True)}


def test_b37_stop_ends_what_ignores_it(user: User, leak_watch: None) -> None:
    """Podman 050-stop.bats: SIGKILL after the grace of a second; at once where the kernel drops a deaf PID 1's signal.

    With it end a process of a session of its own and a stopped one.
    """
    for name, found in user.call(stops).items():
        assert found["count"] >= 3, name
        assert not found["left"], name
        assert found["code"] == 137, name
        assert (0 if name == "deaf" else 0.95) <= found["took"] < (0.95 if name == "deaf" else SECONDS), name


def test_b37_kill_needs_no_grace(user: User) -> None:
    found = user.call(stopped, STUBBORN, {}, "kill")
    assert found["took"] < 1
    assert not found["left"]
    assert found["code"] == 137


@pytest.mark.parametrize("verb", ["stop", "kill", "orphan"])
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_b37_a_paused_container_can_be_ended(user: User, cgroup: bool, leak_watch: None, verb: str) -> None:
    """A frozen process of cgroup v1 does not even die of SIGKILL until it thaws; docker, too, lets it go on then.

    Orphan: its monitor is killed, and the launcher ends what is left.
    """
    must(cgroup, "a cgroup: run the tests as root")
    found = user.call(stopped, STUBBORN, {}, verb, True)
    assert found["took"] < SECONDS
    assert not found["left"]
    assert found["code"] == 137


@pytest.mark.parametrize("as_user", ["subids", "nosubids"], indirect=True)
def test_b37_without_a_cgroup_nothing_is_paused(user: User, cgroup: bool) -> None:
    assert cgroup or "pause" in user.call(refused_pause)


def refused_pause() -> str:
    from jupyter_containers.errors import ContainersError

    with running("sleep 600", {}) as container:
        try:
            container.pause()
        except ContainersError as error:
            return str(error)
    return ""


def _end(container: Container, verb: str) -> None:
    if verb == "stop":
        container.stop(timeout=1)
    elif verb == "kill":
        container.kill()
    else:
        os.kill(container.state["monitorPid"], signal.SIGKILL)
        _until(lambda: container.status == "exited")


ORPHAN = "(sleep 0.05 &); exec sleep 600"


def zombies(init: bool) -> Found:
    """Processes that ended and were not waited for, after an orphan of the program has ended; and PID 1's deafness."""
    look = ["/bin/sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"]
    with running(ORPHAN, {"init": init}) as container:
        assert container.exec_run(["sleep", "0.3"])[0] == 0
        count = int(container.exec_run(look)[1])
        container.exec_run(["kill", "-TERM", "1"])
        ended = _until(lambda: container.status == "exited") if init else container.status == "exited"
        return {"zombies": count, "ended": ended, "code": _inspected(container)["ExitCode"]}


@pytest.mark.parametrize("init", [False, True])
def test_b37_an_init_reaps_and_passes_signals_on(user: User, init: bool) -> None:
    """Without, the program is PID 1 as in Docker: a zombie stays one, and SIGTERM from inside is dropped."""
    found = user.call(zombies, init)
    assert found["zombies"] == (0 if init else 1)
    assert found["ended"] is init
    assert not init or found["code"] == 128 + signal.SIGTERM


def codes(*scripts: str) -> list[int]:
    """Exit codes of programs under an init."""
    return [foreground(script, {"init": True})["code"] for script in scripts]


def test_b37_an_init_ends_as_its_program_does(user: User) -> None:
    assert user.call(codes, "exit 7", "kill -KILL $$", "kill -USR1 $$") == [7, 137, 138]


KERNEL = "from tests.engine import test_resources as here; here.foreground(here.CELL, {'network': 'default', 'timeout': None})"
CELL = "trap '' TERM HUP; (setsid sleep 600) & echo x > /dev/shm/x; echo ready; while :; do sleep 1; done"


def killed_kernel() -> Found:
    """Kill a Python whose cell runs; until when the cell's processes have ended."""
    from jupyter_containers import from_env

    engine = from_env()
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], cwd="/")
    try:
        assert _until(lambda: engine.containers.list() and len(_processes(engine.containers.list()[0])) >= 3)
        [container] = engine.containers.list()
        pids = [*_processes(container), container.state["monitorPid"]]
    finally:
        kernel.kill()
        kernel.wait()
    gone = _until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
    return {"gone": gone, "containers": [found.id for found in engine.containers.list(all=True)]}


def test_b37_a_killed_kernel_leaves_nothing(user: User, leak_watch: None) -> None:
    """Kern pentest-ports N: SIGKILL to the caller ends its cell; no process, mount, network, cgroup or file stays."""
    found = user.call(killed_kernel)
    assert found == {"gone": True, "containers": []}
