"""One request over HTTP and its answer as a stream: the only place that knows urllib3.

Nothing is followed, repeated, decoded or believed here. Every failure comes out as :class:`RegistryUnreachable`;
``again`` says whether another try makes sense. Not here: tokens, redirects, retries (``exchange``).
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers import __version__
from jupyter_containers.errors import RegistryError, RegistryUnreachable
from jupyter_containers.image.registry.access import Access, Endpoint, Timing
from jupyter_containers.image.registry.redirects import Place, is_forbidden
from jupyter_containers.image.registry.secret import Headers

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from jupyter_containers.image.registry.sockets import Pace

PIECE = 1 << 20
AGENT = f"nb-containers/{__version__}"
# Nothing is repeated, followed, read ahead or inflated.
_AS_IT_IS = {
    "retries": False, "redirect": False, "assert_same_host": False, "preload_content": False, "decode_content": False,
}  # fmt: skip

Body = bytes | Iterable[bytes] | None


class Failed(Exception):
    """A request without the answer that was hoped for.

    Args:
        again: whether another try may end otherwise.
        wait: seconds that the registry asks to wait before it.
    """

    def __init__(self, error: RegistryError, again: bool, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.again, self.wait = error, again, wait


class Answer:
    """Status, headers and the body as a stream. A context manager: unread bodies are thrown away."""

    def __init__(self, response: BaseHTTPResponse, place: Place, pace: Pace, timing: Timing) -> None:
        self.status, self.headers, self.place = response.status, response.headers, place
        self._response, self._pace, self._timing = response, pace, timing

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def header(self, name: str) -> str | None:
        """A header's text."""
        value: str | None = self.headers.get(name)
        return value

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes, at most :data:`PIECE` bytes at once.

        Raises:
            Failed: it ended too early, or was too slow.
        """
        while piece := self._read():
            yield piece

    def document(self, limit: int, what: str = "its answer") -> bytes:
        """The whole body, at most *limit* bytes.

        Raises:
            RegistryError: it is longer. Failed: as :meth:`pieces`.
        """
        end, found = time.monotonic() + self._timing.document, bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > limit:
                raise RegistryError(f"{what} is larger than {limit} bytes", f"registry {self.place.host}")
            if time.monotonic() > end:
                raise _too_slow(self.place, f"{what} took longer than {self._timing.document:g} s")
        return bytes(found)

    def close(self) -> None:
        """Give the connection back where nothing is left to read, else close it."""
        self._response.close()

    def _read(self) -> bytes:
        try:
            return self._response.read1(PIECE, decode_content=False)
        except Exception as error:  # noqa: BLE001 - whatever urllib3 raises
            failure = _explained(error, self.place, self._pace)
        raise failure


class Transport:
    """Connections to one registry and to the hosts that it sends us to.

    Args:
        access: what is configured.
        endpoint: the registry; other hosts are looked at by address.
        cancelled: ends every request when set.
    """

    def __init__(self, access: Access, endpoint: Endpoint, cancelled: threading.Event) -> None:
        self._access, self._endpoint, self.cancelled = access, endpoint, cancelled
        self._pools: dict[tuple[str, str, int], Any] = {}
        self._lock = threading.Lock()

    def send(self, method: str, place: Place, headers: Mapping[str, str], body: Body = None, wait: float = 0) -> Answer:
        """Send a request; the answer as soon as its headers are there.

        Args:
            wait: seconds for the first byte of the answer, where it takes longer than usual.

        Raises:
            Failed: there is none.
        """
        from jupyter_containers.image.registry.sockets import Pace, going_by

        timing = self._access.timing
        pace = Pace(timing, wait or timing.answer, self.cancelled)
        going_by(pace)
        shown = Headers({"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
        try:
            # The pool gets another mapping: ours has no repr, should a traceback show it.
            pool = self._pool(place)
            url = place.url if pool.proxy and place.scheme == "http" else _path(place)
            response = pool.urlopen(method, url, body, shown, timeout=self._timeout(), **_AS_IT_IS)
            return Answer(response, place, pace, timing)
        except Exception as error:  # noqa: BLE001 - whatever urllib3 raises
            failure = _explained(error, place, pace)
        raise failure

    def close(self) -> None:
        """Close kept connections."""
        for pool in self._pools.values():
            pool.close()

    def _timeout(self) -> Any:
        from urllib3 import Timeout

        return Timeout(connect=self._access.timing.connect, read=self._access.timing.answer)

    def _pool(self, place: Place) -> Any:
        with self._lock:
            if place.origin not in self._pools:
                self._pools[place.origin] = self._new_pool(place)
            return self._pools[place.origin]

    def _new_pool(self, place: Place) -> Any:
        from jupyter_containers.image.registry.sockets import PlainPool, TlsPool

        options: dict[str, Any] = {"maxsize": 8, "block": False}
        if place.host != self._endpoint.host:
            options["forbidden"] = lambda address: is_forbidden(address, self._endpoint.loopback)
        if place.scheme == "https":
            options["ssl_context"] = self._tls(place)
        if proxy := _proxy(place):
            return _proxied(proxy, place, {**options, "forbidden": None})
        pool = TlsPool if place.scheme == "https" else PlainPool
        return pool(place.host, place.port, **options)

    def _tls(self, place: Place) -> ssl.SSLContext:
        from jupyter_containers.image.registry.sockets import TlsSocket

        context = ssl.create_default_context()
        context.sslsocket_class = TlsSocket
        if place.host == self._endpoint.host and not self._endpoint.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for folder in self._access.certificates:
            _own_certificates(context, folder, place)
        return context


def _own_certificates(context: ssl.SSLContext, folder: Path, place: Place) -> None:
    """``HOST[:PORT]/*.crt`` are trusted, ``X.cert`` with ``X.key`` is shown (containers-certs.d(5))."""
    for name in (f"{place.host}:{place.port}", place.host):
        own = folder.expanduser() / name
        for path in sorted(own.glob("*.crt")):
            context.load_verify_locations(path)
        for path in sorted(own.glob("*.cert")):
            context.load_cert_chain(path, path.with_suffix(".key"))


def _proxy(place: Place) -> str:
    """The proxy that the environment names for *place*, as for every program."""
    from urllib.request import getproxies, proxy_bypass

    if is_forbidden(place.host, False) or proxy_bypass(f"{place.host}:{place.port}"):
        return ""
    return getproxies().get(place.scheme, "")


def _proxied(proxy: str, place: Place, options: dict[str, Any]) -> Any:
    from urllib3 import ProxyManager, make_headers
    from urllib3.util import parse_url

    from jupyter_containers.image.registry.sockets import PlainPool, TlsPool

    auth = parse_url(proxy).auth
    maker = ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=auth) if auth else None)
    maker.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    maker.connection_pool_kw.update(ssl_context=options.get("ssl_context"))
    return maker.connection_from_host(place.host, place.port, place.scheme)


def _path(place: Place) -> str:
    at = place.url.find("/", len(place.scheme) + 3)
    return place.url[at:] if at > 0 else "/"


def _explained(error: Exception, place: Place, pace: Pace) -> Failed:
    """What a failure of urllib3 means for people."""
    from urllib3 import exceptions as e

    from jupyter_containers.image.registry.sockets import ForbiddenAddress

    if isinstance(error, ForbiddenAddress):
        what = f"it sends us to {place.host}, which is {error}: an address that no answer may lead to"
        return Failed(RegistryError(what, f"registry {place.host}"), False)
    where = f"registry {place.host}:{place.port}"
    if pace.why:
        return Failed(_unreachable(f"it is too slow: {pace.why}", where), pace.why != "cancelled")
    if isinstance(error, e.NameResolutionError):
        return Failed(_unreachable("its host name is not known", where, _OFFLINE), False)
    if isinstance(error, e.NewConnectionError):
        return Failed(_unreachable(f"it takes no connection ({_reason(error)})", where, _OFFLINE), False)
    if isinstance(error, e.ConnectTimeoutError):
        return Failed(_unreachable("it takes no connection (timeout)", where, _OFFLINE), False)
    if isinstance(error, (e.SSLError, ssl.SSLError)):
        return _tls_failure(error, where)
    if isinstance(error, e.ProxyError):
        return Failed(_unreachable(f"the proxy does not lead to it ({_reason(error)})", where), False)
    return Failed(_unreachable(f"the connection broke ({_reason(error)})", where), True)


_OFFLINE = "Without a network: images come from an archive (`load`), and `host` needs none."


def _tls_failure(error: Exception, where: str) -> Failed:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        reason = text.partition("verify failed:")[2].partition("(_ssl")[0].strip() or "not trusted"
        mend = "Put its CA into ~/.config/containers/certs.d/HOST:PORT/ca.crt, or name it an insecure registry."
        return Failed(_unreachable(f"its certificate is not trusted ({reason})", where, mend), False)
    return Failed(_unreachable("it does not speak TLS", where, "Plain http must be configured."), False)


def _reason(error: Exception) -> str:
    """The system's own words, as short as they are found."""
    inner: Any = error
    while isinstance(inner, BaseException):
        if isinstance(inner, OSError) and inner.errno:
            return os.strerror(inner.errno).lower()
        last = inner.args[-1] if inner.args else None
        inner = last if isinstance(last, BaseException) else inner.__cause__ or inner.__context__
    return str(error).partition(": ")[2][:120] or str(error)[:120]


def _unreachable(what: str, where: str, mend: str = "") -> RegistryUnreachable:
    return RegistryUnreachable(what, where, mend)


def _too_slow(place: Place, what: str) -> Failed:
    return Failed(_unreachable(f"it is too slow: {what}", f"registry {place.host}:{place.port}"), True)
