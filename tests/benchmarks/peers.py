"""The peers: what else starts a process in an isolated root, each as its own users would start it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.measure import Row

FLOOR = "unshare -Urpfmnui chroot ROOT true"
BWRAP = "bwrap --unshare-all … true"
RUNC = "runc run"
DOCKER = "docker run --rm"
MANY = 200


def spawn(command: Sequence[str]) -> str:
    """Run it with pipes, as a caller that wants the output does; its stdout.

    Raises:
        RuntimeError: it failed.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} exited {process.returncode}: {(err or out).strip()[-120:]}")
    return out


def at_once(run: Callable[[], object], count: int = MANY, threads: int = 32) -> None:
    """*count* runs, as many at a time as there are *threads*; every one must succeed."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run) for _ in range(count)]:
            done.result()


def starts(root: Path, scratch: Path, docker: Path | str) -> list[Row]:
    """One start of ``true`` by each peer.

    Args:
        root: an unpacked root file system.
        scratch: an empty folder, this user's own.
        docker: the socket of a dockerd that has ``busybox:test``, or why there is none.
    """
    return [
        _row(FLOOR, "unshare", floor_command(root)),
        _row(BWRAP, "bwrap", bwrap_command(root)),
        _runc(root, scratch),
        _docker(docker),
    ]


def many(root: Path, docker: Path | str) -> list[Row]:
    """The same, 200 at once."""
    floor, docker_row = _row(f"{MANY} × {FLOOR}", "unshare", floor_command(root)), _docker(docker)
    docker_row.name = f"{MANY} × {DOCKER}"
    rows = [floor, docker_row]
    for row in rows:
        row.group, row.run = "many", _times(row.run)
    docker_row.every = 100
    return rows


def _times(run: Callable[[], object]) -> Callable[[], object]:
    return lambda: at_once(run)


def floor_command(root: Path) -> list[str]:
    """All namespaces by util-linux and a plain chroot: no program does less."""
    return ["unshare", "-Urpfmnui", "chroot", str(root), "/bin/true"]


def bwrap_command(root: Path) -> list[str]:
    """Bubblewrap with a /proc and a /dev."""
    return ["bwrap", "--unshare-all", "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]


def _row(name: str, program: str, command: list[str]) -> Row:
    missing = "" if shutil.which(program) else f"{program} is not installed"
    return Row(name, lambda: spawn(command), why_not=missing)


def _runc(root: Path, scratch: Path) -> Row:
    if not shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin"):
        return Row(RUNC, why_not="runc is not installed")
    bundle, state = scratch / "runc", scratch / "runc-state"
    bundle.mkdir(exist_ok=True)
    spec = ["runc", "spec", *([] if os.geteuid() == 0 else ["--rootless"])]
    (bundle / "config.json").unlink(missing_ok=True)
    subprocess.run(spec, cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(root), "readonly": True}
    config["process"].update(terminal=False, args=["/bin/true"])
    (bundle / "config.json").write_text(json.dumps(config))
    numbers = itertools.count()
    prefix = ["runc", "--root", str(state), "run", "--bundle", str(bundle)]
    return Row(RUNC, lambda: spawn([*prefix, f"bench-{next(numbers)}"]), every=2)


def _docker(docker: Path | str) -> Row:
    if isinstance(docker, str):
        return Row(DOCKER, why_not=docker)
    command = ["docker", "-H", f"unix://{docker}", "run", "--rm", "busybox:test", "/bin/true"]
    return Row(DOCKER, lambda: spawn(command), every=10)
