"""COPY and ADD without an engine: the worker run as a program, its layer read as data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_containers.build.worker import WORKER
from jupyter_containers.image.program import Program, Unshare
from tests.rigs import trees

EPOCH = 1_700_000_000


def layer(
    root: Path | None,
    sources: Sequence[str],
    destination: str,
    lower: Sequence[Path] = (),
    owners: str = "root",
    unshare: Unshare | None = None,
    **fields: Any,
) -> bytes:
    """The layer that ``COPY sources destination`` makes upon *lower* (top first), *root* being the context.

    Fields of the worker's input and of its order are given by their names.
    """
    with ExitStack() as end:
        one: dict[str, Any] = {"sources": list(sources)}
        for name in ("ignore", "ignore_name", "exclude", "parents", "literal", "keep_owners", "unpack", "place"):
            if name in fields:
                one[name] = fields.pop(name)
        inputs, fds = [], {}
        if root is not None:
            fds["inputs.0.root"] = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            end.callback(os.close, fds["inputs.0.root"])
            inputs = [one]
        order = {
            "verb": "copy", "inputs": inputs, "destination": destination, "owners": owners, "epoch": EPOCH,
            "lower": [str(path) for path in lower], **fields,
        }  # fmt: skip
        return run(order, fds, unshare)


def run(order: dict[str, Any], fds: Mapping[str, int], unshare: Unshare | None = None) -> bytes:
    """What the worker writes for an order whose output is a pipe."""
    with Program(unshare, WORKER) as program:
        return b"".join(program.stream(order, fds))


def tree(*words: Any, **fields: Any) -> trees.Tree:
    """The entries of :func:`layer`, without their times, which must all be the build's."""
    found = trees.of_tar(layer(*words, **fields))
    assert {row[8] for row in found.values()} <= {EPOCH}
    return {name: [*row[:8], *row[9:]] for name, row in found.items()}


def names(*words: Any, **fields: Any) -> dict[str, str]:
    """Each name of :func:`tree` with its kind, mode and owner, as ``file 644 0:0``."""
    return {name: f"{row[0]} {row[1][2:]} {row[2]}:{row[3]}" for name, row in tree(*words, **fields).items()}
