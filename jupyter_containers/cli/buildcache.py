"""``builder prune`` and ``builder du``: what builds keep to be fast.

The table is that of ``docker buildx du``, the questions and answers of ``prune`` are docker's. Not here: what is kept
and how it is found (``build.cache``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jupyter_containers.options import Flag
from jupyter_containers.text import buildcache, filters
from jupyter_containers.text.result import Text

from .common import FORCE, FORMAT, JSON, form
from .lifecycle import agreed, reclaimed
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out

_DANGLING = "This will remove all dangling build cache."
_ALL = "This will remove all build cache."


def du(engine: Engine, args: Args, out: Out) -> int:
    """``docker buildx du``."""
    found = engine.df()["BuildCache"]
    chosen, now = form(args), time.time()
    out.show(buildcache.LISTING.show([buildcache.row(one, now) for one in found], chosen))
    if not chosen:
        out.show(Text(buildcache.totals(found)))
    return 0


def prune(engine: Engine, args: Args, out: Out) -> int:
    """``docker builder prune``."""
    wanted = filters.parse(args.get("filter", ()), ("until",))
    if not (args.force or agreed(out, _ALL if args.all else _DANGLING)):
        return 0
    report = engine.images.prune_builds(wanted, args.get("keep_storage", 0), bool(args.all))
    report_cache(report, out)
    out.write(reclaimed(report))
    return 0


def report_cache(report: dict[str, object], out: Out) -> None:
    """What was removed, in docker's words."""
    removed = report.get("CachesDeleted") or []
    if isinstance(removed, list) and removed:
        out.write("Deleted build cache objects:\n" + "".join(f"{name}\n" for name in removed) + "\n")


SPECS = {
    "builder du": Spec(du, (FORMAT, JSON)),
    "builder prune": Spec(
        prune,
        (
            Flag("all", "a", "", "all", "Remove all unused build cache, not just dangling ones"),
            Flag("filter", "", "filter", "filter", 'Provide filter values (e.g. "until=24h")'),
            FORCE,
            Flag("keep-storage", "", "bytes", "keep_storage", "Amount of disk space to keep for cache"),
        ),
    ),
}
