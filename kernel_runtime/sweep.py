"""What is done when a monitor itself was killed: nothing of its container may stay.

The launcher does it when it sees a monitor die, and for the whole store when it starts; so does ``sweep`` on the
command line.
"""

from __future__ import annotations

import os
import select
import signal
import time

from kernel_runtime import cgroups, state, trees, waiting
from kernel_runtime.cgroups import Hierarchy
from kernel_runtime.errors import SetupError
from kernel_runtime.syscalls import pidfd_send_signal

_MOST_SECONDS = 10.0


def sweep(store: str, runtime: str, hierarchy: Hierarchy) -> list[str]:
    """Recover every container whose monitor is gone, and cgroups and sockets that no container owns; their ids."""
    sockets = [name for name in os.listdir(runtime) if name.endswith(".sock") and name != "launcher.sock"]
    sweep_waiting(store, runtime)
    folder = os.path.join(store, "containers")
    recovered = []
    alive = {name for _, name, _ in waiting.all_of(store)}  # before containers/: what is taken meanwhile moves there
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.startswith(trees.GONE):
            trees.remove(os.path.join(folder, name))
            continue
        found = state.read(os.path.join(folder, name))
        if found is None or found.get("status") == "stopped":
            continue
        if state.is_alive(found.get("monitorPid", 0), found.get("monitorStart", 0)):
            alive.add(name)
            continue
        recover(os.path.join(folder, name), runtime)
        recovered.append(name)
    hierarchy.sweep(state.LivingMonitors())
    owned = {os.path.basename(state.monitor_socket(runtime, name)) for name in alive}
    for name in set(sockets) - owned:
        state.remove(os.path.join(runtime, name))
    return recovered


def sweep_waiting(store: str, runtime: str) -> None:
    """Remove what killed monitors had made ready, or had begun to. Their first processes have died with them."""
    monitors = state.LivingMonitors()
    for path, container_id, monitor in waiting.all_of(store):
        if monitor not in monitors:
            trees.remove(path if trees.GONE in path else trees.put_aside(path))
            state.remove(state.monitor_socket(runtime, container_id))


def recover(bundle: str, runtime: str, remove: bool = False) -> None:
    """End what is left of a container whose monitor was killed, and record that; an ``--rm`` one is removed."""
    found = state.read(bundle)
    if found is None and remove:
        trees.remove(bundle)
    if found is None or found.get("status") == "stopped":
        return
    try:
        cgroups.discard(found.get("cgroupFiles", ()))  # first: a paused process dies only when its group is thawed
    except SetupError:
        pass  # something in it can't die; the sweep of all groups will try again
    kill(found.get("pid", 0), found.get("pidStart", 0))
    state.remove(state.monitor_socket(runtime, os.path.basename(bundle)))
    if found.get("remove"):
        trees.remove(bundle)
        return
    found.update(status="stopped", exitCode=137, reason="monitor killed", finishedAt=time.time(), oomKilled=False)
    state.write(bundle, found)


def kill(pid: int, started: int) -> None:
    """SIGKILL the very process that had this pid and start time, and wait until it is gone."""
    if not pid or not started:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if state.start_time(pid) == started:
            pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], _MOST_SECONDS)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
