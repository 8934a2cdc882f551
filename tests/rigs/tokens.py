"""A token server for the rig's registry: https://distribution.github.io/distribution/spec/auth/jwt/ in its smallest form.

Anybody may pull from ``public/…``; :data:`~tests.rigs.registry.USER` may do everything. What it was asked is kept.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.rigs.registry import PASSWORD, USER, openssl

_SECONDS = 300
_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class TokenServer:
    """One that runs.

    Attributes:
        realm: its URL.
        asked: for each request the scopes and whether it had credentials.
        issued: every token.
    """

    realm: str
    asked: list[tuple[list[str], bool]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)


@contextlib.contextmanager
def running(place: Path) -> Iterator[TokenServer]:
    """A token server on loopback; its certificate is ``place/token.crt``."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=rig tokens",
            "-keyout", place / "token.key", "-out", place / "token.crt")  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = TokenServer(f"http://127.0.0.1:{server.server_address[1]}/token")
    server.rig, server.place = found, place  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        """Give a token for what was asked and may be done."""
        query = parse_qs(urlsplit(self.path).query)
        given = self.headers.get("Authorization")
        scopes = query.get("scope", [])
        self.server.rig.asked.append((scopes, bool(given)))
        if given not in (None, _BASIC):
            return self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
        access = [found for scope in scopes if (found := _granted(scope, given is not None))]
        token = _signed(self.server.place, {"access": access, "sub": USER if given else ""})
        self.server.rig.issued.append(token)
        return self._answer(200, {"token": token, "expires_in": _SECONDS})

    def _answer(self, code: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Nothing."""


def _granted(scope: str, known: bool) -> dict[str, object] | None:
    found = re.fullmatch(r"repository:([a-z0-9/._-]+):([a-z,]+)", scope)
    if not found:
        return None
    public = ["pull"] if found[1].startswith("public/") else []
    actions = found[2].split(",") if known else [each for each in found[2].split(",") if each in public]
    return {"type": "repository", "name": found[1], "actions": actions}


def _signed(place: Path, claims: dict[str, object]) -> str:
    """A JWT, RS256; its certificate comes along."""
    lines = (place / "token.crt").read_text().splitlines()
    certificate = "".join(line for line in lines if "CERTIFICATE" not in line)
    now = int(time.time())
    whole = {"iss": "rig", "aud": "rig", "nbf": now - 10, "iat": now, "exp": now + _SECONDS, "jti": str(time.time_ns())}
    parts = [{"typ": "JWT", "alg": "RS256", "x5c": [certificate]}, whole | claims]
    text = ".".join(_url64(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_url64(openssl('dgst', '-sha256', '-sign', place / 'token.key', data=text.encode()))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
