"""One more process in a running container."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import CannotStart, Conflict
from jupyter_containers.run import runtime
from jupyter_containers.run.foreground import Caller, Foreground, OnOutput, Pipes, follow

if TYPE_CHECKING:
    from jupyter_containers.engine.containers import Container


def process(
    container: Container,
    cmd: str | Sequence[str],
    environment: Mapping[str, str] | None = None,
    workdir: str | None = None,
    user: str = "",
    privileged: bool = False,
    tty: bool = False,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The OCI ``process``: the container's own with the command and what was asked for."""
    config = json.loads((container.record.bundle / "config.json").read_bytes())
    base: dict[str, Any] = config["process"]
    env = [*base.get("env", []), *(f"{name}={value}" for name, value in (environment or {}).items())]
    if tty and not any(entry.startswith("TERM=") for entry in env):
        env.append("TERM=xterm")
    changed = base | {
        "args": shlex.split(cmd) if isinstance(cmd, str) else list(cmd),
        "env": env,
        "terminal": tty,
        "cwd": workdir or base.get("cwd", "/"),
    }
    if user:
        changed["user"] = {"uid": 0, "gid": 0, "username": user}
    if privileged:
        names = list(runtime.all_capabilities())
        changed["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    if size:
        changed["consoleSize"] = {"height": size[0], "width": size[1]}
    return changed


def run(
    container: Container,
    cmd: str | Sequence[str],
    stdout: bool,
    stderr: bool,
    environment: Mapping[str, str] | None,
    workdir: str | None,
    user: str,
    privileged: bool,
    on_output: OnOutput | None,
) -> tuple[int, bytes]:
    """Run and collect: exit code and output.

    Raises:
        Conflict: the container does not run. CannotStart: the program could not be executed.
    """
    asked = process(container, cmd, environment, workdir, user, privileged)
    pipes = Pipes()
    try:
        with _connect(container) as connection:
            _start(connection, {"process": asked}, pipes.stdio())
            pipes.started()
            shown = Foreground(connection, pipes, on_output)
            outcome = shown.run()
    finally:
        pipes.close()
    wanted = {name for name, on in (("stdout", stdout), ("stderr", stderr)) if on}
    return outcome.exit_code, "".join(text for name, text in shown.outputs if name in wanted).encode()


def foreground(
    container: Container,
    cmd: Sequence[str],
    stdio: tuple[int, int, int],
    caller: Caller | None = None,
    **options: Any,
) -> int:
    """Run on the caller's descriptors; *options* are those of :func:`process`. The exit code.

    Raises:
        Conflict: the container does not run. CannotStart: the program could not be executed.
    """
    asked = process(container, cmd, **options)
    with _connect(container) as connection:
        if caller:
            caller.ready()
        _start(connection, {"process": asked}, stdio)
        return follow(caller, connection)


def detached(container: Container, cmd: Sequence[str], **options: Any) -> None:
    """Run in the background: nobody owns it, it reads nothing, its output goes nowhere. See :func:`process`.

    Raises:
        Conflict: the container does not run. CannotStart: the program could not be executed.
    """
    with _connect(container) as connection:
        _start(connection, {"process": process(container, cmd, **options), "owned": False}, ())


def _start(connection: runtime.Connection, message: dict[str, Any], stdio: tuple[int, ...]) -> None:
    """Have it executed.

    Raises:
        CannotStart: it could not be, in Docker's words; ``exit_code`` 127 for a missing program, 126 for no program.
    """
    try:
        runtime.mapped(connection.ask)({"op": "exec", **message}, stdio)
    except CannotStart as error:
        error.what = f"OCI runtime exec failed: exec failed: unable to start container process: {error.what}"
        raise


def _connect(container: Container) -> runtime.Connection:
    try:
        return container._owner.runtime.connect(container.id)
    except Conflict:
        raise Conflict(f"Container {container.id} is not running", mend="Start it first.") from None
