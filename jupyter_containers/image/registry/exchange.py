"""A request as callers mean it: with a token where one is wanted, through redirects, again where that helps.

Not here: what is asked of a registry (``client``), and the rules themselves (``auth``, ``redirects``, ``retries``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from jupyter_containers.errors import RegistryDenied, RegistryError
from jupyter_containers.image.registry import answers
from jupyter_containers.image.registry.access import Access, Endpoint
from jupyter_containers.image.registry.auth import AGAIN, Authorizer, Scope
from jupyter_containers.image.registry.credentials import Login
from jupyter_containers.image.registry.redirects import MOST, Place, leads_to, of_endpoint
from jupyter_containers.image.registry.retries import trying
from jupyter_containers.image.registry.secret import Headers, Secret
from jupyter_containers.image.registry.transport import Answer, Body, Failed, Transport

_REDIRECTS = frozenset([301, 302, 303, 307, 308])

Fresh = Callable[[], Body]  # a body that can be sent again


class Exchanges:
    """Requests to one registry.

    Args:
        find: gives the login, if there is one.
        cancelled: ends everything when set.
    """

    def __init__(
        self, endpoint: Endpoint, access: Access, find: Callable[[], Login | None], cancelled: threading.Event
    ) -> None:
        self.endpoint, self.access, self.cancelled = endpoint, access, cancelled
        self.transport = Transport(access, endpoint, cancelled)
        self.authorizer = Authorizer(endpoint, access, self.transport, find)

    def close(self) -> None:
        """Close kept connections."""
        self.transport.close()

    def fetch(
        self,
        path: str,
        scope: Scope,
        limit: int,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (200,),
    ) -> tuple[Answer, bytes]:
        """GET a document of at most *limit* bytes, trying again where that helps; the (closed) answer and it."""

        def once() -> tuple[Answer, bytes]:
            with self.once("GET", self.place(path), scope, headers, expect=expect) as answer:
                return answer, answer.document(limit)

        return trying(once, self.access.timing, self.cancelled)

    def ask(
        self,
        method: str,
        path: str | Place,
        scope: Scope,
        headers: Mapping[str, str] | None = None,
        body: Fresh | None = None,
        expect: Collection[int] = (200,),
        wait: float = 0,
    ) -> Answer:
        """Send a request whose answer's body nobody wants, trying again where that helps; the answer (closed)."""

        def once() -> Answer:
            with self.once(method, self.place(path), scope, headers, body, expect, wait) as answer:
                if method != "HEAD":
                    answer.document(answers.ERROR_LIMIT)
                return answer

        return trying(once, self.access.timing, self.cancelled)

    def once(
        self,
        method: str,
        place: Place,
        scope: Scope,
        headers: Mapping[str, str] | None = None,
        body: Fresh | None = None,
        expect: Collection[int] = (200,),
        wait: float = 0,
    ) -> Answer:
        """Send a request once; its answer, with one of the statuses *expect*, still to be read and closed.

        Raises:
            RegistryError: it answered something else. Failed: that may be otherwise another time.
        """
        answer, used = self._sent(method, place, scope, headers, body, wait)
        if answer.status == 401 and answer.place.origin == of_endpoint(self.endpoint).origin:
            with answer:
                self.authorizer.challenged(answer.header("WWW-Authenticate") or "", scope, used)
            answer, _ = self._sent(method, place, scope, headers, body, wait)
        if answer.status in expect:
            return answer
        with answer:
            raise self._unexpected(answer, method)

    def probe(self) -> None:
        """See whether the other end speaks HTTP as this way says, without credentials.

        Raises:
            RegistryError: it does not; Go's and nginx's servers answer 400 to plain http on a TLS port.
        """
        try:
            with self.transport.send("GET", self.place("/v2/"), Headers()) as answer:
                if answer.status != 400:
                    return
                failure = RegistryError("it answered 400: it may want https", self.where, code=400)
        except Failed as failed:
            failure = failed.error
        raise failure

    def place(self, path: str | Place) -> Place:
        """The place of a path of the registry."""
        return of_endpoint(self.endpoint, path) if isinstance(path, str) else path

    def location(self, answer: Answer) -> Place:
        """Where an answer's ``Location`` leads to, if anybody may go there."""
        found = answer.header("Location")
        if not found:
            raise RegistryError("it names no Location", self.where, code=answer.status)
        return leads_to(found, answer.place, self.endpoint)

    @property
    def where(self) -> str:
        """How errors name the registry."""
        return f"registry {self.endpoint.shown}"

    def _sent(
        self,
        method: str,
        place: Place,
        scope: Scope,
        headers: Mapping[str, str] | None,
        body: Fresh | None,
        wait: float,
    ) -> tuple[Answer, Secret | None]:
        for _ in range(MOST + 1):
            used = self.authorizer.header(scope) if place.origin == of_endpoint(self.endpoint).origin else None
            whole = Headers(headers or {})
            if used:
                whole["Authorization"] = used.reveal()
            answer = self.transport.send(method, place, whole, body() if body else None, wait)
            if answer.status not in _REDIRECTS:
                return answer, used
            with answer:
                if method not in ("GET", "HEAD"):
                    raise RegistryError(
                        f"it redirects a {method}, which is not followed", self.where, code=answer.status
                    )
                place = self.location(answer)
        raise RegistryError(f"it redirects more than {MOST} times", self.where, code=answer.status)

    def _unexpected(self, answer: Answer, method: str) -> RegistryError | Failed:
        """The error, or the failure worth another try, that an answer's status stands for."""
        body = answer.document(answers.ERROR_LIMIT, "its error") if method != "HEAD" else b""
        said = self.authorizer.hide(answers.error_text(body)) if body else ""
        where = self.where if answer.place.host == self.endpoint.host else f"{self.where} by way of {answer.place.host}"
        what = f"it answered {answer.status}" + (f" ({said})" if said else "")
        if answer.status in AGAIN:
            mend = "It limits how often one may ask: log in, or wait." if answer.status == 429 else ""
            error = RegistryError(what, where, mend, answer.status)
            return Failed(error, True, answers.retry_after(answer.header("Retry-After")))
        if answer.status in (401, 403):
            mend = f"Log in to {self.endpoint.domain} with a user that may do this."
            return RegistryDenied(what, where, mend, answer.status)
        return RegistryError(what, where, code=answer.status)
