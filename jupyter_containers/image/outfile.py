"""A file that is there whole or not at all: written beside its name, renamed at the end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image.blobs import storage_errors


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes *path* when the block ends well; else nothing of it stays.

    Only its owner may read it, as docker. What is no regular file (a pipe, /dev/null) is written to as it is.

    Raises:
        InvalidArgument: *path* is a directory, or its directory does not exist or may not be written (docker's words).
    """
    if path.is_dir():
        raise InvalidArgument(f"invalid output path: {str(path)!r} must be a file")
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    with _created(temporary, path) as file:
        try:
            with storage_errors(path):
                yield file
                file.close()
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _created(temporary: Path, path: Path) -> BinaryIO:
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise InvalidArgument(f"invalid output path: directory {str(path.parent)!r} does not exist") from None
    except OSError as error:
        raise InvalidArgument(f"invalid output path: {path}: {(error.strerror or '').lower()}") from None
    return os.fdopen(fd, "wb")
