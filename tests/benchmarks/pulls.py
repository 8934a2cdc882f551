"""Pulling from a registry on loopback: ours beside ``podman pull`` and ``skopeo copy`` + ``umoci unpack``.

Each run has an empty store of its own and ends with unpacked layers; making it and taking it away is not counted.
Images: Debian with Python (one layer of 170 MB), and one of 20,000 small files. As root only: podman and umoci would
otherwise do other work than ours.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import Row
from tests.rigs import cache, roots

OURS, PODMAN, SKOPEO = "jupyter-containers pull", "podman pull", "skopeo copy + umoci unpack"
IMAGES = ("debian", "files")
FILES = 20_000


def group(image: str) -> str:
    """The group of an image's rows."""
    return f"pull {image}"


def fill(host: str) -> None:
    """Put both images into the registry, by skopeo."""
    for image, tar in (("debian", roots.debian_tar()), ("files", files_tar())):
        source = f"docker-archive:{roots.archive(tar, f'{image}:1', 'docker')}"
        _run(
            "skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", source, f"docker://{host}/{image}:1"
        )


def files_tar() -> Path:
    """A root tar of 20,000 files of 100 bytes in 200 folders."""

    def make(path: Path) -> None:
        with tarfile.open(path, "w") as tar:
            for number in range(FILES):
                entry = tarfile.TarInfo(f"d{number % 200}/f{number}")
                entry.size, entry.mtime = 100, 1_700_000_000
                tar.addfile(entry, io.BytesIO(f"{number:0100}".encode()))

    return cache.kept(f"files-{FILES}.tar", make)


def rows(host: str, scratch: Path) -> list[Row]:
    """For each image the three programs; *host* is the registry, or why there is none."""
    why = host if " " in host else "" if os.geteuid() == 0 else "as root only"
    found = []
    for image in IMAGES:
        name = f"{host}/{image}:1"
        peers = {PODMAN: ("podman", _podman), SKOPEO: ("umoci", _skopeo)}
        for title, (program, pull) in peers.items():
            missing = why or ("" if shutil.which(program) else f"{program} is not installed")
            found.append(Row(f"{title}, {image}", _timed(pull, name, scratch), group(image), why_not=missing))
        budget = {f"{title}, {image}": 1.0 for title in peers}
        found.append(Row(f"{OURS}, {image}", _timed(_ours, name, scratch), group(image), budget=budget, why_not=why))
    return found


_NUMBERS = itertools.count()


def _timed(pull: Callable[[str, Path], None], name: str, scratch: Path) -> Callable[[], float]:
    """What pulls once into an empty folder, and says how long that alone took."""

    def once() -> float:
        folder = scratch / f"p{next(_NUMBERS)}"
        folder.mkdir()
        try:
            begun = time.perf_counter()
            pull(name, folder)
            return time.perf_counter() - begun
        finally:
            _tidy(folder)

    return once


def _ours(name: str, folder: Path) -> None:
    _run(Path(sys.executable).parent / "jupyter-containers", "pull", "-q", name, home=folder / "store")


def _podman(name: str, folder: Path) -> None:
    where: list[str | Path] = ["--root", folder / "r", "--runroot", folder / "u", "--storage-driver", "overlay"]
    quiet = ["--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    _run("podman", *where, *quiet, "pull", "-q", "--tls-verify=false", name)


def _skopeo(name: str, folder: Path) -> None:
    _run("skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{folder}/l:1")
    _run("umoci", "unpack", "--image", f"{folder}/l:1", folder / "b")


def _tidy(folder: Path) -> None:
    if (folder / "store").exists():
        quit_ = "from jupyter_containers import from_env; from_env().runtime.quit()"
        _run(sys.executable, "-c", quit_, home=folder / "store")
    subprocess.run(["umount", str(folder / "r" / "overlay")], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _run(*words: str | Path, home: Path | None = None) -> None:
    environment = {**os.environ, **({"JUPYTER_CONTAINERS_HOME": str(home)} if home else {})}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[0]} exited {done.returncode}: {done.stderr.strip()[-160:]}")
