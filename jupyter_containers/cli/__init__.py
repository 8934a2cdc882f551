"""The verbs: one parser and one implementation for a terminal and a notebook (``%container VERB``).

:func:`main` is the program, :func:`run_verb` the notebook's door. Names, flags, columns and exit codes are docker's.

Not here: what a verb does to a container (``engine``), how tables look (``text``), what flags mean (``options``).
Modules are imported when a verb needs them: the first output must not wait for an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

__all__ = ["main", "run_dockerfile", "run_verb"]


def main(argv: Sequence[str] | None = None) -> int:
    """The program: runs one verb and gives its exit code. Errors are one line on stderr."""
    import io
    import os
    import sys

    from .dispatch import run
    from .out import Terminal

    words = list(sys.argv[1:] if argv is None else argv)
    program = "jupyter containers"
    for stream in (sys.stdout, sys.stderr):  # a locale without "…" must not make a traceback of a table
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(words, program, Terminal())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's own flush at its end is silent
        return 141
    except KeyboardInterrupt:
        return 130
    return code


def run_verb(words: Sequence[str], engine: Engine, base_dir: str = "", ask: Callable[[], str] | None = None) -> Any:
    """Run one verb for a notebook; a table or a document comes back as an object that shows itself.

    Args:
        words: the verb, its flags and its arguments.
        engine: what to run it on.
        base_dir: where relative paths start; the current folder by default.
        ask: asks for a line of input, for ``run -i``; none where nobody can answer: stdin is empty then.

    Raises:
        ContainersError: it could not be done. ContainerExit: a program ended with a code other than 0.
    """
    from .dispatch import perform
    from .out import Notebook

    out = Notebook(base_dir, ask)
    perform(list(words), "%container", out, lambda: engine)
    return out.result()


def run_dockerfile(words: Sequence[str], text: str, engine: Engine, base_dir: str = "") -> Any:
    """Build the image of a cell that is a Dockerfile, for a notebook; the image, or nothing where help was asked for.

    Args:
        words: the flags of the line, and the context, if any.
        text: the Dockerfile.
        engine, base_dir: as of :func:`run_verb`.

    Raises:
        ContainersError: it could not be built.
    """
    from .building import CELL
    from .dispatch import carry_out
    from .out import Notebook

    out = Notebook(base_dir, body=text)
    carry_out(CELL, CELL.name, list(words), "", out, lambda: engine)
    return out.result()
