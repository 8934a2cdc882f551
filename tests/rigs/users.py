"""The three kinds of user that everything is tried as: root, one with subordinate ids, one without.

A :class:`User` runs commands, Python source and the test's own functions in processes of that user, with a home, a
runtime folder, a temporary folder and a store of its own. As root all three are to be had (two accounts are made on
demand); an ordinary user is just the one kind that it is.
"""

from __future__ import annotations

import inspect
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.rigs.abilities import must, must_work, need_program

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = ("root", "subids", "nosubids")
RUNGS = {"root": "root", "subids": "rootless", "nosubids": "rootless-single"}
_KEPT = ("PATH", "LANG", "JC_MUST_WORK", "PYTHONDONTWRITEBYTECODE", "NB_TESTS_INIT")
_CALL = "from tests.rigs.users import _answer; _answer()"


class CallFailed(AssertionError):
    """A function called as another user raised; the text is its traceback."""


@dataclass(frozen=True)
class User:
    """Somebody who runs containers.

    Attributes:
        kind: ``root``, ``subids`` or ``nosubids``.
        uid, gid: the account.
        base: its folder in this run, with ``home``, ``run``, ``tmp`` and ``store`` in it.
        prefix: words before each command (a machine that forbids something).
        extra: environment variables of each command.
    """

    kind: str
    uid: int
    gid: int
    base: Path
    prefix: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """``$HOME``."""
        return self.base / "home"

    @property
    def store(self) -> Path:
        """``$JUPYTER_CONTAINERS_HOME``."""
        return Path(self.extra.get("JUPYTER_CONTAINERS_HOME", self.base / "store"))

    @property
    def tmp(self) -> Path:
        """``$TMPDIR``; writable by the user."""
        return self.base / "tmp"

    @property
    def rung(self) -> str:
        """The rung of isolation that this kind of user gets on a machine that allows everything."""
        return RUNGS[self.kind]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of its commands: nothing else of the suite's reaches them."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        folders = {"HOME": self.home, "XDG_RUNTIME_DIR": self.base / "run", "TMPDIR": self.tmp}
        return {
            **kept,
            **{name: str(path) for name, path in folders.items()},
            "JUPYTER_CONTAINERS_HOME": str(self.base / "store"),
            "PYTHONPATH": str(CHECKOUT),
            "USER": pwd.getpwuid(self.uid).pw_name,
            **self.extra,
        }

    def with_store(self, name: str) -> User:
        """The same user with another store, beside the first."""
        return replace(self, extra={**self.extra, "JUPYTER_CONTAINERS_HOME": str(self.base / name)})

    def popen(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
        """``subprocess.Popen`` as this user, in its home, with empty stdin unless *options* say otherwise."""
        who: dict[str, Any] = {} if self.uid == os.geteuid() else _identity(self.uid, self.gid)
        options = {"stdin": subprocess.DEVNULL, "cwd": self.home, "env": self.environment, **who, **options}
        return subprocess.Popen([*self.prefix, *command], **options)

    def run(
        self, *command: str | os.PathLike[str], check: bool = True, timeout: float = 120, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, output captured as text.

        Raises:
            CallFailed: with *check*, it exited other than 0.
            subprocess.TimeoutExpired: it was killed after *timeout* seconds.
        """
        data = options.pop("input", None)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        streams |= {"stdin": subprocess.PIPE} if data is not None else {}
        with self.popen(command, **{**streams, **options}) as process:
            try:
                out, err = process.communicate(data, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if check and process.returncode:
            raise CallFailed(f"{[str(word) for word in command]} exited {process.returncode}:\n{out}\n{err}")
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)

    def python(self, source: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Python source (``-c``) with the suite's own interpreter and packages."""
        return self.run(sys.executable, "-c", source, *arguments, **options)

    def call(self, function: Callable[..., Any], *arguments: Any, timeout: float = 120) -> Any:
        """Call a top-level function of a test module in a process of this user.

        Arguments and result are JSON data (paths become text).

        Raises:
            CallFailed: it raised; its traceback is the text.
        """
        message = [inspect.getfile(function), function.__qualname__, list(arguments)]
        data = json.dumps(message, default=str)
        reader, writer = os.pipe()
        with os.fdopen(reader, encoding="utf-8") as answers:
            try:
                options = {"pass_fds": (writer,), "input": data, "timeout": timeout}
                done = self.python(f"ANSWERS = {writer}; {_CALL}", check=False, **options)
            finally:
                os.close(writer)
            text = answers.read()
        if not text or done.returncode:
            raise CallFailed(f"{function.__qualname__} as {self.kind}:\n{done.stdout}\n{done.stderr}")
        return json.loads(text)


def _answer() -> None:
    """The called process's part of :meth:`User.call`."""
    import importlib.util

    import __main__

    path, name, arguments = json.load(sys.stdin)
    spec = importlib.util.spec_from_file_location("called_as_user", path)
    assert spec and spec.loader, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    result = getattr(module, name)(*arguments)
    with os.fdopen(__main__.ANSWERS, "w", encoding="utf-8") as file:
        json.dump(result, file, default=str)


def _identity(uid: int, gid: int) -> dict[str, Any]:
    return {"user": uid, "group": gid, "extra_groups": [], "umask": 0o022}


def own_kind() -> str:
    """The kind of user that runs the suite."""
    if os.geteuid() == 0:
        return "root"
    name = pwd.getpwuid(os.geteuid()).pw_name
    return "subids" if _has_ids(name) and shutil.which("newuidmap") else "nosubids"


def fitting_kinds() -> tuple[str, ...]:
    """The kinds that can be tried in this run."""
    return KINDS if os.geteuid() == 0 else (own_kind(),)


def make(kind: str, base: Path) -> User:
    """The user of *kind* with its folders in *base* made; fails or skips where it can't be had."""
    fits = kind in fitting_kinds()
    must(fits or not must_work(), f"a {kind} user: run the tests as root")
    if kind == own_kind() or not fits:
        must(fits, f"a {kind} user: run the tests as root")
        uid, gid = os.geteuid(), os.getegid()
    else:
        uid, gid = _account(kind)
    user = User(kind, uid, gid, base)
    for folder in (base, user.home, base / "run", user.tmp, user.store):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(folder, uid, gid)
    return user


def _account(kind: str) -> tuple[int, int]:
    """The account ``jc-KIND``, made where missing; its uid and gid."""
    name = f"jc-{kind}"
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        need_program("useradd", "passwd")
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
        found = pwd.getpwnam(name)
    if kind == "subids":
        need_program("newuidmap", "uidmap")
        _give_ids(name)
    else:
        _take_ids(name)
    return found.pw_uid, found.pw_gid


def _has_ids(name: str) -> bool:
    return all(_lines_of(file, name) for file in ("/etc/subuid", "/etc/subgid"))


def _lines_of(file: str, name: str) -> list[str]:
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.split(":")[0] == name]


def _give_ids(name: str) -> None:
    for file in ("/etc/subuid", "/etc/subgid"):
        if not _lines_of(file, name):
            path = Path(file)
            lines = path.read_text().splitlines() if path.exists() else []
            ends = [int(start) + int(count) for _, start, count in (line.split(":") for line in lines if line)]
            with path.open("a") as out:
                out.write(f"{name}:{max([100_000, *ends])}:65536\n")


def _take_ids(name: str) -> None:
    """``useradd`` gives every new account subordinate ids."""
    for file in ("/etc/subuid", "/etc/subgid"):
        if _lines_of(file, name):
            lines = [line for line in Path(file).read_text().splitlines() if line.split(":")[0] != name]
            Path(file).write_text("".join(f"{line}\n" for line in lines))


_FORBID = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"'


def without_user_namespaces(user: User) -> User:
    """*user* on a machine that forbids user namespaces: its programs live in one where no further one can be made."""
    must(user.kind != "root", "an ordinary user: root needs no user namespace")
    wall = ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", _FORBID, "sh")
    probe = user.run(*wall, "sh", "-c", "! unshare --user true 2>/dev/null", check=False)
    must(probe.returncode == 0, f"a namespace that forbids user namespaces: {probe.stderr.strip()}")
    return replace(user, prefix=(*wall, *user.prefix))
