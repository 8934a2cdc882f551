"""The rig of the isolation tests: images made to break out, and one engine per kind of user that runs them.

The engine lives in a process of its own (:mod:`serve_isolation`) because it must be another user's; the tests talk JSON
lines to it. Its environment holds secrets that no container may see.

Not here: what is checked (``test_isolation_*``) and what is tried inside a container (:mod:`probe_inside`).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.rigs import roots
from tests.rigs.users import User

HERE = Path(__file__).resolve().parent
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n1001:x:0:0:numeric:/:/bin/sh\n"
GROUP = b"root:x:0:\nalice:x:1000:\nstaff:x:50:alice,bob\naudio:x:29:bob\n1002:x:0:\n"
IN_PROBE = "__future__, collections.abc, typing, ctypes, json, os, socket, struct, fcntl, errno, mmap, signal, termios, time, encodings.idna, encodings.ascii"
SECRETS = {"JUPYTER_TOKEN": "host-secret", "AWS_SECRET_ACCESS_KEY": "host-secret", "DOCKER_HOST": "unix:///host-secret"}

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
SUID = f"{os.path.dirname(PYTHON)}/suid-python"
PROBE = (PYTHON, "-I", "-S", "-B", "/probe_inside.py")


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


_FURNITURE = (*(Entry(name) for name in ("home", "home/alice", "usr", "usr/bin", "var", "lib")),
              Entry("etc/passwd", PASSWD, mode=0o644), Entry("etc/group", GROUP, mode=0o644))  # fmt: skip


def root_tar(*entries: Entry, without: tuple[str, ...] = ()) -> bytes:
    """The tar of a busybox root with *entries* added and the names in *without* left out."""
    taken = {entry.name for entry in entries} | set(without)
    added = [*(entry for entry in _FURNITURE if entry.name not in taken), *entries]
    taken |= {entry.name for entry in added}
    file = io.BytesIO()
    with tarfile.open(roots.busybox_tar()) as base, tarfile.open(fileobj=file, mode="w") as tar:
        for member in base:
            if member.name not in taken:
                tar.addfile(member, base.extractfile(member) if member.isfile() else None)
        for entry in added:
            entry.add(tar)
    return file.getvalue()


@cache
def python_tar() -> bytes:
    """The root tar with this machine's Python in it, as far as :mod:`probe_inside` needs it."""
    python = PYTHON
    code = f"import sys, {IN_PROBE}; print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', '')))"
    modules = subprocess.run(
        [python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
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
    return root_tar(*(Entry(name) for name in folders), *entries, probe, suid)


def _output(*words: str) -> bytes:
    done = subprocess.run(words, capture_output=True, check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return done.stdout + done.stderr


# -- boxes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a run: exit code and output, or the engine's error (``kind`` is its class); the container's id."""

    code: int
    out: str = ""
    err: str = ""
    kind: str = ""
    text: str = ""
    id: str = ""

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.out.splitlines()


class Box:
    """An engine of one user; a ``with`` ends it."""

    def __init__(self, user: User) -> None:
        self.user, self.rung, self.folder = user.with_store("isolation"), user.rung, user.base
        self._images: dict[str, str] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        words = [sys.executable, str(HERE / "serve_isolation.py")]
        environment = {**self.user.environment, **SECRETS}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = self.user.popen(words, env=environment, cwd="/", start_new_session=True, **pipes)

    def __enter__(self) -> Box:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End launcher and engine; the store is removed with the user's folder."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)

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

    def image(self, name: str, tar: bytes) -> str:
        """Import *tar* once under *name*; the name."""
        if name not in self._images:
            path = self.folder / f"{name}.tar"
            path.write_bytes(tar)
            path.chmod(0o644)
            self.ask("import", path=str(path), name=name)
            path.unlink()
            self._images[name] = name
        return name

    def own(self, name: str, data: bytes | None = None) -> Path:
        """A file of the user's, or without *data* a folder; what is mounted, or must stay as it is."""
        path = self.folder / name
        path.mkdir(exist_ok=True) if data is None else path.write_bytes(data)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def plain(self) -> str:
        """The image with busybox alone."""
        return self.image("plain", root_tar())

    def python(self) -> str:
        """The image with Python and the probe."""
        return self.image("python", python_tar())

    def run(self, image: str, *command: str, **options: Any) -> Outcome:
        """Run in the foreground, without network unless asked for; *options* are those of RunOptions."""
        return Outcome(**self.ask("run", options=_options(image, command, options)))

    def run_ready(self, image: str, *command: str, **options: Any) -> Outcome:
        """The same in a container that was made ready beforehand."""
        ready = self.ask("ready", options=_options(image, ("true",), options))["ids"]
        done = self.run(image, *command, **options)
        assert done.id in ready, (done, ready)
        return done

    def sh(self, script: str, image: str = "", **options: Any) -> Outcome:
        """Run a shell script in the busybox image."""
        return self.run(image or self.plain(), "sh", "-c", script, **options)

    def probe(self, *words: str, image: str = "", **options: Any) -> Any:
        """Run a part of the probe; what it found."""
        done = self.run(image or self.python(), *PROBE, *words, **options)
        assert done.code == 0, done
        return json.loads(done.out)

    def facts(self, where: str) -> dict[str, Any]:
        """What the probe finds in a container with Docker's defaults; run once.

        Args:
            where: ``python`` (the image), ``host``, or ``ready``: the image, in a container made ready beforehand.
        """
        if where not in self._facts:
            if where == "ready":
                self._facts[where] = json.loads(self.run_ready(self.python(), *PROBE, *self.all_facts()).out)
            else:
                probe = {"type": "bind", "source": str(HERE / PROBE[-1][1:]), "target": PROBE[-1], "read_only": True}
                volumes = [probe] if where == "host" else []
                image = "" if where == "python" else where
                self._facts[where] = self.probe(*self.all_facts(), image=image, volumes=volumes)
        return self._facts[where]

    def all_facts(self) -> tuple[str, ...]:
        """The words that ask the probe for them."""
        from kernel_runtime import syscall_table

        tables = {abi.name: syscall_table.numbers(abi) for abi in syscall_table.abis(os.uname().machine)}
        return ("facts", json.dumps(tables), json.dumps([os.getpid(), self.info()["pid"]]))

    def start(self, image: str, *command: str, **options: Any) -> str:
        """Start in the background; the id."""
        options = {"rm": False, **options}
        return str(self.ask("start", options=_options(image, command, options))["id"])

    @contextmanager
    def running(self, image: str, *command: str, **options: Any) -> Iterator[str]:
        """The same until the end of the ``with``."""
        container = self.start(image, *command, **options)
        try:
            yield container
        finally:
            self.end(container)

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
        return dict(self.ask("terminal", options=_options(self.python(), (*PROBE, *words), options)))

    def logs(self, container: str) -> str:
        """What it printed so far."""
        return str(self.ask("logs", id=container)["text"])

    def end(self, container: str) -> None:
        """Kill and remove it."""
        self.ask("end", id=container)

    def info(self) -> dict[str, Any]:
        """The engine's launcher, and the network's way to the outside."""
        return dict(self.ask("info"))

    def left(self) -> list[str]:
        """The folders of containers in the store."""
        return list(self.ask("left")["names"])


def _options(image: str, command: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    return {"rm": True, "network": "none", "timeout": 30.0, **options, "image": image, "command": command}
