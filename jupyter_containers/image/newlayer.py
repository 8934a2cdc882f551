"""A layer that is made here: its tar, taken as it comes, becomes a gzip blob of the store.

The header of the gzip has no time and no name in it, so equal tars give equal blobs.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from jupyter_containers.image import media
from jupyter_containers.image.blobs import Incoming

_GZIP = 31  # zlib's wbits: a gzip header around the largest window


class NewLayer:
    """Takes a layer's tar and hands it on, compressed.

    Args:
        blob: where it goes; it is committed by :meth:`finish`.
    """

    def __init__(self, blob: Incoming) -> None:
        self.size = 0
        self._blob, self._hash, self._deflater = blob, hashlib.sha256(), _deflater()

    def write(self, data: bytes) -> None:
        """The next bytes of the tar."""
        self.size += len(data)
        self._hash.update(data)
        self._pass_on(self._deflater.compress(data))

    def finish(self) -> tuple[media.Descriptor, str]:
        """Commit the blob; its descriptor, and the layer's diff id."""
        self._pass_on(self._deflater.flush())
        digest = self._blob.commit()
        return media.Descriptor(media.layer_media_type("gzip"), digest, self._blob.size), (
            "sha256:" + self._hash.hexdigest()
        )

    def close(self) -> None:
        """Nothing more will come, and where it was not finished nothing comes of it."""
        self._blob.close()

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._blob.write(data)


def _deflater() -> Any:
    """isal's, or zlib's where there is none; see ``compression``."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, isal_zlib.DEFLATED, _GZIP)
