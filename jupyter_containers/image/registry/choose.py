"""From what a reference names to the manifest of one platform: through an index, nested at most once, with bounds.

Not here: the rules of platforms (``image.platforms``), getting documents (``client``).
"""

from __future__ import annotations

from jupyter_containers.errors import InvalidImage, WrongPlatform
from jupyter_containers.image import media, platforms
from jupyter_containers.image.media import Descriptor
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.registry.client import Document, Registry

DEPTH = 2  # an index in an index; more is an attack, or a mistake
_ATTESTATION = "vnd.docker.reference.type"


def image_manifest(registry: Registry, found: Document, wanted: Platform, where: str) -> Document:
    """The manifest of *wanted* that *found* is, or leads to.

    Raises:
        WrongPlatform: the index has none for it.
        InvalidImage: it is nested too deep, or none of both.
    """
    for _ in range(DEPTH + 1):
        kind = found.media_type or _kind(found.data, where)
        if kind not in media.INDEXES:
            return Document(found.data, found.digest, kind)
        chosen = from_index(media.index(found.data, where, kind), wanted, where)
        found = registry.manifest(chosen.digest, chosen.digest, chosen.size)
        found = _as_described(found, chosen, where)
    raise InvalidImage(f"its index is nested more than {DEPTH} deep", where)


def from_index(entries: list[Descriptor], wanted: Platform, where: str) -> Descriptor:
    """The entry of an index that fits *wanted* best; a nested index without a platform may have it as well."""
    images = [
        entry for entry in entries if entry.media_type in media.MANIFESTS and _ATTESTATION not in entry.annotations
    ]
    nested = [entry for entry in entries if entry.media_type in media.INDEXES]
    nowhere = Platform("", "")
    for offered in (images, nested):
        chosen = platforms.best(wanted, [entry.platform or nowhere for entry in offered])
        if chosen is not None:
            return offered[chosen]
    bare = next((entry for entry in nested if entry.platform is None), None)
    if bare is not None:
        return bare
    known = sorted({str(entry.platform) for entry in images if entry.platform and entry.platform.os != "unknown"})
    mend = f"It has {', '.join(known[:12])}: choose with --platform." if known else ""
    raise WrongPlatform(f"no matching manifest for {wanted} in the manifest list entries", where, mend)


def _kind(data: bytes, where: str) -> str:
    """What a document is whose header does not say it."""
    value = media.loads(data, where)
    said = value.get("mediaType")
    if isinstance(said, str) and said in (*media.MANIFESTS, *media.INDEXES):
        return said
    return media.OCI_INDEX if "manifests" in value and "layers" not in value else ""


def _as_described(found: Document, descriptor: Descriptor, where: str) -> Document:
    """The index said what the document is; the header must not say otherwise (CVE-2021-41190)."""
    if found.media_type and found.media_type != descriptor.media_type:
        raise InvalidImage(
            f"its index calls {descriptor.digest} {descriptor.media_type!r}, the registry {found.media_type!r}", where
        )
    return Document(found.data, found.digest, descriptor.media_type)
