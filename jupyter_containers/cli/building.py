"""``build``, and ``%%dockerfile``'s line: from words to a build, which is shown while it goes on.

Flags, exit codes and what goes to which stream are docker's. A context may also be the file of a tar, as a cell has no
standard input. Not here: the table of flags (``options.build``), how a build looks (``buildview``), the cache
(``buildcache``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import ContainersError, InvalidArgument
from jupyter_containers.options import Flag
from jupyter_containers.options import build as flags

from .drawing import PROGRESS
from .verb import Args, Spec, Verb

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.builds import BuildOptions
    from jupyter_containers.engine.images import Image

    from .out import Out

_URLS = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")
_SAME = ("build_args", "tags", "target", "labels", "platform", "no_cache", "cache_from", "inline_cache", "pull",
         "secrets", "agents")  # fmt: skip


class Stopped(ContainersError):
    """The user stopped a build."""

    exit_code = 130  # as of a program that SIGINT ended


def build(engine: Engine, args: Args, out: Out) -> int:
    """``docker build``."""
    with _requested(args, out) as options:
        image = _built(engine, options, args, out)
    if _mode(args) == "quiet":
        out.write(f"{image.id}\n")
    out.give(image)
    return 0


def of_cell(engine: Engine, args: Args, out: Out) -> int:
    """``%%dockerfile``: the image that the Dockerfile in a cell makes; without a context where none is named."""
    with _context(args.words[0] if args.words else "", args, out) as source:
        out.give(_built(engine, replace(_options(args.values), text=out.body, **source), args, out))
    return 0


def _built(engine: Engine, options: BuildOptions, args: Args, out: Out) -> Image:
    """Build, and show it; the image.

    Raises:
        Stopped: by the user; and what ``Builds.build`` raises.
    """
    from .buildview import shown

    target = Path(args.context.path(args.iidfile)) if args.iidfile else None
    if target:
        target.unlink(missing_ok=True)  # as docker: an old one must not be taken for this build's
    try:
        with shown(out, options.tags, _mode(args)) as on_event:
            image = engine.builds.build(options, on_event)
    except KeyboardInterrupt:
        mend = "Steps that were done are in the cache: the next build goes on from there."
        raise Stopped("the build was stopped", mend=mend) from None
    if target:
        target.write_text(image.id)
    return engine.images.get(image.id)


def _mode(args: Args) -> str:
    return "quiet" if args.quiet else str(args.get("progress", ""))


# --- what to build ---


def _options(values: Mapping[str, Any]) -> BuildOptions:
    """What the flags say; context and Dockerfile are still to come."""
    from jupyter_containers.engine.builds import BuildOptions

    same: dict[str, Any] = {name: values[name] for name in _SAME if name in values}
    given = dict(same.pop("build_args", ()))
    args = {name: value for name, value in given.items() if value is not None}  # without a value: not set here either
    same["labels"] = dict(same.get("labels", ()))
    return BuildOptions(args=args, run=flags.run_options(values), **same)


@contextmanager
def _requested(args: Args, out: Out) -> Iterator[BuildOptions]:
    """The options of ``build PATH|-``."""
    word, file = args.words[0], args.get("file", "")
    if word == file == "-":
        raise InvalidArgument("standard input can't be both the build context and the Dockerfile")
    with _context(word, args, out) as source:
        options = replace(_options(args.values), **source)
        if file == "-":
            data = _stdin("Dockerfile", out).read()
            yield replace(options, text=data.decode("utf-8", "replace"), text_name="-")
        else:
            yield replace(options, dockerfile=_dockerfile(file, args) if "context" in source else file)


@contextmanager
def _context(word: str, args: Args, out: Out) -> Iterator[dict[str, Any]]:
    """The fields of the options for a context: a folder, a tar that is open while the block runs, none for ""."""
    if not word:
        yield {}
    elif word == "-":
        yield {"archive": _stdin("build context", out)}
    elif word.startswith(_URLS):
        mend = "Clone or download it, and name the folder or the tar."
        raise InvalidArgument("a build context from the network is not in this version", word, mend)
    elif (path := Path(args.context.path(word))).is_file():
        with path.open("rb") as file:
            yield {"archive": file}
    else:
        yield {"context": path}


def _stdin(what: str, out: Out) -> Any:
    if out.notebook:
        mend = "Name a folder or the file of a tar, or write the Dockerfile in a %%dockerfile cell."
        raise InvalidArgument("a cell has no standard input", f"the {what} '-'", mend)
    if sys.stdin.isatty():
        raise InvalidArgument(f"requested the {what} from stdin, but stdin is a terminal", mend="Pipe it in.")
    return sys.stdin.buffer


def _dockerfile(word: str, args: Args) -> str:
    """Its path, short where it was written so: errors name it."""
    if not word:
        return ""
    path = args.context.path(word)
    return path if word.startswith(("/", "~")) else os.path.relpath(path)


_OF_A_CELL = "the cell is the Dockerfile; `%container build -f FILE` takes one from a file"
FLAGS: tuple[Flag, ...] = tuple(sorted((*flags.FLAGS, PROGRESS), key=lambda flag: flag.name))
CELL_FLAGS = tuple(replace(flag, refuse=_OF_A_CELL) if flag.name == "file" else flag for flag in FLAGS)


SPECS = {"build": Spec(build, FLAGS, 1, 1), "%%dockerfile": Spec(of_cell, CELL_FLAGS, 0, 1)}
CELL = Verb("%%dockerfile", "", "[OPTIONS] [CONTEXT]", "Build an image: the cell is the Dockerfile", "building")
