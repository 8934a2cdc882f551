"""What a run may leave behind: processes, mounts, namespaces, interfaces, cgroups, folders, descriptors.

What is there before and after is counted by kind, never by number: the launcher keeps a spare process ready, and that
is another one after each start. Only what lives below the test run's own init (:mod:`tests.rigs.reaper`) is looked at,
so other work on the machine does not disturb.
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
_STILL_SECONDS = 0.25
_CGROUPS = Path("/sys/fs/cgroup")
_OURS = "jupyter-containers"
_DEEPEST = 6
_LONGEST = 160
_HEX_TAIL = r"(?<=^jcv)[0-9a-f]+$"
RIG_PREFIX = "nbt-"

_SEEN: set[str] = set()  # names of the runtime folders of launchers below our init: a cgroup's name begins with it

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
    _SEEN.update(filter(None, map(_runtime, pids)))
    found.update(f"cgroup {_kind(str(path))}" for path in _cgroups() if path.name.partition("-")[0] in _SEEN)
    found.update(f"interface {re.sub(_HEX_TAIL, '', name)}" for name in os.listdir("/sys/class/net"))
    for folder in folders:
        found.update(f"file {path}" for path in _entries(folder))
    return found


def settled(folders: Iterable[Path] = (), seconds: float = _WAIT_SECONDS) -> Snapshot:
    """A snapshot of a moment when nothing changes: the launcher has made its spare process."""
    folders, end = list(folders), time.monotonic() + seconds
    last = snapshot(folders)
    while time.monotonic() < end:
        time.sleep(_STILL_SECONDS)
        now = snapshot(folders)
        if now == last:
            break
        last = now
    return last


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
    """The process itself, and where it is Python of ours its descriptors (those of namespaces too)."""
    proc = Path(f"/proc/{pid}")
    try:
        words = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        descriptors = list((proc / "fd").iterdir())
    except OSError:
        return  # it has just ended, or is another user's
    yield f"process {words[:_LONGEST]}"
    for descriptor in descriptors if pid == os.getpid() or "kernel_runtime" in words else ():
        with contextlib.suppress(OSError):  # the one that read this folder is closed again
            yield f"descriptor {_kind(str(descriptor.readlink()))} of {words[:_LONGEST]}"


def _runtime(pid: int) -> str:
    """The name of the runtime folder of a launcher; empty for other processes."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    found = next((word for word in words if word.startswith(b"--runtime=")), b"")
    return os.path.basename(found.decode(errors="replace"))


def _kind(target: str) -> str:
    """Without inode numbers and ids: which one it is may change, how many may not."""
    return re.sub(r":\[\d+\]$|\b[0-9a-f]{6,64}\b|\d{2,}", "*", target)


def _mounts(pids: Iterable[int]) -> Iterator[str]:
    """Mounts on our folders in every mount namespace of these processes."""
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
            if _OURS in point or RIG_PREFIX in point:
                yield f"mount of {kind} on {point}"


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
