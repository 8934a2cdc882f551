"""Logging in and out: a registry is asked whether it takes the credentials before they are kept.

Not here: where they are kept (``credentials``), asking the user (``cli``).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from jupyter_containers.errors import InvalidArgument, RegistryDenied
from jupyter_containers.image import reference
from jupyter_containers.image.reference import DEFAULT_DOMAIN
from jupyter_containers.image.registry.access import Access, own
from jupyter_containers.image.registry.client import Registry
from jupyter_containers.image.registry.credentials import HUB_KEY, Credentials, Login
from jupyter_containers.image.registry.secret import Secret


def domain_of(server: str) -> str:
    """The registry that SERVER of ``login`` means: a host, with port perhaps, or docker's old URLs; "" is docker.io.

    Raises:
        InvalidArgument: it is no host.
    """
    if server in ("", HUB_KEY, DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io"):
        return DEFAULT_DOMAIN
    host = urlsplit(server).netloc if "://" in server else server.partition("/")[0]
    try:
        return reference.parse_name(f"{host}/x").domain if "." in host or ":" in host else _plain(host)
    except InvalidArgument:
        raise InvalidArgument(f"not a registry: {server!r:.200}", mend="Write its host, as in ghcr.io.") from None


def _plain(host: str) -> str:
    if host != "localhost":
        raise InvalidArgument(f"not a registry: {host!r:.200}")
    return host


def login(server: str, username: str, password: Secret, access: Access) -> str:
    """Log in; the helper that keeps the credentials, "" where docker's config.json does.

    Raises:
        RegistryDenied: the registry refuses them.
    """
    domain, who = domain_of(server), Login(username, password)
    with Registry(own(domain, access), "", access, login=who) as registry:
        try:
            registry.ping()
        except RegistryDenied as error:
            what = f"unauthorized: {error.what}"
            raise RegistryDenied(what, error.where, "Look at the user name and the password.", error.code) from None
    return Credentials(access.docker_config).store(domain, who)


def logout(server: str, access: Access) -> bool:
    """Forget the credentials; whether there were any."""
    return Credentials(access.docker_config).erase(domain_of(server))
