"""Our engine as a user of the tests has it: images put into the store once, the launcher started, all ended after."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.rigs import roots
from tests.rigs.users import User

BUSYBOX = "busybox:test"
COMMAND = (sys.executable, "-m", "jupyter_containers")
_PREPARED, _PATIENCE = 2, 3.0  # monitors that wait for each network; seconds
_LOADED: set[tuple[Path, str]] = set()
_LAUNCHERS: dict[Path, int] = {}


def ours(user: User, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Our command in the user's terminal, whatever its exit code; with ``input`` piped into it, if any."""
    return user.run(*COMMAND, *words, check=False, **{"timeout": 60, **options})


def load(user: User, archive: Path) -> None:
    """Put the images of an archive into the user's store, once in a run."""
    if (user.store, archive.name) not in _LOADED:
        user.call(_load, archive)
        _LOADED.add((user.store, archive.name))


def add_busybox(user: User) -> str:
    """Put ``busybox:test`` into the user's store, once in a run; its reference."""
    if (user.store, BUSYBOX) not in _LOADED:
        user.call(_import, roots.busybox_tar())
        _LOADED.add((user.store, BUSYBOX))
    return BUSYBOX


def warm(user: User) -> None:
    """Have the launcher, its helpers and a spare monitor for each network run: they stay, and are no leak."""
    add_busybox(user)
    if not _is_launcher(_LAUNCHERS.get(user.store, 0)):
        _LAUNCHERS[user.store] = user.call(_run_true)


def _is_launcher(pid: int) -> bool:
    """Whether the launcher that was warmed still runs: it may have been ended by a test."""
    try:
        return b"kernel_runtime" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def tear_down(user: User) -> None:
    """End the launchers of all the user's stores, and remove what only they may remove."""
    for store in (path for path in user.base.iterdir() if (path / "images").exists()):
        user.with_store(store.name).call(_end, store)
    shutil.rmtree(user.base, ignore_errors=True)


def _load(archive: str) -> None:
    from jupyter_containers import from_env

    from_env().images.load(archive)


def _import(tar: str) -> None:
    from jupyter_containers import from_env

    repository, tag = BUSYBOX.split(":")
    from_env().images.import_image(tar, repository=repository, tag=tag)


def _run_true() -> int:
    """Once with each network; the launcher's process id."""
    from jupyter_containers import from_env

    engine = from_env()
    for network in ("default", "host", "none"):
        engine.containers.run(BUSYBOX, ["true"], remove=True, network=network)
    _settle()
    return int(engine.runtime.info()["pid"])


def settle(user: User) -> None:
    """Wait until as many monitors wait as the launcher keeps: each start takes one. None is ready for what was run."""
    user.call(_settle)


def _settle() -> None:
    from jupyter_containers import from_env

    engine, end = from_env(), time.monotonic() + _PATIENCE
    engine.runtime.rest()
    while any(count < _PREPARED for count in engine.runtime.info()["prepared"].values()) and time.monotonic() < end:
        time.sleep(0.02)


def _end(store: str) -> None:
    from jupyter_containers import from_env

    engine = from_env()
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    for name in ("layers", "containers"):
        if Path(store, name).exists():
            engine.runtime.delete(Path(store, name))
    engine.runtime.quit()
