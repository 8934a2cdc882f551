"""The program that a build's file work is done by, with the containers' ids: all verbs of ``image.unpack``, and more.

    python -P -m jupyter_containers.build.worker ['{"verb": "copy", ...}']

How orders come and answers go is ``image.orders``'s; ``Program(..., module=WORKER)`` starts it. Verbs beside those of
``image.unpack``:

copy    Write the layer that a COPY or ADD makes to *output*: a tar, reproducible to the byte. Fields:

    inputs       list of {root, sources, ignore, ignore_name, exclude, parents, literal, keep_owners, unpack}: what is
                 copied, in order. *root* is an inherited descriptor of a directory: the context (``Context.root``), a
                 stage's merged root, or a folder that something was fetched into; *sources* as written, variables
                 expanded; *ignore* the patterns of ``Context.ignore``, *ignore_name* its file; *exclude* and *parents*
                 the flags; *literal* where the sources are no patterns; *keep_owners* where files stay their owner's
                 (``--from``; else they are 0:0); *unpack* where archives are unpacked (ADD of what is local, or
                 ``--unpack``); *place* is how errors call it. All but *root* and *sources* may be absent.
    documents    list of {name, content}: here-documents, of mode 0644, after the inputs.
    destination  as written, variables expanded; *workdir*: what it is relative to (``/`` by default).
    lower        directories of the layers beneath, top first; none for ``--link``.
    owners       the rung: how owners and opaque directories are recorded in *lower* (``image.apply``).
    chown        ``user[:group]``, names or numbers; absent or empty for none.
    chmod        octal or symbolic, as chmod(1); absent or empty for none.
    epoch        seconds: the time of all entries, and the latest of what an archive has.
    output       descriptor.

    The result: ``{"entries": N, "bytes": N}``. Errors: NotFound, InvalidArgument and Conflict for what the
    instruction says, LayerError for what cannot be packed or unpacked.

layer   Write the layer that a container's writable layer is: {upper, lower, owners, epoch, stubs, user, output}.
        *stubs* are places that were made for mounts, *user* is who the step ran as. The files get the times that the
        tar has: see ``upperlayer``.

folder  Write the layer that makes a folder: {path, lower, owners, chown, epoch, output}.

locate  Where *path* leads in *lower*: {"places": folders to be merged, top first, or one file}.

stubs   What has to be made in *lower* so that there is something at each of *paths*: {"stubs": [...]}, parents first.

cache   Make the folder *path* of a cache mount, with *mode*, *uid* and *gid*, if it is not there; *unpack* is an order
        of ``image.unpack`` for what it begins with, or null.
"""

from __future__ import annotations

import os
import sys

from jupyter_containers.image.apply import opaque_attribute
from jupyter_containers.image.orders import Order, number, serve, texts
from jupyter_containers.image.unpack import VERBS as FILE_VERBS
from jupyter_containers.image.unpack import allow_descriptors, unpack, write_all

WORKER = "jupyter_containers.build.worker"


def copy(order: Order) -> Order:
    """Write a layer: see above."""
    from jupyter_containers.build.copying import Copying  # not when a layer is unpacked

    allow_descriptors()
    output = number(order, "output")
    return Copying(order, lambda data: write_all(output, data)).run()


def layer(order: Order) -> Order:
    """Write a layer from a writable one: see above."""
    from jupyter_containers.build import places
    from jupyter_containers.build.base import Base
    from jupyter_containers.build.owners import runs_as
    from jupyter_containers.build.upperlayer import UpperPacker

    allow_descriptors()
    upper, opaque, output = os.fsencode(str(order["upper"])), _opaque(order), number(order, "output")
    places.take_away(upper, texts(order["stubs"]), opaque)
    user = str(order["user"]) if order["owners"] == "rootless-single" else ""
    creator = runs_as(user, Base(_lower(order), opaque)) if user else (0, 0)
    packer = UpperPacker(
        upper, _lower(order), opaque, number(order, "epoch"), lambda data: write_all(output, data), creator
    )
    packer.run()
    return {"entries": packer.entries, "bytes": packer.bytes}


def folder(order: Order) -> Order:
    """Write the layer of a folder: see above."""
    from jupyter_containers.build import places
    from jupyter_containers.build.base import Base
    from jupyter_containers.build.owners import owner
    from jupyter_containers.image import tarwriter
    from jupyter_containers.image.tarheader import Entry

    lower, opaque, user = _lower(order), _opaque(order), str(order["chown"])
    found = places.folders(lower, str(order["path"]), opaque)
    uid, gid = owner(user, Base(lower, opaque)) if found and user else (0, 0)
    for name in found:
        entry = Entry(os.fsencode(name), "dir")
        entry.mode, entry.uid, entry.gid, entry.mtime_ns = 0o755, uid, gid, number(order, "epoch") * 10**9
        write_all(number(order, "output"), tarwriter.header(entry))
    write_all(number(order, "output"), tarwriter.END)
    return {"entries": len(found), "bytes": 0}


def locate(order: Order) -> Order:
    """Where a path leads: see above."""
    from jupyter_containers.build import places

    found = places.locate(_lower(order), str(order["path"]), _opaque(order))
    return {"places": [os.fsdecode(place) for place in found]}


def stubs(order: Order) -> Order:
    """What is missing: see above."""
    from jupyter_containers.build import places

    return {"stubs": places.missing(_lower(order), texts(order["paths"]), _opaque(order))}


def cache(order: Order) -> Order:
    """The folder of a cache mount: see above."""
    path = str(order["path"])
    if os.path.isdir(path):  # noqa: PTH112 - see image.unpack
        return {}
    content = order.get("unpack")
    if isinstance(content, dict):
        unpack({**content, "target": path, "owners": order["owners"]})
    else:
        os.mkdir(path)  # noqa: PTH102
    os.chown(path, number(order, "uid"), number(order, "gid"))
    os.chmod(path, number(order, "mode"))  # noqa: PTH101
    return {}


def _lower(order: Order) -> list[bytes]:
    return [os.fsencode(path) for path in texts(order["lower"])]


def _opaque(order: Order) -> bytes:
    return opaque_attribute(str(order["owners"]))


VERBS = {
    **FILE_VERBS, "copy": copy, "layer": layer, "folder": folder, "locate": locate, "stubs": stubs,
    "cache": cache,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(serve(VERBS, sys.argv, "build.worker", __doc__ or ""))
