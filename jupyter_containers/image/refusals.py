"""How unpacking says what it refuses, or what the system refused it.

Names from layers are hostile text: they are shown with control characters escaped, and shortened.
"""

from __future__ import annotations

import errno

from jupyter_containers.errors import ContainersError, LayerError, StorageFull
from jupyter_containers.image.tarheader import Entry


def shown(name: bytes) -> str:
    """A name from a layer, made safe to print: control characters escaped, and not too long."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return text if len(text) <= 200 else text[:200] + "…"


def refused(entry: Entry, why: str) -> LayerError:
    return LayerError(why, f"entry {shown(entry.name)!r}", "The image is damaged or hostile: get it elsewhere.")


def full(entry: Entry) -> StorageFull:
    return StorageFull(
        "the disk is too full to unpack the layer",
        f"entry {shown(entry.name)!r}",
        "Free some space (`system prune` removes unused images), or move the store with JUPYTER_CONTAINERS_HOME.",
    )


def explained(error: OSError, entry: Entry) -> ContainersError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(entry)
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.ENOENT, errno.EISDIR, errno.EFBIG):
        return refused(entry, (error.strerror or "").lower())
    if error.errno == errno.EINVAL and (entry.uid or entry.gid):
        return LayerError(
            f"its owner {entry.uid}:{entry.gid} is beyond the ids this user may give",
            f"entry {shown(entry.name)!r}",
            "Give the user more subordinate ids in /etc/subuid and /etc/subgid.",
        )
    return LayerError(f"cannot be written: {error.strerror}", f"entry {shown(entry.name)!r}")
