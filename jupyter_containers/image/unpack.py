"""The program that works on files with the containers' ids: unpacks layer blobs in overlayfs form, packs trees.

    python -m jupyter_containers.image.unpack ['{"verb": "unpack", "blob": PATH, "target": DIR, "owners": MODE, ...}']

How orders come and answers go is ``orders``'s. On rungs without root the store runs it inside the user namespace whose
ids the container will have, where it is root. Verbs:

    unpack   blob (or fd), target (made; must not exist), owners, digest, size, diff_id, limits
    settle   target, owners, implied, whiteouts, lower (top first): see ``settle``
    remove   paths: remove trees, whoever in the namespace owns their files
    changes  upper, lower (top first), owners: what a container's writable layer changes: see ``upper``
    pack     root, output (descriptors that were inherited): write the tree as a tar: see ``pack``

A target that is not finished is removed, or left for the next unpacking to remove when killed. Not here: which layers
an image needs and where they go (``layers``). Imports are few: the first use of an image waits for them.
"""

from __future__ import annotations

import io
import os
import posixpath
import sys
from collections.abc import Callable

from jupyter_containers.image.apply import LIMITS, Unpacker, opaque_attribute
from jupyter_containers.image.compression import Stream
from jupyter_containers.image.orders import Order, number, serve, tell_progress, texts
from jupyter_containers.image.rooted import DIRECTORY, Tree, remove, split
from jupyter_containers.image.settle import settle
from jupyter_containers.image.tarstream import TarReader


def unpack(order: Order, progress: Callable[[int], None] | None = None) -> Order:
    """Unpack one blob. The result: ``digest diff_id size bytes entries skipped implied whiteouts``."""
    target, owners = os.fsencode(str(order["target"])), str(order["owners"])
    limits = LIMITS | _dict(order.get("limits"))
    fd = order["fd"] if "fd" in order else os.open(str(order["blob"]), os.O_RDONLY | os.O_CLOEXEC)
    assert isinstance(fd, int)
    os.mkdir(target, 0o755)  # noqa: PTH102 - pathlib costs this program 6 ms
    try:
        with (
            Tree(target, opaque_attribute(owners)) as tree,
            Stream(lambda n: os.read(fd, n), limits["ratio"], limits["ratio_floor"]) as stream,
        ):
            unpacker = Unpacker(tree, owners, limits)
            unpacker.run(TarReader(iter(stream)), progress or tell_progress)
            size = order.get("size")
            stream.finish(
                str(order.get("digest", "")), str(order.get("diff_id", "")), size if isinstance(size, int) else None
            )
            return {
                "digest": stream.digest, "diff_id": stream.diff_id, "size": stream.bytes_in,
                "bytes": unpacker.bytes, "entries": unpacker.entries, "skipped": unpacker.skipped,
                "implied": sorted(os.fsdecode(path) for path in tree.implied),
                "whiteouts": [os.fsdecode(path) for path in unpacker.whiteouts],
            }  # fmt: skip
    except BaseException:
        _remove(target)
        raise
    finally:
        os.close(fd)


def settle_layer(order: Order) -> Order:
    """Settle *target* upon the layers beneath: see ``settle``."""
    implied, whiteouts = (
        [split(os.fsencode(path)) or [] for path in texts(order[key])] for key in ("implied", "whiteouts")
    )
    lower = [os.fsencode(path) for path in texts(order["lower"])]
    opaque = opaque_attribute(str(order["owners"]))
    return {"changed": settle(os.fsencode(str(order["target"])), implied, whiteouts, lower, opaque)}


def remove_trees(order: Order) -> Order:
    """Remove the trees *paths*; a path that is not there is removed already."""
    for path in texts(order["paths"]):
        _remove(os.fsencode(path))
    return {"removed": len(texts(order["paths"]))}


def list_changes(order: Order) -> Order:
    """What *upper* changes of *lower*: pairs of docker's letter and the path."""
    from jupyter_containers.image.upper import changes  # not when a layer is unpacked

    allow_descriptors()
    lower = [os.fsencode(path) for path in texts(order["lower"])]
    opaque = opaque_attribute(str(order["owners"]))
    found = changes(os.fsencode(str(order["upper"])), lower, opaque)
    return {"changes": [[change.kind, os.fsdecode(change.path)] for change in found]}


def pack_tree(order: Order) -> Order:
    """Pack the tree of descriptor *root* into *output*, which is closed then: its reader sees the end."""
    from jupyter_containers.image.pack import Packer  # not when a layer is unpacked

    allow_descriptors()
    with open(number(order, "output"), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        packer = Packer(number(order, "root"), lambda data: write_all(file, data))
        packer.run()
    return {"entries": packer.entries, "bytes": packer.bytes}


def allow_descriptors() -> None:
    """One for each level of a tree: as many as the system lets us have."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write to a pipe or file without a buffer."""
    data = memoryview(data)
    while data:
        data = data[file.write(data) or 0 :]


def _remove(path: bytes) -> None:
    parent = os.open(posixpath.dirname(path) or b".", DIRECTORY)
    try:
        remove(parent, posixpath.basename(path))
    finally:
        os.close(parent)


def _dict(value: object) -> dict[str, int]:
    return {str(name): int(number) for name, number in value.items()} if isinstance(value, dict) else {}


VERBS: dict[str, Callable[[Order], Order]] = {
    "unpack": unpack,
    "settle": settle_layer,
    "remove": remove_trees,
    "pack": pack_tree,
    "changes": list_changes,
}


if __name__ == "__main__":
    sys.exit(serve(VERBS, sys.argv, "image.unpack", __doc__ or ""))
