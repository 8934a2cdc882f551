"""``run``, ``create``, ``start``, ``exec``, ``attach``: verbs that make a program run, and show what it prints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import Conflict, ContainerExit, InvalidArgument
from jupyter_containers.options import Flag, flags_for
from jupyter_containers.options.run import environment, from_parsed

from .registry import ensure
from .verb import Args, Spec, each

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container
    from jupyter_containers.options import RunOptions

    from .out import Out


def _options(args: Args) -> RunOptions:
    return from_parsed(args.values, args.words)


def run(engine: Engine, args: Args, out: Out) -> int:
    """``docker run``."""
    options = _options(args)
    ensure(engine, options, out)
    if options.detach:
        out.write(f"{engine.containers.run_detached(options).id}\n")
        return 0
    if out.notebook:
        result = engine.containers.run_foreground(replace(options, interactive=False), out.output)
        if not result.ok:
            raise ContainerExit(result.exit_code, result.reason, result.image, result.duration)
        return 0
    from .terminal import Foreground

    with Foreground(options.interactive, options.tty) as here:
        return engine.containers.run_with_stdio(options, here.stdio, here.connected)


def create(engine: Engine, args: Args, out: Out) -> int:
    """``docker create``."""
    options = _options(args)
    ensure(engine, options, out)
    out.write(f"{engine.containers.create(options).id}\n")
    return 0


def start(engine: Engine, args: Args, out: Out) -> int:
    """``docker start``; with ``-a`` its output until it ends."""
    if not (args.attach or args.interactive):
        return each(args.words, lambda word: _start(engine, word, out), out)
    if len(args.words) > 1:
        raise Conflict("you cannot start and attach multiple containers at once")
    container = engine.containers.get(args.words[0])
    if container.status in ("running", "paused"):
        return _attach(container, out)
    from .logs import follow

    begun = _now()
    container.start()
    follow(container, out, since=begun)
    return _ended(container, int(container.wait()["StatusCode"]), out)


def _now() -> float:
    import time

    return time.time()


def _start(engine: Engine, word: str, out: Out) -> None:
    engine.containers.get(word).start()
    out.write(f"{word}\n")


def attach(engine: Engine, args: Args, out: Out) -> int:
    """``docker attach``: what it prints from now on."""
    container = engine.containers.get(args.words[0])
    if container.status not in ("running", "paused"):
        raise Conflict("You cannot attach to a stopped container, start it first")
    return _attach(container, out)


def _attach(container: Container, out: Out) -> int:
    if out.notebook:
        from .logs import follow

        follow(container, out, since=_now())
        return _ended(container, int(container.wait()["StatusCode"]), out)
    from .terminal import Foreground

    with Foreground(False, False) as here:
        return container.attach_foreground(here.stdio)


def _ended(container: Container, code: int, out: Out) -> int:
    if code and out.notebook:
        raise ContainerExit(code, image=str(container.attrs["Config"]["Image"]))
    return code


def execute(engine: Engine, args: Args, out: Out) -> int:
    """``docker exec``."""
    name, *command = args.words
    container = engine.containers.get(name)
    if args.detach:
        raise InvalidArgument("exec --detach is not in this version", mend="Leave -d away, or end the command with &.")
    options = _exec_options(args)
    if out.notebook:
        code, _output = container.exec_run(command, on_output=out.output, **options)
        return _ended(container, code, out)
    from .terminal import Foreground

    tty = bool(args.tty)
    with Foreground(bool(args.interactive), tty, passes_on=False) as here:
        size = {"size": here.size} if tty and here.size else {}
        return container.exec_foreground(command, here.stdio, connected=here.connected, tty=tty, **options, **size)


def _exec_options(args: Args) -> dict[str, Any]:
    values = dict(args.values)
    env = environment(values)["env"]
    return {
        "environment": env,
        "workdir": args.workdir,
        "user": args.get("user", ""),
        "privileged": bool(args.privileged),
    }


_EXEC_HELP = {
    flag.name: replace(flag, help="Give extended privileges to the command")
    for flag in flags_for("exec")
    if flag.name == "privileged"
}
_SIG_PROXY = Flag("sig-proxy", "", "", "sig_proxy", "Proxy all received signals to the process (default true)")
SPECS = {
    "run": Spec(run, flags_for("run"), 1, None, interspersed=False),
    "create": Spec(create, flags_for("create"), 1, None, interspersed=False),
    "start": Spec(
        start,
        (
            Flag("attach", "a", "", "attach", "Attach STDOUT/STDERR and forward signals"),
            Flag("interactive", "i", "", "interactive", "Attach container's STDIN"),
        ),
        1,
        None,
    ),
    "attach": Spec(
        attach,
        (Flag("no-stdin", "", "", "no_stdin", "Do not attach STDIN"), _SIG_PROXY),
        1,
        1,
    ),
    "exec": Spec(
        execute,
        (
            Flag("detach", "d", "", "detach", "Detached mode: run command in the background"),
            *(_EXEC_HELP.get(flag.name, flag) for flag in flags_for("exec")),
        ),
        2,
        None,
        interspersed=False,
    ),
}
