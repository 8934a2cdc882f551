"""The first process of a container, from its fork to the ``execve`` of the container's program.

It is forked before it is known which container it will be, in one of two forms. A *prepared* one has its namespaces
and waits for whatever is ordered. One that is made *ready* belongs to a kind (:mod:`kinds`): it stands in its finished
root, is who it shall be and under its seccomp filter, and is told only the program and a few texts.

Not here: how it is waited for, and who tells the caller (:mod:`prepared`, :mod:`ready`, :mod:`monitor`).
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from typing import Any

from kernel_runtime import children, init, orders, reaper, rehearsal, sandbox, spec, users, waiting
from kernel_runtime import syscalls as sc
from kernel_runtime.children import Child
from kernel_runtime.monitor import Machine
from kernel_runtime.protocol import Channel, Message
from kernel_runtime.stage import Stage, write_all


def prepare(
    machine: Machine, network: str, netns_fd: int, procs_files: tuple[str, ...], door: socket.socket | None
) -> Child:
    """Fork what will be a container's first process, before it is known which: cgroup joined, namespaces made.

    It takes its order at *door*, or from this process. From here on every fork of this process lands in the same pid
    namespace.
    """
    sc.unshare(sc.CLONE_NEWPID)

    def body(monitor: Channel) -> None:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        stage = sandbox.prepare(network, netns_fd, machine.in_user_namespace, machine.stage, procs_files)
        rehearsal.of_first_process(stage)
        with open("/proc/self/ns/mnt", "rb") as mounts:
            monitor.send({"ready": True}, (mounts.fileno(),))
        order = orders.take(monitor, door, machine.code)
        if order:
            message, (_, *stdio) = order
            _become_container(machine, procs_files, stage, monitor, message, stdio)

    return children.fork((-1, -1, -1), body)


def make_ready(
    machine: Machine, config: spec.Spec, bundle: str, netns_fd: int, procs_files: tuple[str, ...], door: socket.socket
) -> Child:
    """Fork the first process of a container whose *config* lacks only what is its own; it takes its order at *door*.

    What remains to be done is allowed by Docker's default filter, and by having none.
    """
    sc.unshare(sc.CLONE_NEWPID)

    def body(monitor: Channel) -> None:
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        stage = sandbox.prepare(config.network, netns_fd, machine.in_user_namespace, machine.stage, procs_files)
        context = sandbox.Context(config, bundle, machine.in_user_namespace, procs_files, monitor, stage, texts={})
        mark = waiting.mark(bundle)
        identity = _finish(context, machine.rung)
        if order := orders.take(monitor, door, machine.code):
            message, (_, *stdio) = order
            children.take_streams(_streams(monitor, message, stdio))
            process = _told(config.process, context.texts or {}, message["own"])
            waiting.begin(mark)
            init.run(process, identity, init.Final(None, monitor.fileno()))

    return children.fork((-1, -1, -1), body)


def _finish(context: sandbox.Context, rung: str) -> users.Identity:
    """Do everything but execute a program, and tell the monitor; who this process is then."""
    process, monitor = context.spec.process, context.monitor
    assert monitor is not None
    with open("/proc/self/ns/mnt", "rb") as mounts:  # opened now: the host's /proc will be out of reach
        os.setsid()
        sandbox.furnish(context)
        final = children.final(context.spec, rung, (), monitor)
        identity = init.become(process, final)
        init.confine(process, final)
        rehearsal.of_ready_process()
        monitor.send({"ready": True}, (mounts.fileno(),))
    return identity


def _told(process: spec.Process, texts: dict[str, int], own: Any) -> spec.Process:
    """The program with the container's own words; its own texts are written where they belong."""
    for destination, fd in texts.items():
        write_all(fd, own["texts"][destination])
    told = spec.parse_process({"args": own["args"], "env": own["env"]}, "order: own")
    return replace(process, args=told.args, env=told.env)


def _become_container(
    machine: Machine, procs_files: tuple[str, ...], stage: Stage, monitor: Channel, message: Message, stdio: list[int]
) -> None:
    children.take_streams(_streams(monitor, message, stdio))
    config = orders.config_of(message)
    if not config.process.terminal:
        os.setsid()
    context = sandbox.Context(config, message["bundle"], machine.in_user_namespace, procs_files, monitor, stage)
    sandbox.furnish(context)
    if message.get("explain"):
        monitor.send({"steps": context.timings})
    rlimits: list[Any] = []
    if config.resources != machine.limits:
        limits = monitor.receive()  # it has set the cgroup's meanwhile; here is what it could not set there
        if limits is None:
            return
        rlimits = limits["rlimits"]
    if config.wants_init and reaper.fork_payload(monitor.fileno()):
        return
    init.execute(config.process, children.final(config, machine.rung, rlimits, monitor))


def _streams(monitor: Channel, message: Message, stdio: list[int]) -> tuple[int, ...]:
    """The caller's own descriptors, or what the monitor puts between; nothing where a terminal comes later."""
    if message.get("terminal"):
        return (-1, -1, -1)
    if not message.get("log"):
        return tuple(stdio) or (-1, -1, -1)
    streams = monitor.receive()
    if streams is None:
        os._exit(0)
    fds = iter(monitor.take_fds())
    return tuple(next(fds) if there else -1 for there in streams["streams"])
