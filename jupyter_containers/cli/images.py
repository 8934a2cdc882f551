"""``load``, ``import``, ``tag``, ``rmi``, ``image prune``: verbs on images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jupyter_containers.errors import InvalidArgument, NotFound
from jupyter_containers.options import Flag

from .common import FORCE
from .lifecycle import agreed, reclaimed
from .verb import Args, Spec, each

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out


def load(engine: Engine, args: Args, out: Out) -> int:
    """``docker load``; the file may also stand without ``-i``."""
    given = args.get("input") or (args.words[0] if args.words else "")
    for image in engine.images.load(_source(given, args, "load", out)):
        if args.quiet:
            continue
        for tag in image.tags:
            out.write(f"Loaded image: {tag}\n")
        if not image.tags:
            out.write(f"Loaded image ID: {image.id}\n")
    return 0


def _source(given: str, args: Args, verb: str, out: Out) -> str | IO[bytes]:
    if given and given != "-":
        path = args.context.path(given)
        if not Path(path).exists():
            raise InvalidArgument(f"open {given}: no such file or directory")
        return path
    if out.notebook or sys.stdin.isatty():
        mend = "Name a file." if verb == "import" else "Name a file with -i FILE."
        raise InvalidArgument(f"requested {verb} from stdin, but stdin is empty", mend=mend)
    return sys.stdin.buffer


def import_image(engine: Engine, args: Args, out: Out) -> int:
    """``docker import``."""
    given, *name = args.words
    if given.startswith(("http://", "https://")):
        raise InvalidArgument("import from a URL is not in this version", mend="Download the file first.")
    repository, tag = _split(name[0] if name else "")
    image = engine.images.import_image(
        _source(given, args, "import", out),
        repository=repository,
        tag=tag,
        changes=tuple(args.get("change", ())),
        message=args.get("message", ""),
    )
    out.write(f"{image.id}\n")
    return 0


def _split(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


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
    "load": Spec(
        load,
        (
            Flag("input", "i", "string", "input", "Read from tar archive file, instead of STDIN"),
            Flag("quiet", "q", "", "quiet", "Suppress the load output"),
        ),
        0,
        1,
    ),
    "import": Spec(
        import_image,
        (
            Flag("change", "c", "list", "change", "Apply Dockerfile instruction to the created image"),
            Flag("message", "m", "string", "message", "Set commit message for imported image"),
        ),
        1,
        2,
    ),
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
