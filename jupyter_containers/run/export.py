"""``docker export``: the merged root of a container as a tar stream.

The runtime opens the root, a program in the containers' user namespace packs it, and its bytes come through a pipe:
every file can be read on every rung, and nothing in this process ever has a name inside the container.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image.program import Program
from jupyter_containers.run.runtime import Runtime

CHUNK = 1 << 20


def chunks(runtime: Runtime, bundle: Path, size: int = CHUNK) -> Iterator[bytes]:
    """The tar of the container in *bundle*, running or not, in pieces of at most *size* bytes.

    Volumes, bind mounts, /proc, /dev and the like are not in it, as docker has it. On ``rootless-single`` symbolic
    links and pipes are root's: there is no attribute to record their owners in.

    Raises:
        InvalidArgument: the container is of the image ``host``.
        LayerError: a file can't be packed.
    """
    _refuse_host(bundle)
    root = runtime.open_root(bundle)
    try:
        yield from _packed(runtime, root, size)
    finally:
        os.close(root)


def _packed(runtime: Runtime, root: int, size: int) -> Iterator[bytes]:
    with Program(None if runtime.rung == "root" else runtime.unshare) as program:
        yield from program.stream({"verb": "pack"}, {"root": root}, size)


def _refuse_host(bundle: Path) -> None:
    """A root of several overlays is this machine's own system; packing it would copy gigabytes of the user's host."""
    record = json.loads((bundle / "container.json").read_bytes())
    if record["image"] in ("host", "host:latest"):
        raise InvalidArgument(
            "a container of the image 'host' is this machine's own system, which is not exported",
            record["name"],
            "Run it from another image, or copy single files out of it.",
        )
