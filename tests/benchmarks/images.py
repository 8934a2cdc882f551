"""Loading and unpacking images: ours, ``docker load``, skopeo with umoci; a Debian and 20,000 small files.

Everything lies in memory where there is room: creating files right after removing as many costs ext4 seconds (it passes
over inodes that were just freed), and that would be the next row's bill. Peak memory is measured on one image and on one
eight times as large: it must not grow with them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import Row
from tests.benchmarks.peers import spawn
from tests.rigs import cache, roots

MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
_KINDS = (("Debian", "debian:test"), ("20,000 small files", "many:1"))
_OURS, _DOCKER, _OTHERS = "load", "docker load", "skopeo copy + umoci unpack"
_SIZES = (40 << 20, 320 << 20)


def fast_folder(otherwise: Path) -> Path:
    """Where images are loaded to."""
    disk = os.statvfs(MEMORY) if MEMORY.is_dir() else None
    return MEMORY if disk and disk.f_bavail * disk.f_frsize > _ROOM else otherwise


def archives() -> dict[str, Path]:
    """The docker-archives by name; made once, kept in the cache, readable by every user."""
    debian = roots.archive(roots.debian_tar(), "debian:bookworm", "docker")
    small = cache.kept("20000-files.docker.tar", lambda path: _write(path, _small_files(), "many:1"))
    return {"Debian": debian, "20,000 small files": small}


def rows(found: dict[str, Path], folder: Path, docker: Path | str) -> list[Row]:
    """Each image by each engine, and our peak memory.

    Args:
        found: what :func:`archives` made.
        folder: an empty one of this user's, where :func:`fast_folder` is.
        docker: the socket of a dockerd whose data lie there too, or why there is none.
    """
    table = []
    for kind, name in _KINDS:
        ours, theirs = f"{_OURS}, {kind}", f"{_DOCKER}, {kind}"
        table.append(Row(ours, _our_load(found[kind], name, folder), group=kind, budget={theirs: 1 / 1.5}))
        table.append(_docker_row(theirs, found[kind], name, kind, docker))
        table.append(Row(f"{_OTHERS}, {kind}", _other_load(found[kind], folder), group=kind))
    return [*table, *_memory(folder)]


def _our_load(archive: Path, name: str, folder: Path) -> Callable[[], float]:
    program = [sys.executable, "-m", "jupyter_containers"]
    environment = _environment(folder)

    def run(*words: str) -> None:
        subprocess.run([*program, *words], env=environment, check=True, capture_output=True)

    def load() -> float:
        run("images")  # starts the launcher
        start = time.perf_counter()
        run("load", "-q", "-i", str(archive))
        taken = time.perf_counter() - start
        run("rmi", name)
        return taken

    return load


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "JUPYTER_CONTAINERS_HOME": str(folder / "load")}


def _docker_row(title: str, archive: Path, name: str, kind: str, docker: Path | str) -> Row:
    if isinstance(docker, str):
        return Row(title, group=kind, why_not=docker)
    program = ["docker", "-H", f"unix://{docker}"]

    def load() -> float:
        start = time.perf_counter()
        spawn([*program, "load", "-q", "-i", str(archive)])
        taken = time.perf_counter() - start
        spawn([*program, "rmi", name])
        return taken

    return Row(title, load, group=kind)


def _other_load(archive: Path, folder: Path) -> Callable[[], float]:
    layout, bundle = folder / "layout", folder / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]

    def load() -> float:
        start = time.perf_counter()
        spawn(["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{archive}", f"oci:{layout}:it"])
        spawn(["umoci", "unpack", *rootless, "--image", f"{layout}:it", str(bundle)])
        taken = time.perf_counter() - start
        for path in (layout, bundle):
            shutil.rmtree(path)
        return taken

    return load


# --- peak memory ---


def _memory(folder: Path) -> list[Row]:
    small, large = (Row(_title(size), _peak(folder, size), group="memory", unit="MB") for size in _SIZES)
    large.budget = {small.name: 1.15}
    return [small, large]


def _title(size: int) -> str:
    return f"peak memory: load and save {size >> 20} MB"


def _peak(folder: Path, size: int) -> Callable[[], float]:
    """Megabytes of the largest process while an image of *size* bytes is loaded, unpacked and saved."""
    archive = folder / f"{size}.tar"

    def run() -> float:
        make = f"from tests.benchmarks.images import _write, _one_file; _write({str(archive)!r}, _one_file({size}), 'large:1')"
        try:
            subprocess.run([sys.executable, "-c", make], check=True)  # not in this process: memory would be its own
            done = subprocess.run(
                [sys.executable, "-c", _LOAD_AND_SAVE, str(archive)],
                env=_environment(folder),
                check=True,
                capture_output=True,
            )
        finally:
            archive.unlink()
        return float(done.stdout)

    return run


_LOAD_AND_SAVE = """
import resource, sys
from jupyter_containers import from_env
images = from_env().images
images.load(sys.argv[1])
for piece in images.save(["large:1"]):
    pass
images.remove("large:1")
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024)
"""


def end(folder: Path) -> None:
    """End the launcher of the store."""
    code = "from jupyter_containers import from_env; from_env().runtime.quit()"
    subprocess.run([sys.executable, "-c", code], env=_environment(folder), check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


# --- archives ---


def _small_files() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(200):
            entry = tarfile.TarInfo(f"d{number}")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
            for inner in range(100):
                _add(tar, f"d{number}/f{inner}", b"%d-%d\n" % (number, inner) * 50)
    return out.getvalue()


def _one_file(size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "large", os.urandom(1 << 20) * (size >> 20))
    return out.getvalue()


def _write(path: Path | str, layer: bytes, name: str) -> None:
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    row = {"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}
    with tarfile.open(path, "w") as tar:
        for member, data in (("config.json", config), ("layer.tar", layer), ("manifest.json", [row])):
            _add(tar, member, data if isinstance(data, bytes) else json.dumps(data).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
