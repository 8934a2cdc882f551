"""Answering a registry's challenges: Bearer tokens by scope, or Basic.

A password goes only to the registry, or to a token server that may have it (``access.may_have_password``); a token
goes only to the registry that it was got for, for the scopes that it was got for (CVE-2019-10214, ISOLATION 101).
https://distribution.github.io/distribution/spec/auth/token/ · Not here: where credentials are kept (``credentials``).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from jupyter_containers.errors import RegistryDenied, RegistryError
from jupyter_containers.image.registry import answers, challenge
from jupyter_containers.image.registry.access import Access, Endpoint, may_have_password
from jupyter_containers.image.registry.challenge import Challenge
from jupyter_containers.image.registry.credentials import Login
from jupyter_containers.image.registry.redirects import Place, leads_to, of_endpoint
from jupyter_containers.image.registry.secret import Headers, Secret, redacted
from jupyter_containers.image.registry.transport import AGENT, Answer, Failed, Transport

Scope = tuple[str, ...]
AGAIN = frozenset([408, 429, 500, 502, 503, 504])

_ANSWER_LIMIT = 1 << 20
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
_LEAST_SECONDS, _EARLIER = 60.0, 10.0


class Authorizer:
    """What to send as ``Authorization`` to one registry.

    Args:
        find: gives the login, if there is one; asked when the registry first wants something.
    """

    def __init__(
        self, endpoint: Endpoint, access: Access, transport: Transport, find: Callable[[], Login | None]
    ) -> None:
        self._endpoint, self._access, self._transport, self._find = endpoint, access, transport, find
        self._tokens: dict[Scope, tuple[Secret, float]] = {}
        self._basic: Secret | None = None
        self._login: Login | None = None
        self._asked = False
        self._lock = threading.Lock()
        self.username = ""

    def header(self, scope: Scope) -> Secret | None:
        """The header's value for a request of that scope, where it is known."""
        token, until = self._tokens.get(scope, (None, 0.0))
        return token if token and time.monotonic() < until else self._basic

    def challenged(self, header: str, scope: Scope, used: Secret | None) -> None:
        """Get what the challenge *header* wants, which answered *used*; another thread may have been faster.

        Raises:
            RegistryDenied: nothing that we have would do. Failed: the token server does not answer.
        """
        with self._lock:
            if (known := self.header(scope)) is not None and known != used:
                return
            found = {item.scheme: item for item in reversed(challenge.parse(header))}
            if "bearer" in found:
                self._tokens[scope] = self._token(found["bearer"], scope)
            elif "basic" in found:
                self._basic = self._by_password(used)
            else:
                raise self._denied("it wants to know who we are in a way that is not known here")

    def hide(self, text: str) -> str:
        """*text* without our secrets."""
        known = [token for token, _ in self._tokens.values()]
        known += [self._login.password, self._login.basic()] if self._login else []
        plain = [Secret(each.reveal().partition(" ")[2]) for each in known]
        return redacted(text, [*known, *(secret for secret in plain if secret)])

    def _who(self) -> Login | None:
        if not self._asked:
            self._login, self._asked = self._find(), True
            self.username = self._login.username if self._login else ""
        return self._login

    def _by_password(self, used: Secret | None) -> Secret:
        login = self._who()
        if login is None:
            raise self._denied("it wants a user name and a password")
        if login.identity or used == login.basic():
            raise self._denied(f"it refuses the credentials of {login.username!r}")
        return login.basic()

    # --- tokens ---

    def _token(self, wanted: Challenge, scope: Scope) -> tuple[Secret, float]:
        realm, login = wanted.get("realm"), self._who()
        if not realm:
            raise self._denied("it wants a token and does not say from where")
        place = leads_to(realm, of_endpoint(self._endpoint), self._endpoint)
        if login and not may_have_password(self._endpoint, place.host, self._access):
            setting = f"JUPYTER_CONTAINERS_TOKEN_HOSTS={self._endpoint.domain}={place.host}"
            what = f"it wants its password sent to {place.host}, which is another host"
            raise self._denied(what, f"If that is its token server, set {setting}.")
        with self._ask(place, wanted, scope, login) as answer:
            return self._read(answer, login)

    def _ask(self, place: Place, wanted: Challenge, scope: Scope, login: Login | None) -> Answer:
        fields = [("service", wanted.get("service"))] + [("scope", each) for each in scope]
        fields = [(name, value) for name, value in fields if value]
        headers = Headers({"Accept": "application/json"})
        if login and login.identity:
            form = {"grant_type": "refresh_token", "client_id": AGENT.partition("/")[0], "scope": " ".join(scope)}
            form |= {"service": wanted.get("service"), "refresh_token": login.password.reveal()}
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self._transport.send("POST", place, headers, urlencode(form).encode())
        if login:
            fields.append(("account", login.username))
            headers["Authorization"] = login.basic().reveal()
        joint = "&" if urlsplit(place.url).query else "?"
        url = f"{place.url}{joint}{urlencode(fields)}" if fields else place.url
        return self._transport.send("GET", Place(url, place.scheme, place.host, place.port), headers)

    def _read(self, answer: Answer, login: Login | None) -> tuple[Secret, float]:
        body = answer.document(_ANSWER_LIMIT, "a token")
        where = f"token server {answer.place.host}"
        if answer.status in AGAIN:
            failure = RegistryError(f"it answered {answer.status}", where, code=answer.status)
            raise Failed(failure, True, answers.retry_after(answer.header("Retry-After")))
        if answer.status in (401, 403) and login:
            raise self._denied(f"its token server refuses the credentials of {login.username!r}")
        if answer.status != 200:
            text = self.hide(answers.error_text(body))
            raise self._denied(f"its token server answered {answer.status} {text}".strip())
        try:
            value = json.loads(body)
            token = value.get("token") or value.get("access_token")
            seconds = float(value.get("expires_in") or _LEAST_SECONDS)
        except (ValueError, TypeError, AttributeError, RecursionError):
            token, seconds = None, 0.0
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RegistryError("it answered no token", where)
        return Secret(f"Bearer {token}"), time.monotonic() + max(seconds, _LEAST_SECONDS) - _EARLIER

    def _denied(self, what: str, mend: str = "") -> RegistryDenied:
        name = "" if self._endpoint.domain == "docker.io" else f" {self._endpoint.domain}"
        return RegistryDenied(what, f"registry {self._endpoint.shown}", mend or f"Log in: `login{name}`.", 401)
