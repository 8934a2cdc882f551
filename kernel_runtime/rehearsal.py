"""Does once for nothing what a start will do, in processes that wait for their order.

A forked process copies each page of memory that it first touches, and Python touches what it only reads (reference
counts): the first call of a function costs several times what the second does. Nothing here changes the process.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress

from kernel_runtime import capabilities, init, mounts, orders, programs, sandbox, spec, users
from kernel_runtime import syscalls as sc
from kernel_runtime.cgroups import Cgroup
from kernel_runtime.errors import RuntimeFault
from kernel_runtime.mounts import Root
from kernel_runtime.protocol import Channel
from kernel_runtime.spec import Mount
from kernel_runtime.stage import Stage

_NOWHERE = "/nonexistent/nb-containers"
_OWN = {"args": ["/"], "env": ["PATH=/bin"]}


def of_first_process(stage: Stage) -> None:
    """From hearing an order to ``execve``."""
    message = json.loads(_pass_on(json.dumps(_sample()).encode()))
    config = orders.config_of(message)
    programs.compile_for(config)
    stage.fits(config)
    sandbox.recipe(config, stage)
    with suppress(OSError, RuntimeFault):
        _mount_on(stage)
    with suppress(RuntimeFault):
        users.look_up("0")
    config.process.environ()
    capabilities.parse(capabilities.DEFAULT)
    sc.prctl(sc.PR_CAPBSET_READ, 0)
    capabilities.set_inheritable_and_ambient(sc.capget()[1], [], [])
    with suppress(OSError):
        os.setgroups(os.getgroups())
    os.setresgid(-1, -1, -1)
    os.setresuid(-1, -1, -1)
    _execute()


def of_ready_process() -> None:
    """From hearing an order to ``execve``, where the container is there already. Allowed by its filter."""
    message = json.loads(_pass_on(json.dumps({**_sample(), "own": _OWN}).encode()))
    spec.parse_process(message["own"], "").environ()
    init.find(_OWN["args"][0], init.DEFAULT_PATH)
    _execute()


def _execute() -> None:
    with suppress(OSError):
        os.execve(_NOWHERE, ["true"], {"PATH": init.DEFAULT_PATH})


def of_monitor(group: Cgroup | None) -> None:
    """From the end of the container to telling it."""
    orders.Request.parse(_sample())
    if group:
        group.stats(only=("cpu_seconds", "memory_peak"))
        group.events()
    _pass_on(b"{}")


def _sample() -> dict[str, object]:
    """A ``start`` message with a config.json as most have it."""
    return {"op": "start", "bundle": _NOWHERE, "id": "", "config": programs.sample_config()}


def _pass_on(line: bytes) -> bytes:
    """Through a socket with a descriptor, as orders come."""
    ours, theirs = (Channel(end) for end in socket.socketpair())
    with ours, theirs:
        ours.send_line(line, (0,))
        return theirs.receive_line() or b""


def _mount_on(stage: Stage) -> None:
    """An overlay and a file bound into it, on the stage."""
    for name in ("lower", "upper", "work"):
        os.mkdir(f"{stage.path}/{name}")
    options = tuple(f"{key}={stage.path}/{name}" for key, name in
                    (("lowerdir+", "lower"), ("upperdir", "upper"), ("workdir", "work")))  # fmt: skip
    overlay = Mount("/", "overlay", "overlay", options)
    mounts.mount_root(stage.root, overlay, stage.in_user_namespace)
    root = Root(stage.root, stage.in_user_namespace)
    try:
        mounts.mount_one(root, Mount("/file", "bind", stage.write("", 0o644), ("bind", "rprivate")))
        mounts.mask(root, ())
        mounts.make_readonly(root, ())
    finally:
        os.close(root.fd)
        sc.umount2(stage.root, sc.MNT_DETACH)
