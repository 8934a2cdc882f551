"""``logs``: what a container printed, stdout and stderr apart and in order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import Flag
from jupyter_containers.options.values import point_in_time
from jupyter_containers.run.logs import Wanted, entries

from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container
    from jupyter_containers.options import Context

    from .out import Out


def logs(engine: Engine, args: Args, out: Out) -> int:
    """``docker logs``."""
    container = engine.containers.get(args.words[0])
    wanted = Wanted(
        timestamps=bool(args.timestamps),
        tail=_tail(args.get("tail", "all")),
        since=_moment("since", args.since, args.context),
        until=_moment("until", args.until, args.context),
    )
    _copy(container, out, wanted, bool(args.follow))
    return 0


def follow(container: Container, out: Out, since: float) -> None:
    """Show what *container* prints from *since* on until it ends."""
    _copy(container, out, Wanted(since=since), True)


def _copy(container: Container, out: Out, wanted: Wanted, following: bool) -> None:
    alive = (lambda: container.status in ("running", "paused")) if following else None
    for name, data in entries(container.record.bundle / "log", wanted, alive):
        out.raw(name, data)


def _tail(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]+", text) else "all"


def _moment(flag: str, text: str | None, context: Context) -> float | None:
    """Seconds since 1970 of a time, a number of seconds, or a duration before now."""
    if not text:
        return None
    try:
        return point_in_time(text, context)
    except InvalidArgument as error:
        raise InvalidArgument(f'invalid value for "{flag}": {error.what}', mend=error.mend) from None


_WHEN = '(e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'
SPECS = {
    "logs": Spec(
        logs,
        (
            Flag("follow", "f", "", "follow", "Follow log output"),
            Flag("since", "", "string", "since", f"Show logs since timestamp {_WHEN}"),
            Flag("tail", "n", "string", "tail", 'Number of lines to show from the end of the logs (default "all")'),
            Flag("timestamps", "t", "", "timestamps", "Show timestamps"),
            Flag("until", "", "string", "until", f"Show logs before a timestamp {_WHEN}"),
        ),
        1,
        1,
    )
}
