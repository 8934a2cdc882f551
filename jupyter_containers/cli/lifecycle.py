"""``stop kill restart pause unpause wait rm rename prune``: verbs on containers that exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jupyter_containers.errors import Conflict, ContainersError, NotFound
from jupyter_containers.options import Flag
from jupyter_containers.text.units import human_size

from .common import FORCE
from .verb import Args, Spec, each

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container

    from .out import Out


def _to_each(engine: Engine, args: Args, out: Out, action: Callable[[Container], object]) -> int:
    def one(word: str) -> None:
        action(engine.containers.get(word))
        out.write(f"{word}\n")

    return each(args.words, one, out)


def stop(engine: Engine, args: Args, out: Out) -> int:
    """``docker stop``."""

    def one(container: Container) -> None:
        if args.signal and container.status in ("running", "paused"):
            container.kill(args.signal)
        container.stop(args.timeout)

    return _to_each(engine, args, out, one)


def kill(engine: Engine, args: Args, out: Out) -> int:
    """``docker kill``."""

    def one(word: str) -> None:
        try:
            engine.containers.get(word).kill(args.get("signal", "KILL"))
        except ContainersError as error:
            error.what = f"Cannot kill container: {word}: {error.what}"
            raise
        out.write(f"{word}\n")

    return each(args.words, one, out)


def restart(engine: Engine, args: Args, out: Out) -> int:
    """``docker restart``."""
    return _to_each(engine, args, out, lambda container: container.restart(args.timeout))


def pause(engine: Engine, args: Args, out: Out) -> int:
    """``docker pause``."""

    def one(container: Container) -> None:
        if container.status not in ("running", "paused"):
            raise Conflict(f"Container {container.id} is not running", mend="Start it first.")
        if container.status == "paused":
            raise Conflict(f"Container {container.id} is already paused")
        container.pause()

    return _to_each(engine, args, out, one)


def unpause(engine: Engine, args: Args, out: Out) -> int:
    """``docker unpause``."""

    def one(container: Container) -> None:
        if container.status != "paused":
            raise Conflict(f"Container {container.id} is not paused")
        container.unpause()

    return _to_each(engine, args, out, one)


def wait(engine: Engine, args: Args, out: Out) -> int:
    """``docker wait``: exit codes, one a line."""
    return each(args.words, lambda word: out.write(f"{engine.containers.get(word).wait()['StatusCode']}\n"), out)


def remove(engine: Engine, args: Args, out: Out) -> int:
    """``docker rm``; with ``-f`` what does not exist is no error, as for docker."""

    def one(word: str) -> None:
        try:
            engine.containers.get(word).remove(force=bool(args.force), v=bool(args.volumes))
        except NotFound as error:
            if not args.force:
                raise
            out.warn(f"Error: {error}")
            return
        out.write(f"{word}\n")

    return each(args.words, one, out)


def rename(engine: Engine, args: Args, _out: Out) -> int:
    """``docker rename``."""
    from jupyter_containers.options.words import container_name

    old, new = args.words
    engine.containers.get(old).rename(container_name(new, args.context))
    return 0


def prune(engine: Engine, args: Args, out: Out) -> int:
    """``docker container prune``."""
    if not (args.force or agreed(out, "This will remove all stopped containers.")):
        return 0
    report_containers(engine.containers.prune(_filters(args)), out)
    return 0


def report_containers(report: dict[str, object], out: Out, total: bool = True) -> None:
    """What was removed, in docker's words."""
    removed = report.get("ContainersDeleted") or []
    if isinstance(removed, list) and removed:
        out.write("Deleted Containers:\n" + "".join(f"{name}\n" for name in removed) + "\n")
    if total:
        out.write(reclaimed(report))


def reclaimed(*reports: dict[str, object]) -> str:
    """The last line of every ``prune``."""
    sizes = (report.get("SpaceReclaimed") for report in reports)
    return f"Total reclaimed space: {human_size(sum(size for size in sizes if isinstance(size, int)))}\n"


def agreed(out: Out, what: str) -> bool:
    """Docker's warning and question."""
    out.write(f"WARNING! {what}\n")
    return out.asks("Are you sure you want to continue? [y/N] ")


def _filters(args: Args) -> dict[str, list[str]]:
    from jupyter_containers.text import filters

    return filters.parse(args.get("filter", ()), ("label",))


_TIMEOUT = Flag("timeout", "t", "int", "timeout", "Seconds to wait before killing the container", aliases=("time",))
_SIGNAL = Flag("signal", "s", "string", "signal", "Signal to send to the container")
PRUNE_FILTER = Flag("filter", "", "filter", "filter", 'Provide filter values (e.g. "label=<key>=<value>")')

SPECS = {
    "stop": Spec(stop, (_SIGNAL, _TIMEOUT), 1, None),
    "restart": Spec(restart, (_TIMEOUT,), 1, None),
    "kill": Spec(kill, (_SIGNAL,), 1, None),
    "pause": Spec(pause, (), 1, None),
    "unpause": Spec(unpause, (), 1, None),
    "wait": Spec(wait, (), 1, None),
    "rename": Spec(rename, (), 2, 2),
    "rm": Spec(
        remove,
        (
            Flag("force", "f", "", "force", "Force the removal of a running container (uses SIGKILL)"),
            Flag("volumes", "v", "", "volumes", "Remove anonymous volumes associated with the container"),
        ),
        1,
        None,
    ),
    "prune": Spec(prune, (PRUNE_FILTER, FORCE)),
}
