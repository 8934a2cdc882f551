"""How the launcher becomes a background process in the namespaces of its rung.

It leaves its caller (two forks), enters the rung, and executes itself again from a read-only mount of the Python
program: through ``/proc/PID/exe`` a container could otherwise overwrite it (CVE-2019-5736).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys

from kernel_runtime import probe, state
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import RuntimeFault
from kernel_runtime.rungs import refuse_without


def main(options: dict[str, str]) -> int:
    """Serve ``--store`` with sockets in ``--runtime``; prints one line of JSON when ready, or the fault."""
    if options.get("stage") == "serve":
        return _serve(options)
    if os.fork():
        os._exit(0)
    os.setsid()
    try:
        rung = probe.Rung(options["rung"]) if options.get("rung") else probe.choose(options["store"])
        refuse_without(options.get("minimum", ""), rung)
        probe.enter(rung)
        program = _protect_program()
    except RuntimeFault as fault:
        _say({"fault": fault.to_dict()})
        return 1
    words = [f"--{name}={value}" for name, value in options.items() if name not in ("stage", "rung")]
    start = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    os.execv(program, [program, "-I", "-S", start, "launcher", "--stage=serve", f"--rung={rung}", *words])
    return 1


def _protect_program() -> str:
    """Bind the running program read-only on itself in this mount namespace; its path."""
    program = os.path.realpath("/proc/self/exe")
    try:
        sc.mount(program, program, None, sc.MS_BIND)
        sc.mount_setattr(sc.AT_FDCWD, program, 0, sc.MOUNT_ATTR_RDONLY)
    except OSError as error:
        cause = error.strerror or str(error)
        raise RuntimeFault("protect", program, cause, "A read-only bind needs Linux 5.12.", error.errno or 0) from error
    return program


def _serve(options: dict[str, str]) -> int:
    from kernel_runtime.launcher import IDLE_SECONDS, Launcher

    launcher = Launcher(
        options["store"],
        options["runtime"],
        probe.Rung(options["rung"]),
        options.get("code", ""),
        options.get("site", ""),
        float(options.get("idle", IDLE_SECONDS)),
    )
    try:
        launcher.prepare()
    except RuntimeFault as fault:
        _say({"fault": fault.to_dict()})
        return 1
    _say({"ready": launcher.info()})
    _unlock(int(options.get("lock") or -1), options["runtime"])
    launcher.run()
    return 0


def _unlock(fd: int, runtime: str) -> None:
    """Let others start a launcher from now on: they find this one. What brought us here may have closed *fd*."""
    try:
        if os.path.samestat(os.fstat(fd), os.stat(state.launcher_lock(runtime))):
            fcntl.flock(fd, fcntl.LOCK_UN)  # whoever else has the descriptor
            os.close(fd)
    except OSError:
        pass  # it is not there


def _say(message: dict[str, object]) -> None:
    """Tell the starting client, then let go of its pipe."""
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except OSError:
        pass
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
