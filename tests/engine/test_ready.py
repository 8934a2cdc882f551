"""Containers that are made ready before anybody asks: the same as any other, of the right image, and nobody's burden."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.engine.rig_isolation import PROBE, Box
from tests.rigs import engines
from tests.rigs.users import User

KINDS: list[dict[str, Any]] = [
    {},
    {"user": "alice"},
    {"user": "1234:50", "group_add": ["audio"]},
    {"cap_add": ["CAP_NET_ADMIN"]},
    {"read_only": True},
    {"security_opt": ["no-new-privileges"]},
    {"security_opt": ["seccomp=unconfined"]},
    {"hostname": "lighthouse", "workdir": "/made/here", "shm_size": 1 << 20},
    {"volumes": [{"type": "tmpfs", "source": "", "target": "/scratch", "options": ["size=1m"]}]},
    {"env": {"A": "b c", "PATH": "/bin:/usr/bin"}, "unset_env": ["HOSTNAME"]},
]
# Of /proc/PID/status: what differs between any two containers, and says nothing of their isolation.
CHANGING = re.compile(r"Vm|Rss|.*ctxt|Pid|PPid|Tgid|Ngid|NS|HugetlbPages|Cpus_|Mems_|Threads|SigQ|Seccomp_filters$")


@pytest.mark.parametrize("options", KINDS, ids=lambda options: ",".join(options) or "defaults")
def test_a_container_made_ready_is_like_one_made_when_asked(box: Box, options: dict[str, Any]) -> None:
    box.ask("rest")
    made = box.run(box.python(), *PROBE, *box.all_facts(), **options)
    ready = box.run_ready(box.python(), *PROBE, *box.all_facts(), **options)
    assert (ready.code, ready.err) == (made.code, made.err) == (0, "")
    assert _lasting(ready.out, ready.id) == _lasting(made.out, made.id)


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_limits_are_those_of_one_made_when_asked(box: Box) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids*/pids.max"
    limits = {"memory": 256 << 20, "pids_limit": 64}
    done = box.run_ready(box.plain(), "sh", "-c", f"{script} 2>/dev/null; true", **limits)
    assert done.lines == [str(256 << 20), "64"]
    hog = box.run_ready(box.plain(), "sh", "-c", "tail /dev/zero", memory=32 << 20)
    assert hog.code == 137


def _lasting(out: str, container_id: str) -> dict[str, Any]:
    """The facts of a container without what is its alone: numbers of mounts and namespaces, its id, times."""
    facts = json.loads(out.replace(container_id[:12], "ID"))
    facts["status"] = {name: value for name, value in facts["status"].items() if not CHANGING.match(name)}
    facts["mounts"] = sorted(_mount(line) for line in facts["mounts"])
    for look in facts["masked"].values():
        look.pop("device", None)
    del facts["uptime"], facts["namespaces"]
    facts["descriptors"] = {fd: re.sub(r"\d+", "N", target) for fd, target in facts["descriptors"].items()}
    facts["cgroups"] = {re.sub(r"\d+-\d+", "N", path): may for path, may in facts["cgroups"].items()}
    return facts


def _mount(line: str) -> str:
    """Without numbers of mounts, devices and descriptors, and names of files on the stage."""
    _, _, _, root, point, options, *rest = line.split()
    root = re.sub(r"\d+-\d+|file\d+$", "N", root)
    return f"{root} {point} {options} {re.sub('/proc/self/fd/[0-9]+', 'N', ' '.join(rest))}"


def test_what_it_prints_is_logged_and_what_it_reads_is_its_own(box: Box) -> None:
    done = box.run_ready(box.plain(), "sh", "-c", "cat; echo out; echo err >&2; exit 3", interactive=True)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


def test_a_container_that_is_kept_can_be_made_ready(box: Box) -> None:
    done = box.run_ready(box.plain(), "sh", "-c", "echo kept", rm=False)
    assert done.out == "kept\n" and box.logs(done.id) == "kept\n"
    box.end(done.id)


def test_a_program_that_is_missing_is_told_as_ever(box: Box) -> None:
    box.run_ready(box.plain(), "true")
    box.ask("ready", options={"image": box.plain(), "command": ["true"], "rm": True, "network": "none"})
    done = box.run(box.plain(), "nothing-here", timeout=None)
    assert (done.code, done.kind) == (127, "CannotStart")


# -- never of another image ------------------------------------------------------------------------------------


def test_an_image_that_came_again_under_its_name_is_not_taken_for_the_old_one(as_user: User) -> None:
    assert as_user.with_store("again").call(run_again) == ["old", "old", "new", "new"]


def run_again() -> list[str]:
    """Two images of the same name and layers' places, one after the other, each run twice."""
    from jupyter_containers import from_env

    engine, found = from_env(), []
    for text in ("old", "new"):
        _import(engine, text)
        found += [_output(engine, ["/bin/cat", "/text"]) for _ in range(2)]
        engine.images.remove("again:test")
    engine.runtime.quit()
    return found


def test_a_layer_that_was_removed_and_came_again_is_mounted_anew(as_user: User) -> None:
    assert as_user.with_store("removed").call(run_removed) == ["text", "No such image: again:test", "text", True]


def run_removed() -> list[Any]:
    """Run, remove the image while one is ready, ask for it, import the very same again, run; was the old one left."""
    from jupyter_containers import from_env
    from jupyter_containers.errors import ImageNotFound

    engine = from_env()
    _import(engine, "text")
    found: list[Any] = [_output(engine, ["/bin/cat", "/text"])]
    before = _ready(engine)
    engine.images.remove("again:test")
    try:
        engine.containers.run("again:test", ["/bin/cat", "/text"], remove=True, network="none", pull="never")
    except ImageNotFound as error:
        found.append(str(error).partition(".")[0])
    _import(engine, "text")
    found += [_output(engine, ["/bin/cat", "/text"]), before <= _ready(engine)]
    engine.runtime.quit()
    return found


def test_what_was_taken_for_alike_and_is_not_is_made_anew(as_user: User) -> None:
    engines.add_busybox(as_user)
    assert as_user.call(run_mistaken) == ["read-only", "fine", 0]


def run_mistaken() -> list[Any]:
    """Have the engine believe that a read-only container is alike to one that is not."""
    from jupyter_containers import from_env

    engine = from_env()
    for _ in range(2):
        engine.containers.run("busybox:test", ["true"], remove=True, network="none")
    _ready(engine)
    usual = next(iter(engine.runtime._kinds.values()))
    engine.containers.run("busybox:test", ["true"], remove=True, network="none", read_only=True)
    engine.runtime._kinds = dict.fromkeys(engine.runtime._kinds, usual)
    say = ["sh", "-c", "touch /x 2>/dev/null && echo fine || echo read-only"]
    found = [
        str(engine.containers.run("busybox:test", say, remove=True, network="none", read_only=only), "utf-8").strip()
        for only in (True, False)
    ]
    return [*found, len(_left(engine))]


# -- whoever is killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["monitor", "first process", "launcher"])
def test_one_that_is_killed_while_it_waits_fails_nobody(as_user: User, who: str) -> None:
    engines.add_busybox(as_user)
    assert as_user.call(kill_ready, who) == {"codes": [0, 0, 0], "left": []}


def kill_ready(who: str) -> dict[str, Any]:
    """Kill a process of a container that is ready, run others; what is left once none is kept ready."""
    import os
    import signal
    import time

    from jupyter_containers import from_env

    engine = from_env()
    engine.containers.run("busybox:test", ["true"], remove=True, network="none")
    _ready(engine)
    for folder in (engine.settings.home / "waiting").iterdir():
        monitor = int(folder.name.split("-")[1])
        child = int(open(f"/proc/{monitor}/task/{monitor}/children").read())
        pids = {"monitor": monitor, "first process": child, "launcher": engine.runtime.info()["pid"]}
        os.kill(pids[who], signal.SIGKILL)
        time.sleep(0.05)  # with a monitor its first process dies, soon
        break
    codes = [_code(engine) for _ in range(3)]
    return {"codes": codes, "left": _left(engine)}


def test_a_program_whose_monitor_is_killed_at_once_is_not_run_twice(as_user: User) -> None:
    engines.add_busybox(as_user)
    assert "its monitor ended" in as_user.call(kill_at_once)


def kill_at_once() -> str:
    """Kill a monitor that has not heard the order yet, which its first process has; what the caller is told."""
    import os
    import signal
    import threading
    import time

    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError
    from jupyter_containers.options import RunOptions

    engine, told = from_env(), []
    engine.containers.run("busybox:test", ["true"], remove=True, network="none")
    _ready(engine)
    monitors = [int(path.name.split("-")[1]) for path in (engine.settings.home / "waiting").iterdir()]

    def run() -> None:
        asked = RunOptions(image="busybox:test", command=("sleep", "9"), rm=True, network="none")
        try:
            told.append(f"exit {engine.containers.run_foreground(asked).exit_code}")
        except ContainersError as error:
            told.append(str(error))

    for pid in monitors:
        os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)
    for pid in monitors:
        os.kill(pid, signal.SIGKILL)
    thread.join(20)
    return told[0] if told else "nothing"


@pytest.mark.parametrize("connects", [False, True])
def test_a_caller_that_is_killed_before_it_gives_its_order_leaves_nothing(as_user: User, connects: bool) -> None:
    engines.add_busybox(as_user)
    assert as_user.call(abandon, connects) == []


def abandon(connects: bool) -> list[str]:
    """Take a container that is ready, as a caller does, and say nothing; what is left."""
    import os

    from jupyter_containers import from_env

    engine = from_env()
    engine.containers.run("busybox:test", ["true"], remove=True, network="none")
    [kind] = {name.partition("-")[0] for name in _ready(engine)} - {""}
    if os.fork() == 0:
        from kernel_runtime import waiting

        if connects:
            engine.runtime._client.knock("none", kind)
        else:
            waiting.claim(str(engine.settings.home), kind)
        os._exit(9)
    os.wait()
    return _left(engine)


def test_nothing_is_kept_ready_of_what_was_not_asked_for_lately(as_user: User) -> None:
    engines.add_busybox(as_user)
    assert 1 <= as_user.call(ask_for_many) <= 4


def ask_for_many() -> int:
    """Run containers of six kinds; how many are ready in the end."""
    from jupyter_containers import from_env

    engine = from_env()
    for number in range(6):
        engine.containers.run("busybox:test", ["true"], remove=True, network="none", working_dir=f"/{number}")
        _ready(engine)
    return len(_ready(engine))


# -- for the processes of users ----------------------------------------------------------------------------------


def _import(engine: Any, text: str) -> None:
    import io
    import tarfile
    import tempfile

    from tests.rigs import roots

    with tempfile.NamedTemporaryFile() as file:
        with tarfile.open(roots.busybox_tar()) as base, tarfile.open(fileobj=file, mode="w") as tar:
            for member in base:
                tar.addfile(member, base.extractfile(member) if member.isfile() else None)
            info = tarfile.TarInfo("text")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        file.flush()
        engine.images.import_image(file.name, repository="again", tag="test")


def _output(engine: Any, command: list[str]) -> str:
    done = str(engine.containers.run("again:test", command, remove=True, network="none"), "utf-8")
    _ready(engine)
    return done


def _code(engine: Any) -> int:
    from jupyter_containers.options import RunOptions

    asked = RunOptions(image="busybox:test", command=("true",), rm=True, network="none")
    return int(engine.containers.run_foreground(asked).exit_code)


def _ready(engine: Any) -> set[str]:
    """The names of all that are ready, once each kind that the launcher keeps is."""
    import time

    end, names = time.monotonic() + 5, set[str]()
    while time.monotonic() < end:
        time.sleep(0.05)
        names = {path.name for path in (engine.settings.home / "waiting").iterdir()}
        if names and not any(name.startswith(".") for name in names):
            break
    return names


def _left(engine: Any) -> list[str]:
    """Folders of containers, once none is kept ready and a sweep has been done."""
    import time

    from jupyter_containers import from_env

    end = time.monotonic() + 5
    while time.monotonic() < end:
        engine.runtime.rest()
        engine.runtime.sweep()
        from_env().containers.list(all=True)
        left = [path.name for name in ("containers", "waiting") for path in (engine.settings.home / name).iterdir()]
        if not left:
            break
        time.sleep(0.05)
    return left
