"""Names of images in the index, and docker's rules for moving and removing them.

Pure: lists of descriptors in, changed or chosen. The index itself is ``layout``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidReference
from jupyter_containers.image import media, reference
from jupyter_containers.image.reference import Reference

if TYPE_CHECKING:
    from jupyter_containers.image.store import Image


def lenient(text: str) -> Reference | None:
    try:
        return reference.parse(text)
    except InvalidReference:
        return None


def same(wanted: Reference, other: Reference) -> bool:
    """Whether *wanted* asks for *other*: a digest decides where there is one."""
    if wanted.digest:
        return (wanted.name, wanted.digest) == (other.name, other.digest)
    return wanted == other


def asked_by_name(image: Image, name: str) -> list[Reference]:
    """The names that *name* asks to remove; none where it is an id.

    With the last tag of a repository go the digests that it was pulled by.
    """
    wanted = lenient(name)
    found = [other for other in image.names if wanted is not None and same(wanted, other)]
    if not found or wanted is None or wanted.digest:
        return found
    tags = [other for other in image.names if not other.digest and other.name == wanted.name]
    last = tags == found
    return found + [other for other in image.names if last and other.digest and other.name == wanted.name]


def is_single(names: Sequence[Reference]) -> bool:
    """Docker's ``isSingleReference``: an id may stand for at most one tag and its repository's digests."""
    tags = [name for name in names if not name.digest]
    repositories = {name.name for name in names}
    return len(names) <= 1 or (len(tags) <= 1 and len(repositories) == 1)


def name_of(entry: media.JSON) -> str:
    annotations = entry.get("annotations")
    return str(annotations.get(media.REF_NAME, "")) if isinstance(annotations, dict) else ""


def move(entries: list[media.JSON], name: str, target: media.Descriptor) -> None:
    """Let *name* lead to *target* only. An image that loses its last name so stays, without one."""
    for entry in [entry for entry in entries if name_of(entry) == name and entry.get("digest") != target.digest]:
        drop(entries, entry)
    if any(name_of(entry) == name for entry in entries):
        return
    bare = next((e for e in entries if e.get("digest") == target.digest and not name_of(e)), None)
    if bare is None:
        entries.append(bare := target.to_json())
    bare["annotations"] = {**(bare.get("annotations") or {}), media.REF_NAME: name}


def drop(entries: list[media.JSON], entry: media.JSON) -> None:
    if sum(other.get("digest") == entry.get("digest") for other in entries) > 1:
        entries.remove(entry)
    else:
        entry["annotations"] = {k: v for k, v in entry["annotations"].items() if k != media.REF_NAME}
