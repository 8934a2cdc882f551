"""The verbs of distribution-spec on one repository of one registry.

Not here: what is made of them (``pull``, ``push``), streams of blobs (``download``, ``upload``).
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

from jupyter_containers.errors import DigestMismatch, RegistryError, RegistryUnreachable
from jupyter_containers.image import digest as digests
from jupyter_containers.image import media
from jupyter_containers.image.reference import TAG
from jupyter_containers.image.registry import answers
from jupyter_containers.image.registry.access import Access, Endpoint
from jupyter_containers.image.registry.auth import Scope
from jupyter_containers.image.registry.credentials import Credentials, Login
from jupyter_containers.image.registry.exchange import Exchanges
from jupyter_containers.image.registry.redirects import leads_to
from jupyter_containers.image.registry.transport import Answer

KINDS = (*media.MANIFESTS, *media.INDEXES)
_ACCEPT = {"Accept": ", ".join(KINDS)}
TAGS = 20_000
_PAGE_LIMIT = 4 << 20


@dataclass(frozen=True)
class Document:
    """A manifest or an index as it came: bytes, their digest, and the media type of its header ("" if odd)."""

    data: bytes
    digest: str
    media_type: str


class Registry:
    """One repository of a registry. A context manager.

    Args:
        ways: the ways to it, to be tried in turn (``access.endpoints``).
        path: the repository.
        actions: what the token must allow: ``pull`` or ``pull,push``; *more* scopes beside it.
        login: use this instead of what docker's config has.
    """

    def __init__(
        self,
        ways: list[Endpoint],
        path: str,
        access: Access,
        cancelled: threading.Event | None = None,
        actions: str = "pull",
        login: Login | None = None,
    ) -> None:
        self.path, self.access = path, access
        self.cancelled = cancelled or threading.Event()
        self.scope: Scope = (f"repository:{path}:{actions}",) if path else ()
        self._login = login
        self.exchanges = _reached(ways, lambda way: Exchanges(way, access, lambda: self._find(way), self.cancelled))

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        self.exchanges.close()

    @property
    def endpoint(self) -> Endpoint:
        """The way that led to it."""
        return self.exchanges.endpoint

    def ping(self) -> None:
        """Ask whether it is a registry that takes us; raises where it does not."""
        self.exchanges.ask("GET", "/v2/", self.scope)

    def manifest(self, tag_or_digest: str, digest: str = "", size: int | None = None) -> Document:
        """A manifest or index.

        Args:
            digest, size: what it must have; by tag only the registry's own word is compared.

        Raises:
            DigestMismatch: it is another one. RegistryError: with ``code`` 404 there is none.
        """
        path = f"/v2/{self.path}/manifests/{tag_or_digest}"
        answer, data = self.exchanges.fetch(path, self.scope, media.JSON_LIMIT, _ACCEPT)
        where = f"manifest {tag_or_digest} of {self.endpoint.shown}/{self.path}"
        said = answer.header("Docker-Content-Digest") or ""
        wanted = digest or (said if digests.is_digest(said) else "")
        found = digests.of(data, digests.algorithm(wanted) if wanted else "sha256")
        if (wanted and found != wanted) or size not in (None, len(data)):
            raise DigestMismatch(f"{len(data)} bytes with digest {found} came instead of {wanted}", where)
        kind = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
        known = kind in KINDS or kind.startswith(media.SCHEMA1)
        return Document(data, found, kind if known else "")

    def has_manifest(self, tag_or_digest: str) -> str:
        """The digest of a manifest, by HEAD; "" where there is none."""
        path = f"/v2/{self.path}/manifests/{tag_or_digest}"
        answer = self.exchanges.ask("HEAD", path, self.scope, _ACCEPT, expect=(200, 404))
        said = answer.header("Docker-Content-Digest") or ""
        return said if answer.status == 200 and digests.is_digest(said) else ""

    def tags(self) -> list[str]:
        """All tags of the repository, at most :data:`TAGS`."""
        found: list[str] = []
        path = f"/v2/{self.path}/tags/list"
        while path and len(found) < TAGS:
            answer, data = self.exchanges.fetch(path, self.scope, _PAGE_LIMIT)
            page = _tags(data)
            found += page
            path = self._next(answer) if page else ""
        return list(dict.fromkeys(found))[:TAGS]

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the repository has a blob (of that size)."""
        path = f"/v2/{self.path}/blobs/{digests.check(digest)}"
        answer = self.exchanges.ask("HEAD", path, self.scope, expect=(200, 404))
        return answer.status == 200 and answers.length(answer.header("Content-Length")) in (None, size)

    def put_manifest(self, tag_or_digest: str, data: bytes, media_type: str) -> None:
        """Give the repository a manifest."""
        digest = digests.of(data)
        path = f"/v2/{self.path}/manifests/{tag_or_digest}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        timing = self.access.timing
        answer = self.exchanges.ask("PUT", path, self.scope, headers, lambda: data, (201, 200, 202), timing.commit)
        self.check_digest(answer, digest)

    def check_digest(self, answer: Answer, digest: str) -> None:
        """Raise where the registry says that it took something else."""
        said = answer.header("Docker-Content-Digest") or ""
        if digests.is_digest(said) and said.partition(":")[0] == digest.partition(":")[0] and said != digest:
            raise DigestMismatch(f"it says to have got {said} instead of {digest}", self.exchanges.where)

    def uploads(self, **query: str) -> str:
        """The path to begin an upload at."""
        return f"/v2/{self.path}/blobs/uploads/" + (f"?{urlencode(query)}" if query else "")

    def _next(self, answer: Answer) -> str:
        link = answers.next_page(answer.header("Link"))
        if not link:
            return ""
        place = leads_to(link, answer.place, self.endpoint)
        if place.origin != answer.place.origin:
            raise RegistryError("its next page of tags is on another host", self.exchanges.where)
        return place.url.removeprefix(self.endpoint.url)

    def _find(self, way: Endpoint) -> Login | None:
        return self._login or Credentials(self.access.docker_config).find(way.domain)


def _tags(data: bytes) -> list[str]:
    try:
        tags = json.loads(data).get("tags")
    except (ValueError, AttributeError, RecursionError):
        tags = None
    return [tag for tag in tags if isinstance(tag, str) and TAG.fullmatch(tag)] if isinstance(tags, list) else []


def _reached(ways: list[Endpoint], make: Callable[[Endpoint], Exchanges]) -> Exchanges:
    """The first way that leads to a registry; with one way only, nothing is asked."""
    if len(ways) == 1:
        return make(ways[0])
    failures: list[RegistryError] = []
    for way in ways:
        found = make(way)
        try:
            found.probe()
            return found
        except RegistryError as error:
            found.close()
            failures.append(error)
    # A refused connection says the same both times; a certificate that is not trusted is the more telling failure.
    telling = [
        failure for failure in failures if isinstance(failure, RegistryUnreachable) and "certificate" in failure.what
    ]
    raise (telling or failures)[0]
