"""ADD of what is elsewhere: an http(s) URL becomes a file, a git URL a directory, in a private folder.

As BuildKit has it: the file is called as the URL's path ends and has mode 0600; it is not unpacked unless
``--unpack`` says so. When it was changed last (``Last-Modified``) is not told by any file: the same content gives the
same layer. The rules for what comes from a network are the registry client's: a pace, a bound of the size, bounded
retries and redirects, none of which leads to this machine or from https to http (``image.registry``).
https://docs.docker.com/reference/dockerfile/#add
Not here: git (``gitsource``), unpacking (``archives``).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from jupyter_containers.build import gitsource
from jupyter_containers.errors import (
    ApiError,
    ContainersError,
    DigestMismatch,
    InvalidArgument,
    NotFound,
    RegistryError,
    StorageFull,
)
from jupyter_containers.image.registry.access import PORTS, Access, Endpoint
from jupyter_containers.image.registry.redirects import MOST, Place, leads_to
from jupyter_containers.image.registry.retries import trying
from jupyter_containers.image.registry.transport import Answer, Failed, Transport

LIMIT = 16 << 30  # bytes of one file
_UNNAMED = "__unnamed__"  # as docker calls what has no name
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_AGAIN = frozenset([408, 429, 500, 502, 503, 504])

OnBytes = Callable[[int], object]


class Fetched(NamedTuple):
    """What was fetched: an input of the worker.

    Attributes:
        folder: the root of the input.
        source: the input's only source, literally.
        digest: of what was fetched: the key's part, as ``sha256:...``.
    """

    folder: Path
    source: str
    digest: str


def is_remote(source: str) -> bool:
    """Whether ADD fetches *source* instead of looking for it in the context."""
    return source.startswith(("http://", "https://")) or gitsource.is_git(source)


def known_digest(source: str, checksum: str = "") -> str | None:
    """The digest that fetching *source* must have, if that is known before: then a cached step fetches nothing."""
    if gitsource.is_git(source):
        return gitsource.known_digest(gitsource.parse(source, checksum))
    return checksum if checksum.startswith("sha256:") else None


@contextmanager
def fetched(
    source: str,
    area: Path,
    *,
    checksum: str = "",
    keep_git_dir: bool | None = None,
    access: Access | None = None,
    limit: int = LIMIT,
    on_bytes: OnBytes | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Fetched]:
    """What *source* has, in a folder that is gone afterwards.

    Args:
        area: where the folder is made.
        checksum: ``sha256:...`` (also sha384, sha512) of a file, or a commit of a git repository.
        keep_git_dir: whether a repository comes with its ``.git``.
        limit: most bytes of a file.
        on_bytes: is told how many bytes came so far.
        cancelled: ends it when set.

    Raises:
        InvalidArgument: the URL or the checksum is not acceptable. NotFound: nothing is there.
        RegistryUnreachable, ApiError: the server gives no answer, or one that it must not.
        DigestMismatch: it is not what *checksum* says. StorageFull: there is no room.
    """
    area.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fetched-", dir=area))
    cancelled = cancelled or threading.Event()
    try:
        if gitsource.is_git(source):
            ref = gitsource.parse(source, checksum, keep_git_dir)
            yield Fetched(folder, f"/{ref.subdir}", gitsource.checkout(ref, folder, cancelled))
        else:
            download = _Download(source, checksum, access or Access(), limit, on_bytes or (lambda _: None), cancelled)
            yield Fetched(folder, download.name, download.run(folder))
    finally:
        shutil.rmtree(folder)


def file_name(url: str) -> str:
    """What a file from *url* is called.

    >>> file_name("https://host/a/b%20c.tar?x=1#y"), file_name("https://host/")
    ('b c.tar', '__unnamed__')
    """
    name = unquote(urlsplit(url).path, errors="surrogateescape").rstrip("/").rpartition("/")[2]
    return _UNNAMED if name in ("", ".", "..") or "\0" in name or len(os.fsencode(name)) > 255 else name


class _Download:
    """One file."""

    def __init__(
        self, url: str, checksum: str, access: Access, limit: int, on_bytes: OnBytes, cancelled: threading.Event
    ) -> None:
        self.name, self._place, self._checksum = file_name(url), _place(url), _checksum(checksum)
        self._shown = gitsource.shown(url)
        self._limit, self._on_bytes = limit, on_bytes
        self._access, self._cancelled = access, cancelled
        place = self._place
        self._endpoint = Endpoint(place.host, place.scheme, place.host, place.port)
        self._transport = Transport(access, self._endpoint, cancelled)

    def run(self, folder: Path) -> str:
        """Fetch it into *folder*; its digest."""
        try:
            return trying(lambda: self._once(folder / self.name), self._access.timing, self._cancelled)
        except RegistryError as error:
            error.where = self._shown
            error.mend = "Try again later, or put the file into the build context."
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageFull("the disk is too full for it", self._shown, "Free some space.") from error
        finally:
            self._transport.close()

    def _once(self, path: Path) -> str:
        with self._answer() as answer:
            return self._received(answer, path)

    def _answer(self) -> Answer:
        """The answer that has the file, redirects followed."""
        place = self._place
        for _ in range(MOST + 1):
            answer = self._transport.send("GET", place, {})
            if answer.status == 200:
                return answer
            with answer:
                if answer.status not in _REDIRECTS:
                    raise self._unexpected(answer.status)
                place = leads_to(answer.header("Location") or "", place, self._endpoint, plain=True)
        raise ApiError(f"it redirects more than {MOST} times", self._shown)

    def _unexpected(self, status: int) -> ContainersError | Failed:
        if status in _AGAIN:
            return Failed(RegistryError(f"it answered {status}", code=status), True)
        if status in (404, 410):
            return NotFound(f"nothing is there: the server answered {status}", self._shown, "Check the address.")
        return ApiError(f"the server answered {status}", self._shown, "Check the address.", status)

    def _received(self, answer: Answer, path: Path) -> str:
        algorithm, wanted = self._checksum
        hashers, size = {name: hashlib.new(name) for name in {"sha256", algorithm}}, 0
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            for piece in answer.pieces():
                size += len(piece)
                if size > self._limit:
                    raise ApiError(f"it is larger than {self._limit} bytes", self._shown)
                file.write(piece)
                for hasher in hashers.values():
                    hasher.update(piece)
                self._on_bytes(size)
        found = hashers[algorithm].hexdigest()
        if wanted and found != wanted:
            what = f"its digest is {algorithm}:{found} instead of {algorithm}:{wanted}"
            raise DigestMismatch(what, self._shown, "Correct --checksum, or do not trust the file.")
        return "sha256:" + hashers["sha256"].hexdigest()


def _checksum(text: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digits of ``--checksum``; no digits where there is none."""
    if not text:
        return "sha256", ""
    algorithm, _, digits = text.partition(":")
    if len(digits) != _LENGTHS.get(algorithm, -1) or not re.fullmatch("[0-9a-f]+", digits):
        mend = "Write it as `sha256:` and 64 hexadecimal digits (or sha384, sha512)."
        raise InvalidArgument(f"not a digest: {text!r:.200}", "--checksum", mend)
    return algorithm, digits


def _place(url: str) -> Place:
    """The place of a URL that a Dockerfile has.

    Raises:
        InvalidArgument: it is no proper URL, or has a password in it, which the image's history would show.
    """
    shown = gitsource.shown(url)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in PORTS or re.search(r"[\x00-\x20\x7f\\]", url):
        raise InvalidArgument("not a URL to fetch", shown, "Write it as https://HOST/PATH.")
    if parts.username is not None:
        mend = "Use RUN --mount=type=secret instead."
        raise InvalidArgument("a user name or password in a URL would stay in the image's history", host, mend)
    if not url.isascii():
        raise InvalidArgument("a URL has ASCII letters only", shown, "Write others as %XX.")
    return Place(parts._replace(fragment="").geturl(), parts.scheme, host, port or PORTS[parts.scheme])
