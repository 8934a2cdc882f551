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
    output       descriptor that was inherited; it is closed at the end, so that its reader sees it.

    The result: ``{"entries": N, "bytes": N}``. Errors: NotFound, InvalidArgument and Conflict for what the
    instruction says, LayerError for what cannot be packed or unpacked.

digest  The digest of what an input reads of a stage: {root, sources, exclude, parents, literal, keep_owners, hashes};
        *hashes* may be the path of a file to remember digests in. The result: ``{"digest": "sha256:..."}``.
"""

from __future__ import annotations

import sys

from jupyter_containers.image.orders import Order, number, serve
from jupyter_containers.image.unpack import VERBS as FILE_VERBS
from jupyter_containers.image.unpack import allow_descriptors, write_all

WORKER = "jupyter_containers.build.worker"


def copy(order: Order) -> Order:
    """Write a layer: see above."""
    from jupyter_containers.build.copying import Copying  # not when a layer is unpacked

    allow_descriptors()
    with open(number(order, "output"), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        return Copying(order, lambda data: write_all(file, data)).run()


def digest(order: Order) -> Order:
    """The digest of what an input reads: see above."""
    from jupyter_containers.build import contents
    from jupyter_containers.build.copying import Input

    allow_descriptors()
    given = Input.of(order)
    hashes = contents.Hashes(str(order["hashes"]) if order.get("hashes") else None)
    found = contents.digest(given.root, given.select(), hashes, given.keep_owners)
    hashes.save()
    return {"digest": found}


VERBS = {**FILE_VERBS, "copy": copy, "digest": digest}


if __name__ == "__main__":
    sys.exit(serve(VERBS, sys.argv, "build.worker", __doc__ or ""))
