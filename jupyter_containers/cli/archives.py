"""``save``, ``load``, ``export``, ``import``: images and root file systems as tars."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import Flag

from .progress import PROGRESS, shown
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out


def save(engine: Engine, args: Args, out: Out) -> int:
    """``docker save``; ``--format`` as podman has it."""
    target = _target(args, out, "save")
    with shown(out, args.get("progress", ""), on_stderr=not args.output) as on_event:
        _write(target, engine.images.save(args.words, args.get("format", "docker-archive"), on_event))
    return 0


def export(engine: Engine, args: Args, out: Out) -> int:
    """``docker export``."""
    target = _target(args, out, "export")
    _write(target, engine.containers.get(args.words[0]).export())
    return 0


def _target(args: Args, out: Out, verb: str) -> Path | None:
    """The file to write; None for standard output."""
    if args.output and args.output != "-":
        return Path(args.context.path(args.output))
    if out.notebook or sys.stdout.isatty():
        what = "the cell" if out.notebook else "a terminal"
        raise InvalidArgument(f"cowardly refusing to {verb} to {what}", mend="Name a file with -o FILE.")
    return None


def _write(target: Path | None, pieces: Iterable[bytes]) -> None:
    """All *pieces* into a file, which then is whole or not there, or to standard output."""
    if target is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    from jupyter_containers.image.outfile import replacing

    with replacing(target) as file:
        for piece in pieces:
            file.write(piece)


def load(engine: Engine, args: Args, out: Out) -> int:
    """``docker load``; the file may also stand without ``-i``."""
    given = args.get("input") or (args.words[0] if args.words else "")
    source = _source(given, args, "load", out)
    with shown(out, "quiet" if args.quiet else args.get("progress", "")) as on_event:
        engine.images.load(source, on_event)
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
    source = _source(given, args, "import", out)
    mode = args.get("progress", "")
    with shown(out, mode) as on_event:
        image = engine.images.import_image(
            source,
            repository=repository,
            tag=tag,
            changes=tuple(args.get("change", ())),
            message=args.get("message", ""),
            platform=args.get("platform", ""),
            on_event=on_event,
        )
    if on_event is None:  # else it was the last message
        out.write(f"{image.id}\n")
    return 0


def _split(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")


_OUTPUT = Flag("output", "o", "string", "output", "Write to a file, instead of STDOUT")

SPECS = {
    "save": Spec(
        save,
        (
            Flag(
                "format", "", "string", "format", "Save image to docker-archive, oci-archive (default docker-archive)"
            ),
            _OUTPUT,
            PROGRESS,
        ),
        1,
        None,
    ),
    "export": Spec(export, (_OUTPUT,), 1, 1),
    "load": Spec(
        load,
        (
            Flag("input", "i", "string", "input", "Read from tar archive file, instead of STDIN"),
            PROGRESS,
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
            Flag("platform", "", "string", "platform", "Set platform if server is multi-platform capable"),
            PROGRESS,
        ),
        1,
        2,
    ),
}
