"""The rig of the isolation tests: images made from this machine, and one engine per rung, run by the fitting person.

As root every rung is tried: ``root`` by root, ``rootless`` by the user jc-subids, ``rootless-single`` by jc-nosubids
(made where missing). As an ordinary user only the rung that this user gets. The engine lives in a process of its own
(:mod:`serve_isolation`) because it must be another user's; the tests talk JSON lines to it.

Not here: what is checked (``test_isolation_*``) and what is tried inside a container (:mod:`probe_inside`).
"""

from __future__ import annotations

import atexit
import grp
import io
import json
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kernel_runtime import idmap

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PERSONS = {"root": "root", "rootless": "jc-subids", "rootless-single": "jc-nosubids"}
APPLETS = ("sh", "id", "cat", "ls", "sleep", "true", "echo", "pwd", "touch", "chmod", "mkdir", "ln", "stat", "grep", "env",
           "wc", "mount", "ip", "tr", "kill", "mknod", "head", "rm", "find", "readlink", "tty")  # fmt: skip
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n1001:x:0:0:numeric:/:/bin/sh\n"
GROUP = b"root:x:0:\nalice:x:1000:\nstaff:x:50:alice,bob\naudio:x:29:bob\n1002:x:0:\n"
IN_PROBE = "__future__, collections.abc, typing, ctypes, json, os, socket, struct, fcntl, errno, mmap, signal, termios, time, encodings.idna, encodings.ascii"

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
SUID = f"{os.path.dirname(PYTHON)}/suid-python"


def unable(reason: str) -> None:
    """The machine lacks something: a skip on a laptop, a failure in CI."""
    if os.environ.get("JC_MUST_WORK") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# -- images ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One entry of a root tar: a file with content, a link, or a folder (neither)."""

    name: str
    data: bytes | None = None
    link: str = ""
    mode: int = 0o755
    uid: int = 0

    def add(self, tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(self.name)
        info.mode, info.uid, info.mtime = self.mode, self.uid, 1
        info.type = tarfile.SYMTYPE if self.link else tarfile.DIRTYPE if self.data is None else tarfile.REGTYPE
        info.linkname, info.size = self.link, len(self.data or b"")
        tar.addfile(info, io.BytesIO(self.data or b""))


def root_tar(*entries: Entry, without: tuple[str, ...] = ()) -> bytes:
    """The tar of a busybox root with *entries* added and the names in *without* left out."""
    taken = {entry.name for entry in entries} | set(without)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in (*_busybox_root(), *entries):
            if entry in entries or entry.name not in taken:
                entry.add(tar)
    return file.getvalue()


@cache
def _busybox_root() -> tuple[Entry, ...]:
    busybox = shutil.which("busybox")
    if not busybox or b"not a dynamic" not in _output("ldd", busybox):
        unable("a static busybox is needed (Debian, Ubuntu: apt install busybox-static)")
    assert busybox
    folders = ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home", "home/alice", "usr", "usr/bin", "var", "lib")
    links = [Entry(f"bin/{name}", link="busybox") for name in APPLETS]
    passwd, group = Entry("etc/passwd", PASSWD, mode=0o644), Entry("etc/group", GROUP, mode=0o644)
    program = Path(busybox).read_bytes()
    return (*(Entry(name) for name in folders), Entry("bin/busybox", program), *links, passwd, group)


@cache
def python_tar() -> bytes:
    """The root tar with this machine's Python in it, as far as :mod:`probe_inside` needs it."""
    python = PYTHON
    code = f"import sys, {IN_PROBE}; print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', '')))"
    modules = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    programs = [python, *(module for module in modules if module.endswith(".so"))]
    names = {os.path.realpath(path): path for path in (*modules, python)}
    for program in programs:
        for word in _output("ldd", program).decode().split():
            if word.startswith("/"):
                names[word] = word
    entries = [Entry(name.lstrip("/"), Path(path).read_bytes()) for name, path in names.items()]
    probe = Entry("probe_inside.py", (HERE / "probe_inside.py").read_bytes())
    folders = sorted({str(folder) for entry in entries for folder in Path(entry.name).parents} - {"."})
    suid = Entry(SUID.lstrip("/"), Path(python).read_bytes(), mode=0o4755)
    return root_tar(*(Entry(name) for name in folders), *entries, probe, suid, Entry("bin/python3", link=python))


def _output(*words: str) -> bytes:
    done = subprocess.run(words, capture_output=True, check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return done.stdout + done.stderr


# -- boxes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a run: exit code and output, or the engine's error (``kind`` is its class)."""

    code: int
    out: str = ""
    err: str = ""
    kind: str = ""
    text: str = ""

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.out.splitlines()


class Box:
    """An engine on one rung."""

    def __init__(self, rung: str) -> None:
        self.rung = rung
        self.person = pwd.getpwnam(PERSONS[rung]) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.folder = Path(tempfile.mkdtemp(prefix="jc-isolation-"))
        os.chown(self.folder, self.person.pw_uid, self.person.pw_gid)
        self._images: dict[str, str] = {}
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[str]:
        run = self.folder / "run"
        run.mkdir(mode=0o700)
        os.chown(run, self.person.pw_uid, self.person.pw_gid)
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(run), "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(HERE)]), "PYTHONDONTWRITEBYTECODE": "1",
            "JUPYTER_TOKEN": "host-secret", "AWS_SECRET_ACCESS_KEY": "host-secret", "DOCKER_HOST": "unix:///host-secret",
        }  # fmt: skip
        change: dict[str, Any] = {}
        if os.geteuid() == 0 and self.person.pw_uid:
            change = {"user": self.person.pw_uid, "group": self.person.pw_gid, "extra_groups": []}
        words = [sys.executable, str(HERE / "serve_isolation.py"), str(self.folder / "store"), self.rung]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, env=environment, cwd="/", start_new_session=True, **pipes, **change)

    def ask(self, operation: str, **values: Any) -> Any:
        """One call in the engine's process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"op": operation, **values}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the engine's process on {self.rung} has ended"
        answer = json.loads(line)
        assert "crash" not in answer, answer["crash"]
        return answer

    def image(self, name: str, tar: bytes, *changes: str) -> str:
        """Import *tar* once under *name*; the name."""
        if name not in self._images:
            path = self.folder / f"{name}.tar"
            path.write_bytes(tar)
            path.chmod(0o644)
            self.ask("import", path=str(path), name=name, changes=list(changes))
            path.unlink()
            self._images[name] = name
        return name

    def plain(self) -> str:
        """The image with busybox alone."""
        return self.image("plain", root_tar())

    def python(self) -> str:
        """The image with Python and the probe."""
        return self.image("python", python_tar())

    def run(self, image: str, *command: str, **options: Any) -> Outcome:
        """Run in the foreground, without network unless asked for; *options* are those of RunOptions."""
        return Outcome(**self.ask("run", options=_options(image, command, options)))

    def sh(self, script: str, image: str = "", **options: Any) -> Outcome:
        """Run a shell script in the busybox image."""
        return self.run(image or self.plain(), "sh", "-c", script, **options)

    def probe(self, *words: str, image: str = "", **options: Any) -> Any:
        """Run a part of the probe; what it found."""
        done = self.run(image or self.python(), "python3", "-I", "-S", "-B", "/probe_inside.py", *words, **options)
        assert done.code == 0, done
        return json.loads(done.out)

    def start(self, image: str, *command: str, **options: Any) -> str:
        """Start in the background; the id."""
        options = {"rm": False, **options}
        return str(self.ask("start", options=_options(image, command, options))["id"])

    def execute(self, container: str, *command: str, **options: Any) -> Outcome:
        """``exec`` in a running container."""
        return Outcome(**self.ask("exec", id=container, command=list(command), options=options))

    def bundle(self, changes: Mapping[str, Any], *command: str, image: str = "", **options: Any) -> Outcome:
        """Run a config.json in which *changes* (``linux.maskedPaths`` …) were made; what only a spec can ask for.

        Mounts whose destination is in *changes*' ``without`` are taken out.
        """
        asked = _options(image or self.plain(), command, {"rm": False, **options})
        return Outcome(**self.ask("bundle", options=asked, changes=dict(changes)))

    def terminal(self, *words: str, **options: Any) -> dict[str, Any]:
        """Run a part of the probe on the caller's own terminal: what it found, and what waits in the terminal."""
        command = ("python3", "-I", "-S", "-B", "/probe_inside.py", *words)
        return dict(self.ask("terminal", options=_options(self.python(), command, options)))

    def logs(self, container: str) -> str:
        """What it printed so far."""
        return str(self.ask("logs", id=container)["text"])

    def end(self, container: str) -> None:
        """Kill and remove it."""
        self.ask("end", id=container)

    def info(self) -> dict[str, Any]:
        """The engine's launcher, and the network's way to the outside."""
        return dict(self.ask("info"))

    def close(self) -> None:
        """End launcher and engine; remove the store."""
        try:
            self.ask("quit")
        finally:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)
            shutil.rmtree(self.folder, ignore_errors=True)


def _options(image: str, command: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    return {"rm": True, "network": "none", "timeout": 30.0, **options, "image": image, "command": command}


# -- fixtures --------------------------------------------------------------------------------------------------


@cache
def box_of(rung: str) -> Box:
    """The one box of *rung*, closed when Python ends."""
    _prepare_person(rung)
    made = Box(rung)
    atexit.register(made.close)
    return made


@pytest.fixture(scope="session", params=list(PERSONS))
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """An engine on each rung that can be had here."""
    yield box_of(request.param)


@cache
def facts_of(rung: str) -> dict[str, Any]:
    """What the probe found in one container with Docker's defaults."""
    from kernel_runtime import syscall_table

    tables = {abi.name: syscall_table.numbers(abi) for abi in syscall_table.abis(os.uname().machine)}
    box = box_of(rung)
    found = box.probe("facts", json.dumps(tables), json.dumps([os.getpid(), box.info()["pid"]]))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def facts(box: Box) -> dict[str, Any]:
    """What one container with Docker's defaults sees; shared by all tests of a rung."""
    return facts_of(box.rung)


def _prepare_person(rung: str) -> None:
    if os.geteuid() != 0:
        has_ids = idmap.subordinate_ids("/etc/subuid", os.geteuid()) is not None
        if rung != ("rootless" if has_ids else "rootless-single"):
            pytest.skip(f"only root can try the rung {rung} here")
        return
    name = PERSONS[rung]
    try:
        pwd.getpwnam(name)
    except KeyError:
        if not shutil.which("useradd"):
            unable(f"the user {name} is missing and there is no useradd")
        subprocess.run(["useradd", "--create-home", name], check=True)
        grp.getgrnam(name)
    if rung == "rootless" and idmap.subordinate_ids("/etc/subuid", pwd.getpwnam(name).pw_uid) is None:
        add = ["usermod", "--add-subuids", "100000-165535", "--add-subgids", "100000-165535", name]
        subprocess.run(add, check=True)
