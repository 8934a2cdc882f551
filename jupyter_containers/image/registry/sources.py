"""From which repositories a blob came or went to: what lets a push mount it instead of sending it again.

One small file per blob, ``images/.sources/<digest>``, with ``HOST/REPOSITORY`` a line, newest first. Only a hint: a
registry that does not have it says so, and the blob is sent.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from jupyter_containers.errors import InvalidReference
from jupyter_containers.image import digest as digests
from jupyter_containers.image import reference

_MOST = 8


def note(folder: Path, digest: str, name: str) -> None:
    """The blob is in the repository *name* (``docker.io/library/debian``)."""
    known = _lines(folder, digest)
    if known[:1] == [name]:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / digests.encoded(digest)
    temporary = folder / f".{secrets.token_hex(8)}"
    try:
        temporary.write_text("\n".join([name, *(other for other in known if other != name)][:_MOST]) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def others(folder: Path, digest: str, domain: str, path: str) -> list[str]:
    """Other repositories of the registry *domain* that have the blob, newest first."""
    found = []
    for line in _lines(folder, digest):
        try:
            name = reference.parse_name(line)
        except InvalidReference:
            continue
        if name.domain == domain and name.path != path:
            found.append(name.path)
    return found


def _lines(folder: Path, digest: str) -> list[str]:
    try:
        return (folder / digests.encoded(digest)).read_text(errors="replace").splitlines()[:_MOST]
    except FileNotFoundError:
        return []
