"""Builds: ours beside ``docker build`` (its classic builder, which is what Debian's docker has) and ``buildah build``.

Twenty steps that do nothing, done and cached, and two stages that each sleep for a second and could do so side by side.
Ours runs in this process, as a notebook calls it; the peers by their command lines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import Row
from tests.rigs import dockerd, roots
from tests.rigs.engines import BUSYBOX

CACHED, STEPS, STAGES = "build, 20 cached steps", "build, RUN true × 20", "build, two stages that sleep 1 s"
_STEPS = "".join(f"RUN true {number}\n" for number in range(20))
_STAGES = "FROM {0} AS a\nRUN sleep 1\nFROM {0} AS b\nRUN sleep 1\nFROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n"
_LIMITS = {"50 ms": 0.05, "1.6 s": 1.6}

Build = Callable[[str, bool], None]  # a Dockerfile, and whether results of before may be used


def rows(folder: Path, docker: Path | str) -> list[Row]:
    """Each build by each builder.

    Args:
        folder: of this user's; the store of ``ours`` is in it. docker: the socket of a dockerd, or why there is none.
    """
    ours = _Ours()
    peers: dict[str, tuple[Build, str]] = {
        "docker": (_docker(docker, folder), "" if isinstance(docker, Path) else docker),
        "buildah": (_Buildah(folder), _why_no_buildah()),
    }
    table = [
        Row(CACHED, lambda: ours(_twenty(BUSYBOX), True), "build", budget={"docker, 20 cached steps": 1 / 5, "50 ms": 1.0}),
        Row(STEPS, lambda: ours(_twenty(BUSYBOX), False), "build",
            budget={"docker, RUN true × 20": 1 / 10, "buildah, RUN true × 20": 1 / 3}),
        Row(STAGES, lambda: ours(_STAGES.format(BUSYBOX), False), "build", budget={"1.6 s": 1.0}),
    ]  # fmt: skip
    for name, (build, why) in peers.items():
        table += [_peer(name, "20 cached steps", build, True, why), _peer(name, "RUN true × 20", build, False, why)]
    return table


def limits() -> list[Row]:
    """Budgets in seconds, as rows to compare with."""
    return [Row(name, group="build", seconds=[seconds]) for name, seconds in _LIMITS.items()]


def _twenty(base: str) -> str:
    return f"FROM {base}\n{_STEPS}"


def _peer(name: str, what: str, build: Build, cached: bool, why: str) -> Row:
    def run() -> float:
        begun = time.perf_counter()
        build(_twenty(BUSYBOX), cached)
        return time.perf_counter() - begun

    return Row(f"{name}, {what}", run, "build", every=1 if cached else 5, why_not=why)


class _Ours:
    """Our engine, in this process."""

    def __call__(self, text: str, cached: bool) -> None:
        from jupyter_containers import from_env
        from jupyter_containers.engine.builds import BuildOptions

        from_env().builds.build(BuildOptions(text=text, no_cache=not cached, tags=["bench"]))


def _docker(socket: Path | str, folder: Path) -> Build:
    """``docker build`` by the classic builder."""

    def build(text: str, cached: bool) -> None:
        context = folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(text)
        os.environ["DOCKER_BUILDKIT"] = "0"
        flags = () if cached else ("--no-cache",)
        assert isinstance(socket, Path)
        dockerd.docker(socket, "build", "-q", *flags, "-t", "bench", str(context))

    return build


class _Buildah:
    """``buildah build`` with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._filled = folder / "buildah", False

    def __call__(self, text: str, cached: bool) -> None:
        if not self._filled:
            self._folder.mkdir(exist_ok=True)
            source = f"docker-archive:{roots.archive(roots.busybox_tar(), BUSYBOX, 'docker')}"
            self._run("pull", "-q", source)
            self._filled = True
        (self._folder / "Dockerfile").write_text(text)
        flags = ("--layers",) if cached else ("--no-cache", "--layers")
        self._run("build", "-q", "--pull=never", "--network=none", *flags, "-t", "bench", str(self._folder))

    def _run(self, *words: str) -> None:
        root = ("--root", str(self._folder / "root"), "--runroot", str(self._folder / "run"))
        subprocess.run(["buildah", *root, *words], check=True, capture_output=True)


def _why_no_buildah() -> str:
    if os.geteuid() != 0:
        return "as root only"
    return "" if shutil.which("buildah") else "buildah is not installed"
