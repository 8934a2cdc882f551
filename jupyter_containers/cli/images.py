"""``tag``, ``rmi``, ``image prune``: names of images, and their removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import NotFound
from jupyter_containers.options import Flag
from jupyter_containers.text import filters

from .common import FORCE
from .lifecycle import agreed, reclaimed
from .verb import Args, Spec, each

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out


def tag(engine: Engine, args: Args, _out: Out) -> int:
    """``docker tag``."""
    engine.images.tag(args.words[0], args.words[1])
    return 0


def remove(engine: Engine, args: Args, out: Out) -> int:
    """``docker rmi``."""

    def one(word: str) -> None:
        try:
            rows = engine.images.remove(word, force=bool(args.force))
        except NotFound as error:
            if not args.force:
                raise
            out.warn(f"Error: {error}")
            return
        for row in rows:
            for what, name in row.items():
                out.write(f"{what}: {name}\n")

    return each(args.words, one, out)


def prune(engine: Engine, args: Args, out: Out) -> int:
    """``docker image prune``: images without a name, with ``-a`` all that no container uses."""
    what = _ALL if args.all else "This will remove all dangling images."
    if not (args.force or agreed(out, what)):
        return 0
    report = engine.images.prune(prune_filters(args))
    report_images(report, out)
    out.write(reclaimed(report))
    return 0


_ALL = "This will remove all images without at least one container associated to them."


def prune_filters(args: Args) -> dict[str, list[str]]:
    """The filters of a line; ``-a`` is one of them, as in the Engine API."""
    found = filters.parse(args.get("filter", ()), filters.PRUNE_KEYS)
    return found | ({"dangling": ["false"]} if args.all else {})


def report_images(report: dict[str, object], out: Out) -> None:
    """What was removed, in docker's words."""
    removed = report.get("ImagesDeleted") or []
    if isinstance(removed, list) and removed:
        lines = [f"{what.lower()}: {name}\n" for row in removed for what, name in row.items()]
        out.write("Deleted Images:\n" + "".join(lines) + "\n")


SPECS = {
    "tag": Spec(tag, (), 2, 2),
    "rmi": Spec(remove, (Flag("force", "f", "", "force", "Force removal of the image"),), 1, None),
    "image prune": Spec(
        prune,
        (
            Flag("all", "a", "", "all", "Remove all unused images, not just dangling ones"),
            Flag("filter", "", "filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
            FORCE,
        ),
    ),
}
