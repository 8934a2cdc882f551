"""Where long-made things are kept outside the checkout, readable by every user that the tests run as."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def is_open_to_all(path: Path) -> bool:
    """Whether every user may enter *path*."""
    return all(not p.exists() or p.stat().st_mode & 0o001 for p in (path, *path.parents))


def folder() -> Path:
    """``$XDG_CACHE_HOME/nb-containers``; for root, whose home others may not enter, rather in ``/var/cache``."""
    given = os.environ.get("XDG_CACHE_HOME")
    path = Path(given) if given else Path.home() / ".cache"
    if os.geteuid() == 0 and not is_open_to_all(path):
        path = Path("/var/cache")
    path = path / "nb-containers"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The cached file or folder *name*; where missing, *make* is given the path to make, and it is then renamed.

    *name* must contain whatever the content depends on. Two processes at once make it once.
    """
    final = folder() / name
    if final.exists():
        return final
    with (folder() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder()))
            try:
                scratch.chmod(0o755)
                make(scratch / name)
                (scratch / name).rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return final
