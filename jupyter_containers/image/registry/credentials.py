"""Docker's credentials: ``config.json`` with ``auths``, ``credsStore`` and ``credHelpers``, read and changed.

Passwords come and go by the file (0600) and by helpers' pipes, never on a command line. A helper's name becomes a
program's name, so it has a grammar (CVE-2021-41092 and its like). What others keep in the file stays.
https://docs.docker.com/reference/cli/docker/login/#credential-stores · https://github.com/docker/docker-credential-helpers
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_containers.errors import InvalidArgument, RegistryDenied
from jupyter_containers.image.locks import locked
from jupyter_containers.image.reference import DEFAULT_DOMAIN
from jupyter_containers.image.registry.secret import Hidden, Secret

HUB_KEY = "https://index.docker.io/v1/"
IDENTITY = "<token>"  # the user name that stands for an identity token
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FILE_LIMIT = 4 << 20
_HELPER_SECONDS = 60


@dataclass(frozen=True)
class Login:
    """A user of a registry. *identity*: the password is a token for the token server, not a password."""

    username: str
    password: Secret
    identity: bool = False

    def basic(self) -> Secret:
        """The value of an ``Authorization: Basic`` header."""
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return Secret("Basic " + base64.b64encode(pair).decode())


def key_of(domain: str) -> str:
    """What a registry is called in the file."""
    return HUB_KEY if domain == DEFAULT_DOMAIN else domain


class Credentials:
    """The file *path*, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()

    def find(self, domain: str) -> Login | None:
        """The login for a registry: from its helper, the store of all, or the file.

        Raises:
            RegistryDenied: the file or the helper is no good.
        """
        config = self._read()
        helper = self._helper(config, domain)
        if helper:
            return _from_helper(helper, key_of(domain))
        auths = _object(config.get("auths"))
        entry = next((auths[name] for name in _names(domain, auths) if isinstance(auths[name], dict)), None)
        return _from_entry(entry, self.path) if entry else None

    def store(self, domain: str, login: Login) -> str:
        """Keep a login; the name of the helper that has it, "" for the file."""
        with self._changing() as config:
            auths = config["auths"] = _object(config.get("auths"))
            helper = self._helper(config, domain)
            if helper:
                auths[key_of(domain)] = {}
                user = IDENTITY if login.identity else login.username
                _run(helper, "store", _for_helper(key_of(domain), user, login.password))
            else:
                auths[key_of(domain)] = _entry(login)
        return helper

    def erase(self, domain: str) -> bool:
        """Forget a login; whether there was one."""
        with self._changing() as config:
            auths = _object(config.get("auths"))
            found = _names(domain, auths)
            for name in found:
                del auths[name]
            helper = self._helper(config, domain)
            if helper:
                _run(helper, "erase", Secret(key_of(domain)))
        return bool(found)

    def _helper(self, config: dict[str, Any], domain: str) -> str:
        helpers = _object(config.get("credHelpers"))
        own = next((helpers[name] for name in _names(domain, helpers)), None)
        name = own or config.get("credsStore") or ""
        if name and not (isinstance(name, str) and _HELPER.fullmatch(name)):
            mend = "A helper's name has letters, digits, - and _."
            raise RegistryDenied(f"not the name of a credential helper: {name!r:.80}", str(self.path), mend)
        return str(name)

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                value = _parsed(file.read(_FILE_LIMIT + 1).strip() or b"{}")
        except FileNotFoundError:
            return Hidden()
        except OSError as error:
            raise RegistryDenied(f"cannot be read: {error.strerror}", str(self.path)) from None
        if value is None:
            raise RegistryDenied("it is not docker's JSON", str(self.path), "Mend or remove it.")
        return value

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The content, to be changed in place; the file is replaced, also behind a symbolic link."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path.resolve()
        with locked(path.with_name(f".{path.name}.lock")):
            config = self._read()
            yield config
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(json.dumps(config, indent="\t"))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def _names(domain: str, table: dict[str, Any]) -> list[str]:
    """The keys of a table that mean the registry: plain, or as the URLs that old dockers wrote."""
    wanted = {key_of(domain), domain} | (
        {"index.docker.io", "registry-1.docker.io"} if domain == DEFAULT_DOMAIN else set()
    )
    return sorted(
        (name for name in table if name in wanted or _host(name) in wanted), key=lambda name: name != key_of(domain)
    )


def _host(name: str) -> str:
    return name.partition("://")[2].partition("/")[0] if "://" in name else name.partition("/")[0]


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else Hidden()


def _parsed(data: bytes | str) -> Hidden | None:
    """The JSON object in *data*, without a repr; None where there is none."""
    try:
        value = json.loads(data, object_hook=Hidden) if len(data) <= _FILE_LIMIT else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Hidden) else None


def _for_helper(server: str, user: str, password: Secret) -> Secret:
    return Secret(json.dumps({"ServerURL": server, "Username": user, "Secret": password.reveal()}))


def _entry(login: Login) -> dict[str, Any]:
    pair = f"{login.username}:{'' if login.identity else login.password.reveal()}"
    entry = Hidden(auth=base64.b64encode(pair.encode()).decode())
    return entry | Hidden({"identitytoken": login.password.reveal()} if login.identity else {})


def _from_entry(entry: dict[str, Any], path: Path) -> Login | None:
    login = _login(entry)
    if login is None and entry.get("auth"):
        raise RegistryDenied("an `auth` in it is not base64 of USER:PASSWORD", str(path), "Log in again.")
    return login


def _login(entry: dict[str, Any]) -> Login | None:
    """What an entry of ``auths`` says; None for nothing, or nothing readable. Raises nothing: it holds the secret."""
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError, TypeError):
            return None
    if isinstance(entry.get("identitytoken"), str) and entry["identitytoken"]:
        return Login(str(username), Secret(entry["identitytoken"]), identity=True)
    return Login(str(username), Secret(str(password).rstrip("\0"))) if username else None


def _from_helper(helper: str, server: str) -> Login | None:
    answer = _run(helper, "get", Secret(server), missing_ok=True)
    if answer is None:
        return None
    value = _parsed(answer.reveal())
    username, secret = (value.get("Username"), value.get("Secret")) if value else (None, None)
    secret = Secret(secret) if isinstance(secret, str) else None
    if not isinstance(username, str) or secret is None:
        raise RegistryDenied("it answered no credentials", f"docker-credential-{helper}")
    return Login(username, secret, identity=username == IDENTITY)


def _run(helper: str, verb: str, data: Secret, missing_ok: bool = False) -> Secret | None:
    """Ask a helper; *data* and the answer may be secrets and go through pipes. None: it has no such credentials."""
    if not _HELPER.fullmatch(helper):
        raise InvalidArgument(f"not the name of a credential helper: {helper!r:.80}")
    program = f"docker-credential-{helper}"
    try:
        code, answer = _piped([program, verb], data)
    except FileNotFoundError:
        mend = "Install it, or take it out of docker's config.json."
        raise RegistryDenied("this credential helper is not installed", program, mend) from None
    except (OSError, subprocess.SubprocessError):
        raise RegistryDenied("the credential helper does not answer", program) from None
    if code == 0:
        return answer
    if missing_ok and "not found" in answer.reveal():
        return None
    # What it printed may hold the secret.
    raise RegistryDenied(f"the credential helper failed at {verb!r} (exit {code})", program)


def _piped(command: list[str], data: Secret) -> tuple[int, Secret]:
    done = subprocess.run(
        command, input=data.reveal(), capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
    )
    return done.returncode, Secret(done.stdout)
