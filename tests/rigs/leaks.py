"""What a run may leave behind: processes, mounts, namespaces, interfaces, cgroups, folders, descriptors.

A :func:`snapshot` before and one after are compared with a bounded wait. Only what lives below the test run's own init
(:mod:`tests.rigs.reaper`) is looked at, so other work on the machine does not disturb.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.rigs import reaper

_WAIT_SECONDS = 8.0
_CGROUPS = Path("/sys/fs/cgroup")
_OURS = "jupyter-containers"
_DEEPEST = 6

Snapshot = Counter[str]


def snapshot(folders: Iterable[Path] = ()) -> Snapshot:
    """Everything that could be left behind, one line each.

    Args:
        folders: whose entries are noted too (stores, runtime and temporary folders).
    """
    pids = [os.getpid(), *(pid for pid in reaper.descendants(reaper.init_pid()) if pid != os.getpid())]
    found: Snapshot = Counter()
    for pid in pids:
        found.update(_process(pid))
    found.update(_mounts(pids))
    found.update(f"cgroup {path}" for path in _cgroups())
    found.update(f"interface {name}" for name in os.listdir("/sys/class/net"))
    for folder in (*folders, Path(f"/tmp/{_OURS}-{os.getuid()}")):
        found.update(f"file {path}" for path in _entries(folder))
    return found


def left_behind(before: Snapshot, folders: Iterable[Path] = (), seconds: float = _WAIT_SECONDS) -> list[str]:
    """What is there now and was not in *before*, after waiting for it to go."""
    folders = list(folders)
    end = time.monotonic() + seconds
    while True:
        more = snapshot(folders) - before
        if not more or time.monotonic() > end:
            return sorted(more.elements())
        time.sleep(0.05)


def _process(pid: int) -> Iterator[str]:
    """The process itself, the network namespace that it keeps, its descriptors by kind."""
    proc = Path(f"/proc/{pid}")
    try:
        words = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        yield f"network namespace {(proc / 'ns/net').readlink()} of {pid}"
        descriptors = list((proc / "fd").iterdir())
    except OSError:
        return  # it has just ended, or is another user's
    yield f"process {pid} {words[:150]}"
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # the one that read this folder is closed again
            yield f"descriptor of {pid}: {_kind(str(descriptor.readlink()))}"


def _kind(target: str) -> str:
    """Sockets and pipes without their numbers: which one it is may change, how many may not."""
    return re.sub(r"^(socket|pipe|anon_inode):.*", r"\1", target)


def _mounts(pids: Iterable[int]) -> Iterator[str]:
    seen = set()
    for pid in pids:
        try:
            namespace = str(Path(f"/proc/{pid}/ns/mnt").readlink())
            if namespace in seen:
                continue
            lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines()
        except OSError:
            continue
        seen.add(namespace)
        for line in lines:
            point, kind = line.split()[4], line.rpartition(" - ")[2].split()[0]
            yield f"mount of {kind} on {point} in {namespace}"


def _cgroups() -> Iterator[Path]:
    """Every cgroup of ours and below; hierarchies of version 1 and 2."""
    for top, directories, _ in os.walk(_CGROUPS):
        inside = _OURS in top
        if not inside and len(Path(top).relative_to(_CGROUPS).parts) > _DEEPEST:
            directories.clear()
        for name in directories:
            if inside or name.startswith(_OURS):
                yield Path(top, name)


def _entries(folder: Path) -> Iterator[Path]:
    """Entries of *folder*, two levels deep: a store's ``containers/<id>``, a runtime folder's sockets."""
    for top, directories, files in os.walk(folder):
        deep = len(Path(top).relative_to(folder).parts)
        for name in (*directories, *files):
            if not name.endswith(".lock"):
                yield Path(top, name)
        if deep >= 2:
            directories.clear()
