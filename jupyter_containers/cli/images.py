"""``tag``, ``rmi``, ``image prune``: names of images, and their removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidArgument, NotFound
from jupyter_containers.options import Flag

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
    """``docker image prune``: images without a name."""
    if args.all:
        raise InvalidArgument("image prune --all is not in this version", mend="Remove images with rmi.")
    if not (args.force or agreed(out, "This will remove all dangling images.")):
        return 0
    report = engine.images.prune()
    report_images(report, out)
    out.write(reclaimed(report))
    return 0


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
            FORCE,
        ),
    ),
}
