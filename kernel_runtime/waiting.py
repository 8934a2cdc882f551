"""Where containers lie that are made ready before anybody has asked for them: folders in ``waiting/`` of the store.

A folder's name says all that others must know: ``<kind>-<monitor's pid>-<its start time>-<id>``; until it is finished,
its kind is ``.new``. Whoever wants a container moves its folder to ``containers/<id>``: a rename succeeds once, so one
caller alone has it, and the folder is its own from then on.

Not here: what is in them (:mod:`ready`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from kernel_runtime import state

_NEW = ".new"
_BEGUN = "begun"


def folder(store: str) -> str:
    """The folder of all that wait."""
    return os.path.join(store, "waiting")


def place(store: str, container_id: str, kind: str = _NEW) -> str:
    """The folder of a container that this process makes ready; of no *kind* before it is finished."""
    return os.path.join(folder(store), f"{kind}-{state.group_id()}-{container_id}")


def claim(store: str, kind: str) -> str:
    """Take one of a kind; its id, or ``""`` where none waits. Its folder is ``containers/<id>`` now."""
    for name in _names(store):
        if name.startswith(f"{kind}-"):
            container_id = name.rpartition("-")[2]
            try:
                os.rename(os.path.join(folder(store), name), os.path.join(store, "containers", container_id))
            except OSError:
                continue  # another was faster
            return container_id
    return ""


def mark(bundle: str) -> int:
    """A descriptor by which the container's first process says that it begins, wherever its root is: :func:`begin`."""
    return os.open(os.path.join(bundle, _BEGUN), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def begin(marked: int) -> None:
    """The program is about to run. Whatever happens now, no other process must run it once more."""
    os.ftruncate(marked, 1)


def has_begun(bundle: str) -> bool:
    """Whether the program of a container that was ready may have run."""
    try:
        return os.stat(os.path.join(bundle, _BEGUN)).st_size > 0
    except FileNotFoundError:
        return False


def all_of(store: str) -> Iterator[tuple[str, str, str]]:
    """Each folder, the container's id, and its monitor as :func:`state.group_id` names it."""
    for name in _names(store):
        *_, pid, started, container_id = f"---{name}".split("-")  # anything else is nobody's
        yield os.path.join(folder(store), name), container_id, f"{pid}-{started}"


def _names(store: str) -> list[str]:
    try:
        return os.listdir(folder(store))
    except FileNotFoundError:
        return []
