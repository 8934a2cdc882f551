"""``version``, ``info``, ``system df``, ``system prune``, ``doctor``: the engine and the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jupyter_containers.options import Flag
from jupyter_containers.text import usage
from jupyter_containers.text.result import Json, Text

from .common import FORCE, FORMAT, INSPECT_FORMAT, JSON, form
from .inspection import filled, parsed
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out


def version(engine: Engine, args: Args, out: Out) -> int:
    """``docker version``."""
    about = engine.version()
    _show({"Client": about, "Server": about}, usage.version(about), args, out)
    return 0


def info(engine: Engine, args: Args, out: Out) -> int:
    """``docker info``."""
    found = engine.info()
    _show(found, usage.info(found), args, out)
    return 0


def doctor(engine: Engine, args: Args, out: Out) -> int:
    """The ladder of isolation; 1 where no rung can be used."""
    found = engine.doctor()
    _show(found, usage.doctor(found), args, out)
    return 0 if found.get("rung") else 1


def _show(data: Any, text: str, args: Args, out: Out) -> None:
    wanted = form(args)
    if wanted == "json":
        from jupyter_containers.text.template.values import to_json

        out.show(Json(to_json(data) + "\n", data))
    elif wanted:
        out.show(Text(filled(parsed(wanted), data) + "\n"))
    else:
        out.show(Text(text))


def df(engine: Engine, args: Args, out: Out) -> int:
    """``docker system df``."""
    containers = [container.attrs for container in engine.containers.list(all=True)]
    report = engine.df()
    if args.verbose:
        images = [image.attrs for image in engine.images.list()]
        out.show(Text(usage.verbose(report, containers, images, time.time())))
        return 0
    out.show(usage.LISTING.show(usage.rows(report, containers), form(args)))
    return 0


def prune(engine: Engine, args: Args, out: Out) -> int:
    """``docker system prune``: stopped containers, images without a name, the build cache."""
    from .buildcache import report_cache
    from .images import report_images
    from .lifecycle import agreed, reclaimed, report_containers

    unused = "images without at least one container associated to them" if args.all else "dangling images"
    cache = "all build cache" if args.all else "unused build cache"
    what = f"This will remove:\n  - all stopped containers\n  - all {unused}\n  - {cache}\n"
    if not (args.force or agreed(out, what)):
        return 0
    containers, images = engine.containers.prune(), engine.images.prune({"dangling": not args.all})
    builds = engine.images.prune_builds(all=bool(args.all))
    report_containers(containers, out, total=False)
    report_images(images, out)
    report_cache(builds, out)
    out.write(reclaimed(containers, images, builds))
    return 0


SPECS = {
    "version": Spec(version, (INSPECT_FORMAT, JSON)),
    "info": Spec(info, (INSPECT_FORMAT, JSON)),
    "doctor": Spec(doctor, (INSPECT_FORMAT, JSON)),
    "system df": Spec(
        df, (FORMAT, JSON, Flag("verbose", "v", "", "verbose", "Show detailed information on space usage"))
    ),
    "system prune": Spec(
        prune, (Flag("all", "a", "", "all", "Remove all unused images not just dangling ones"), FORCE)
    ),
}
