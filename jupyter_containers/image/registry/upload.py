"""One blob from the store to a registry: not at all where it is there, mounted where that works, else sent.

Small ones go in one request; larger ones in chunks, so that what broke off is continued where the registry says.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs · Not here: manifests (``push``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from jupyter_containers.errors import ContainersError, RegistryError
from jupyter_containers.image.media import Descriptor
from jupyter_containers.image.registry import answers
from jupyter_containers.image.registry.client import Registry
from jupyter_containers.image.registry.redirects import Place
from jupyter_containers.image.registry.retries import Retries
from jupyter_containers.image.registry.transport import Answer, Failed

CHUNK = 32 << 20  # bytes of one PATCH
_PIECE = 256 << 10  # bytes given to the socket at once: each has its own time
_LARGEST_CHUNK = 256 << 20

OnSent = Callable[[int], None]


class Upload:
    """Sends the blob *item*, whose file is *path*.

    Args:
        on_sent: is told how many bytes are sent.
        chunk: bytes of one request.
    """

    def __init__(self, registry: Registry, item: Descriptor, path: Path, on_sent: OnSent, chunk: int = CHUNK) -> None:
        self._registry, self._item, self._path, self._on_sent = registry, item, path, on_sent
        self._exchanges, self._scope, self._chunk = registry.exchanges, registry.scope, chunk

    def run(self, sources: list[str]) -> str:
        """Do it; the repository that it was mounted from, or "".

        Args:
            sources: repositories of the same registry that may have it.
        """
        for source in sources:
            answer = self._begin(mount=self._item.digest, **{"from": source})
            if answer.status == 201:
                return source
            self._drop(answer)
        retries = Retries(self._registry.access.timing, self._registry.cancelled)
        while True:
            try:
                self._send(retries)
                return ""
            except Failed as failure:
                last = failure
            retries.failed(last)

    def _begin(self, **query: str) -> Answer:
        path = self._registry.uploads(**query)
        headers = {"Content-Length": "0"}
        return self._exchanges.ask("POST", path, self._scope, headers, lambda: b"", (201, 202))

    def _drop(self, answer: Answer) -> None:
        """Take an upload back that a mount, which did not work, began."""
        with suppress(ContainersError):
            place = self._exchanges.location(answer)
            self._exchanges.ask("DELETE", place, self._scope, expect=(200, 202, 204, 404, 405))

    def _send(self, retries: Retries) -> None:
        """One upload from the beginning; what breaks off within is continued."""
        answer = self._begin()
        place, chunk = self._exchanges.location(answer), self._chunk_size(answer)
        if self._item.size > chunk:
            place = self._send_chunks(place, chunk, retries)
            return self._commit(place, None)
        return self._commit(place, self._pieces(0, self._item.size))

    def _chunk_size(self, answer: Answer) -> int:
        """Ours, or what the registry wants at least."""
        least = answers.length(answer.header("OCI-Chunk-Min-Length")) or 0
        return max(self._chunk, min(least, _LARGEST_CHUNK))

    def _send_chunks(self, place: Place, chunk: int, retries: Retries) -> Place:
        at = 0
        while at < self._item.size:
            end = min(at + chunk, self._item.size)
            try:
                answer = self._patch(place, at, end)
                place, at = self._exchanges.location(answer), end
                retries.progressed()
                continue
            except Failed as failure:
                last = failure
            except RegistryError as error:
                if error.code != 416:
                    raise
                last = Failed(error, True, 0)
            retries.failed(last)
            place, at = self._status(place, at)
        return place

    def _patch(self, place: Place, at: int, end: int) -> Answer:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - at),
            "Content-Range": f"{at}-{end - 1}",
        }
        pieces = self._pieces(at, end)
        with self._exchanges.once("PATCH", place, self._scope, headers, pieces, (202, 201, 204)) as answer:
            answer.document(answers.ERROR_LIMIT)
            return answer

    def _status(self, place: Place, at: int) -> tuple[Place, int]:
        """Where an upload goes on, and from which byte; raises Failed where it has to begin anew."""
        try:
            answer = self._exchanges.ask("GET", place, self._scope, expect=(204, 202))
        except RegistryError as error:
            raise Failed(error, True, 0) from None
        there = answers.uploaded(answer.header("Range"))
        where = self._exchanges.location(answer) if answer.header("Location") else place
        return where, min(there, at + self._chunk, self._item.size)

    def _commit(self, place: Place, pieces: Callable[[], Iterator[bytes]] | None) -> None:
        """Say that it is whole, and which digest it has."""
        joint = "&" if "?" in place.url else "?"
        url = f"{place.url}{joint}digest={quote(self._item.digest, safe='')}"
        whole = Place(url, place.scheme, place.host, place.port)
        size = self._item.size if pieces else 0
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        wait = self._registry.access.timing.commit
        expect = (201, 204, 202)
        with self._exchanges.once("PUT", whole, self._scope, headers, pieces or (lambda: b""), expect, wait) as answer:
            answer.document(answers.ERROR_LIMIT)
        self._registry.check_digest(answer, self._item.digest)

    def _pieces(self, at: int, end: int) -> Callable[[], Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            with self._path.open("rb", buffering=0) as file:
                file.seek(at)
                done = at
                while done < end and (piece := file.read(min(_PIECE, end - done))):
                    yield piece
                    done += len(piece)
                    self._on_sent(done)

        return pieces
