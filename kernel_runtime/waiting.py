"""Where containers lie that are made ready before anybody has asked for them: ``waiting/<kind>-<id>`` in the store.

Whoever wants one moves its folder to ``containers/<id>``: a rename succeeds once, so one caller alone has it, and the
folder is its own from then on. Until it is finished, its folder is ``.new-<pid>-<start>-<id>``, after its monitor.

Not here: what is in them (:mod:`ready`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from kernel_runtime import state

_NEW = ".new-"


def folder(store: str) -> str:
    """The folder of all that wait."""
    return os.path.join(store, "waiting")


def begin(store: str, container_id: str) -> str:
    """The folder of a container that this process is about to make ready, not there yet."""
    return os.path.join(folder(store), f"{_NEW}{state.group_id()}-{container_id}")


def place(store: str, kind: str, container_id: str) -> str:
    """The folder of one that is ready."""
    return os.path.join(folder(store), f"{kind}-{container_id}")


def claim(store: str, kind: str) -> str:
    """Take one of a kind; its id, or ``""`` where none waits. Its folder is ``containers/<id>`` now."""
    for name in _names(store):
        if name.startswith(f"{kind}-"):
            container_id = name[len(kind) + 1 :]
            try:
                os.rename(os.path.join(folder(store), name), os.path.join(store, "containers", container_id))
            except OSError:
                continue  # another was faster
            return container_id
    return ""


def ids(store: str) -> list[str]:
    """Those of all that are there, finished or not."""
    return [name.rpartition("-")[2] for name in _names(store)]


def all_of(store: str) -> Iterator[tuple[str, str]]:
    """Every folder with the process that made it: ``<pid>-<start>``, ``""`` where nobody knows."""
    for name in _names(store):
        path = os.path.join(folder(store), name)
        if name.startswith(_NEW):
            yield path, name[len(_NEW) :].rpartition("-")[0]
        else:
            found = state.read(path) or {}
            yield path, f"{found.get('monitorPid', '')}-{found.get('monitorStart', '')}"


def _names(store: str) -> list[str]:
    try:
        return os.listdir(folder(store))
    except FileNotFoundError:
        return []
