"""``run``, ``create``, ``start``, ``exec``, ``attach``: verbs that make a program run, and show what it prints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import Conflict, ContainerExit
from jupyter_containers.options import Flag, flags_for
from jupyter_containers.options.run import environment, from_parsed

from .registry import ensure
from .verb import Args, Spec, each

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container
    from jupyter_containers.options import RunOptions

    from .out import Out
    from .terminal import Foreground


def _options(args: Args) -> RunOptions:
    return from_parsed(args.values, args.words)


def run(engine: Engine, args: Args, out: Out) -> int:
    """``docker run``."""
    options = _options(args)
    ensure(engine, options, out)
    if options.detach:
        return _made(engine.containers.run_detached(options), out)
    if out.notebook:
        result = engine.containers.run_foreground(options, out.output, ask=out.ask)
        if not result.ok:
            raise ContainerExit(result.exit_code, result.reason, result.image, result.duration)
        return 0
    from .terminal import Foreground

    with Foreground(options.interactive, options.tty) as here:
        return engine.containers.run_with_stdio(options, here.stdio, here)


def create(engine: Engine, args: Args, out: Out) -> int:
    """``docker create``."""
    options = _options(args)
    ensure(engine, options, out)
    return _made(engine.containers.create(options), out)


def _made(container: Container, out: Out) -> int:
    for warning in container.warnings:
        out.output("stderr", f"WARNING: {warning}\n")
    out.write(f"{container.id}\n")
    return 0


def start(engine: Engine, args: Args, out: Out) -> int:
    """``docker start``; with ``-a`` its output until it ends."""
    if not (args.attach or args.interactive):
        return each(args.words, lambda word: _start(engine, word, out), out)
    if len(args.words) > 1:
        raise Conflict("you cannot start and attach multiple containers at once")
    container = engine.containers.get(args.words[0])
    if container.status in ("running", "paused"):
        return _attach(container, args, out, bool(args.interactive))
    if out.notebook:
        return _start_in_notebook(container, out)
    with _guest(container, args, bool(args.interactive)) as here:
        return container.start_foreground(here.stdio, here)


def _start_in_notebook(container: Container, out: Out) -> int:
    from .logs import follow

    begun = _now()
    container.start()
    follow(container, out, since=begun)
    return _ended(container, int(container.wait()["StatusCode"]), out)


def _guest(container: Container, args: Args, types: bool) -> Foreground:
    """The terminal as a guest of a container; typing goes to one that was made with ``-i``."""
    from .terminal import Foreground

    proxies = args.get("sig_proxy", True)
    return Foreground(types and container.keeps_stdin, container.has_terminal, owns=False, proxies=proxies)


def _now() -> float:
    import time

    return time.time()


def _start(engine: Engine, word: str, out: Out) -> None:
    engine.containers.get(word).start()
    out.write(f"{word}\n")


def attach(engine: Engine, args: Args, out: Out) -> int:
    """``docker attach``: what it prints from now on, and stdin into one that was made with ``-i``."""
    container = engine.containers.get(args.words[0])
    if container.status not in ("running", "paused"):
        raise Conflict("You cannot attach to a stopped container, start it first")
    return _attach(container, args, out, not args.no_stdin)


def _attach(container: Container, args: Args, out: Out, types: bool) -> int:
    if out.notebook:
        from .logs import follow

        follow(container, out, since=_now())
        return _ended(container, int(container.wait()["StatusCode"]), out)
    with _guest(container, args, types) as here:
        return container.attach_foreground(here.stdio, types, here)


def _ended(container: Container, code: int, out: Out) -> int:
    if code and out.notebook:
        raise ContainerExit(code, image=str(container.attrs["Config"]["Image"]))
    return code


def execute(engine: Engine, args: Args, out: Out) -> int:
    """``docker exec``."""
    name, *command = args.words
    container = engine.containers.get(name)
    options = _exec_options(args)
    if args.detach:
        container.exec_detached(command, tty=bool(args.tty), **options)
        return 0
    if out.notebook:
        code, _output = container.exec_run(command, on_output=out.output, **options)
        return _ended(container, code, out)
    from .terminal import Foreground

    tty = bool(args.tty)
    with Foreground(bool(args.interactive), tty) as here:
        size = {"size": here.size} if tty and here.size else {}
        return container.exec_foreground(command, here.stdio, caller=here, tty=tty, **options, **size)


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
