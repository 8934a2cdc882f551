"""Digests: their grammar, and hashing of what passes by.

A digest names a file of the store and part of a URL, so it is checked before it is used for either
(``sha256:../../x`` is none). https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
"""

from __future__ import annotations

import hashlib
import re

from jupyter_containers.errors import InvalidReference

ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}  # and their digits
_DIGEST = re.compile(r"(sha256|sha384|sha512):([a-f0-9]+)")


def check(digest: str, where: str = "") -> str:
    """*digest*, when it is a well-formed one of an algorithm we know.

    Raises:
        InvalidReference: it is not.
    """
    found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if not found or len(found[2]) != ALGORITHMS[found[1]]:
        raise InvalidReference(
            f"{digest!r:.120} is not a digest", where, "A digest is sha256: and 64 lower-case hexadecimal digits."
        )
    return digest


def is_digest(text: str) -> bool:
    """Whether :func:`check` would take *text*."""
    found = _DIGEST.fullmatch(text)
    return bool(found) and len(found[2]) == ALGORITHMS[found[1]] if found else False


def encoded(digest: str) -> str:
    """The hexadecimal part of a checked digest.

    >>> encoded("sha256:" + 64 * "a") == 64 * "a"
    True
    """
    return check(digest).partition(":")[2]


def algorithm(digest: str) -> str:
    """The algorithm of a checked digest."""
    return check(digest).partition(":")[0]


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of *data*."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer, bottom first: what it is together with all beneath it.

    https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
