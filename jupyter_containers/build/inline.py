"""A cache inside of an image: which steps gave which of its layers, for machines that have the image and not the cache.

Written only when asked for (docker's ``--cache-to type=inline``), read only from images that the user names
(``--cache-from``): an image can claim anything, and who names it believes it. Only steps whose layers are in the image
can be in it, as with BuildKit's inline cache. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from jupyter_containers.build.cache import Result
from jupyter_containers.build.state import State, of_image
from jupyter_containers.image import digest as digests
from jupyter_containers.image.store import Image

ANNOTATION = "org.nb-containers.build.cache"


def written(results: Mapping[str, Result], final: State) -> dict[str, str]:
    """The annotation of the manifest of *final*: keys of steps, and the diff ids of what they gave (or nothing)."""
    layers = set(final.diff_ids)
    found = {
        key: result.layer.diff_id if result.layer else ""
        for key, result in sorted(results.items())
        if result.layer is None or result.layer.diff_id in layers
    }
    return {ANNOTATION: json.dumps(found, sort_keys=True, separators=(",", ":"))}


def read(image: Image) -> dict[str, Result]:
    """The results that an image claims; none where it claims none, or nonsense."""
    try:
        claimed = json.loads(image.manifest.annotations.get(ANNOTATION, "{}"))
    except ValueError:
        return {}
    if not isinstance(claimed, dict):
        return {}
    state = of_image(image, None)
    layers = {layer.diff_id: layer for layer in state.layers}
    chains = dict(zip(state.diff_ids, digests.chain_ids(state.diff_ids), strict=True))
    return {
        key: Result(layers.get(diff_id), chains.get(diff_id, ""), 0, f"from {image.shown}")
        for key, diff_id in claimed.items()
        if digests.is_digest(key) and (diff_id == "" or diff_id in layers)
    }
