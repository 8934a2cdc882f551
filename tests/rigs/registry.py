"""Real registries on loopback: Debian's ``docker-registry``, plain, with TLS, with a password, with a token server.

Each has a folder of its own and ends with its block. What a registry answers is its own; only the token server is
ours (:mod:`tests.rigs.tokens`). Not here: one that misbehaves (:mod:`tests.rigs.bad_registry`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.rigs.abilities import need_program

USER, PASSWORD = "teacher", "s3cr3t-Pa55word-of-the-rig"
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Rig:
    """A registry that runs.

    Attributes:
        host: ``127.0.0.1:PORT``.
        folder: its files; ``certs.d`` in it is a folder as containers-certs.d(5) where it has TLS.
    """

    host: str
    folder: Path

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.folder / "ca.crt"

    @property
    def certificates(self) -> Path:
        """``HOST:PORT/ca.crt`` lies here."""
        return self.folder / "certs.d"

    @property
    def blobs(self) -> Path:
        """The registry's own files of blobs."""
        return self.folder / "data/docker/registry/v2/blobs/sha256"

    def log(self) -> str:
        """What the registry wrote: one line per request among others."""
        return (self.folder / "log").read_text(errors="replace")


@contextlib.contextmanager
def running(
    tls: bool = False, password: bool = False, token_realm: str = "", folder: Path | None = None
) -> Iterator[Rig]:
    """A registry.

    Args:
        tls: with a certificate of its own CA.
        password: it wants Basic authentication of :data:`USER`.
        token_realm: the URL of a token server whose certificate is ``folder/token.crt``.
        folder: its place; a temporary one otherwise.
    """
    program = need_program("docker-registry")
    place = folder or Path(tempfile.mkdtemp(prefix="nb-registry-", dir="/var/tmp"))
    place.chmod(0o755)
    host = f"127.0.0.1:{free_port()}"
    try:
        config = _config(place, host, tls, password, token_realm)
        (place / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        with (place / "log").open("wb") as log:
            command = [program, "serve", str(place / "config.yml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait(process, place, f"{'https' if tls else 'http'}://{host}/v2/")
            yield Rig(host, place)
        finally:
            process.terminate()
            process.wait(10)
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(place: Path, host: str, tls: bool, password: bool, token_realm: str) -> dict[str, object]:
    http: dict[str, object] = {"addr": host, "secret": "rig", "relativeurls": False}
    if tls:
        make_certificates(place, host)
        http["tls"] = {"certificate": str(place / "server.crt"), "key": str(place / "server.key")}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(place / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if password:
        (place / "htpasswd").write_text(f"{USER}:{_bcrypt(PASSWORD)}\n")
        config["auth"] = {"htpasswd": {"realm": "rig", "path": str(place / "htpasswd")}}
    if token_realm:
        names = {"realm": token_realm, "service": "rig", "issuer": "rig", "rootcertbundle": str(place / "token.crt")}
        config["auth"] = {"token": names}
    return config


def _bcrypt(password: str) -> str:
    """A line of htpasswd: the C library can do it, Perl gives it away."""
    script = 'print crypt($ARGV[0], "\\$2y\\$05\\$" . "abcdefghijklmnopqrstuu")'
    return subprocess.run(["perl", "-e", script, password], check=True, capture_output=True, text=True).stdout


def make_certificates(place: Path, host: str) -> None:
    """``ca.crt``, ``server.crt`` and ``server.key`` in *place*, and ``certs.d/HOST/ca.crt``."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=rig CA",
            "-keyout", place / "ca.key", "-out", place / "ca.crt")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rig",
            "-keyout", place / "server.key", "-out", place / "server.csr")  # fmt: skip
    (place / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", place / "server.csr", "-CA", place / "ca.crt", "-CAkey", place / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", place / "names", "-out", place / "server.crt")  # fmt: skip
    own = place / "certs.d" / host
    own.mkdir(parents=True)
    shutil.copy(place / "ca.crt", own / "ca.crt")


def openssl(*words: str | Path, data: bytes | None = None) -> bytes:
    """Run openssl; its stdout."""
    need_program("openssl")
    return subprocess.run(["openssl", *map(str, words)], input=data, check=True, capture_output=True).stdout


def _wait(process: subprocess.Popen[bytes], place: Path, url: str) -> None:
    context = ssl.create_default_context(cafile=str(place / "ca.crt")) if url.startswith("https") else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
    )
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            opener.open(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # 401 is an answer, too
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"docker-registry did not start: {(place / 'log').read_text(errors='replace')[-500:]}")


def docker_config(folder: Path, host: str = "", user: str = USER, password: str = PASSWORD) -> Path:
    """A docker ``config.json`` with a login for *host*, in *folder*; other programs take its folder."""
    import base64

    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {host: {"auth": auth}} if host else {}}))
    os.chmod(path, 0o600)
    return path
