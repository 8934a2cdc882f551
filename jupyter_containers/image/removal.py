"""Removing images as docker does: ``rmi`` and ``image prune``, never what a container or another name uses.

Each removal holds ``layout.removing()`` from its look for users to the last removed layer. Whoever makes a container
holds ``layout.using()`` from resolving the image until its record is written, so neither can come between the other's
two steps. Unlike docker, an image in use stays (without a name) even by force: its layers are the container's root.
Source of the rules: moby ``daemon/images/image_delete.go`` and ``image_prune.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_containers.errors import Conflict
from jupyter_containers.image import naming
from jupyter_containers.image.progress import short

if TYPE_CHECKING:
    from jupyter_containers.image.reference import Reference
    from jupyter_containers.image.store import Image, ImageStore, Rows, Users

_REMOVE_IT = "Remove the container first; force removes only the name."


@dataclass
class Removed:
    """What a removal did.

    Attributes:
        rows: docker's: ``{"Untagged": name}`` and ``{"Deleted": digest}``.
        bytes: what its layers took: their files where they were unpacked, else their blobs.
    """

    rows: Rows = field(default_factory=list)
    bytes: int = 0


def remove(store: ImageStore, name: str, force: bool = False, users: Users | None = None) -> Removed:
    """``docker rmi``: take a name away; with the last one, remove the image and what only it needed.

    Args:
        store: where it is.
        name: a reference, or an id (of an image with one tag at most, unless by *force*).
        force: take names away although containers use the image.
        users: the containers of an image id.

    Raises:
        ImageNotFound: there is none.
        Conflict: containers use the image, or an id stands for several names; in docker's words.
    """
    with store.layout.removing():
        image = store.resolve(name)
        inside = (users or _nobody)(image.id)
        names = naming.asked_by_name(image, name)
        if names:
            _check_name(image, name, names, inside, force)
        else:
            _check_id(image, inside, force)
            names = list(image.names)
        return _take_away(store, image, names, keep=bool(inside))


def prune(store: ImageStore, wanted: Callable[[Image], bool], all_unused: bool, users: Users) -> Removed:
    """``docker image prune``: images without a tag, or all that no container uses.

    Args:
        store: where they are.
        wanted: what filters let pass.
        all_unused: ``-a``: tagged images too.
        users: the containers of an image id.
    """
    total = Removed()
    with store.layout.removing():
        for image in store.list():
            if (all_unused or not image.tags) and not users(image.id) and wanted(image):
                done = _take_away(store, image, list(image.names), keep=False)
                total.rows += done.rows
                total.bytes += done.bytes
        total.bytes += _remove_orphans(store)
    return total


def prune_orphans(store: ImageStore) -> int:
    """Remove blobs and layers that no image has and the build cache remembers no more; their bytes."""
    with store.layout.removing():
        return _remove_orphans(store)


def _nobody(_: str) -> dict[str, bool]:
    return {}


def _check_name(image: Image, name: str, names: list[Reference], inside: Mapping[str, bool], force: bool) -> None:
    """A container must not be left with a nameless image, unless by force."""
    if inside and not force and naming.is_single(image.names):
        raise Conflict(
            f'conflict: unable to remove repository reference "{name}" (must force) - container '
            f"{short(next(iter(inside)))} is using its referenced image {image.short_id}",
            mend=_REMOVE_IT,
        )


def _check_id(image: Image, inside: Mapping[str, bool], force: bool) -> None:
    say = f"conflict: unable to delete {image.short_id}"
    running = next((user for user, runs in inside.items() if runs), "")
    if running:
        raise Conflict(
            f"{say} (cannot be forced) - image is being used by running container {short(running)}",
            mend="Stop and remove the container first.",
        )
    if not naming.is_single(image.names) and not force:
        raise Conflict(
            f"{say} (must be forced) - image is referenced in multiple repositories",
            mend=f"Its names: {', '.join(image.tags)}. Remove them one by one, or use force.",
        )
    if inside and not (force and image.names):
        how = "cannot be forced" if force else "must be forced"
        raise Conflict(
            f"{say} ({how}) - image is being used by stopped container {short(next(iter(inside)))}", mend=_REMOVE_IT
        )


def _take_away(store: ImageStore, image: Image, names: list[Reference], keep: bool) -> Removed:
    rows = [{"Untagged": name.familiar} for name in names]
    if not store.untag(image, names, keep):
        return Removed(rows)
    done = _delete(store, image)
    return Removed(rows + done.rows, done.bytes)


def _delete(store: ImageStore, image: Image) -> Removed:
    """Remove what only *image*, which no entry names any more, needed.

    While something is being added, its layers may be needed the next moment: then :func:`prune` removes them.
    """
    sizes = dict(zip((layer.chain_id for layer in store.chain(image)), store.sizes(image), strict=True))
    needed = store.needed()
    gone, freed = [chain_id for chain_id in sizes if chain_id not in needed], 0

    def layers() -> None:
        nonlocal gone, freed
        needed = store.needed()  # now
        gone = [chain_id for chain_id in sizes if chain_id not in needed]
        freed = sum(sizes[chain_id] for chain_id in gone)
        store.unpacked.remove([chain_id for chain_id in gone if store.unpacked.stamp(chain_id)])

    store.layout.sweep(layers)
    store.contents.sweep(diff for other in store.list() for diff in other.config.diff_ids)
    return Removed([{"Deleted": digest} for digest in (image.id, *reversed(gone))], freed)


def _remove_orphans(store: ImageStore) -> int:
    """Blobs, partial ones and unpacked layers that no image has: of a removal or pull that was killed. Their bytes."""
    freed = 0
    partial = store.layout.partial_bytes()

    def layers() -> None:  # only while nothing is being added: a pull unpacks before its image has a name
        nonlocal freed
        needed = store.needed()
        gone = [chain_id for chain_id in store.unpacked.chain_ids() if chain_id not in needed]
        freed += sum(int((store.unpacked.stamp(chain_id) or {}).get("bytes", 0)) for chain_id in gone)
        store.unpacked.remove(gone)

    store.layout.sweep(layers, partial_kept=0)
    store.unpacked.sweep()
    return freed + max(0, partial - store.layout.partial_bytes())
