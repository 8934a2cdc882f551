"""Where a registry is, and which ways to it are allowed: hosts, mirrors, plain http, patience.

Pure. ``docker.io`` lives at ``registry-1.docker.io`` and is found in the mirrors first (docker's
``registry-mirrors``); plain http goes only to loopback and to what is configured (docker's
``insecure-registries``, a host or a network). Not here: connecting.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image.reference import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"
PORTS = {"http": 80, "https": 443}
# Token servers on another host than their registry's, which may have its password all the same.
TOKEN_HOSTS = {"registry-1.docker.io": ("auth.docker.io",), "registry.gitlab.com": ("gitlab.com",)}


@dataclass(frozen=True)
class Timing:
    """How patient to be: seconds, bytes per second, times.

    Attributes:
        connect: for a connection and its TLS.
        answer: until the first byte of an answer; *commit* where the registry first reads what it got.
        window, least: what must come in each so many seconds on the average, in bytes per second.
        document: for a whole manifest, token or error.
        attempts: times in a row without any progress; *ceiling* in all for one blob.
        total: seconds of waiting between them, in all; *longest* at once.
    """

    connect: float = 10.0
    answer: float = 60.0
    commit: float = 300.0
    window: float = 20.0
    least: int = 1024
    document: float = 120.0
    attempts: int = 5
    ceiling: int = 50
    first: float = 0.5
    longest: float = 60.0
    total: float = 180.0


@dataclass(frozen=True)
class Access:
    """What is configured about registries.

    Attributes:
        mirrors: URLs that have docker.io's images.
        insecure: hosts (with a port, perhaps) or networks that may be spoken to without a trusted certificate.
        token_hosts: hosts that may have the password of a registry, by its host.
        docker_config: docker's ``config.json``.
        certificates: folders with ``HOST[:PORT]/*.crt`` (containers-certs.d(5)).
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    token_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    docker_config: Path = Path("~/.docker/config.json")
    certificates: tuple[Path, ...] = ()
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class Endpoint:
    """One way to a registry.

    Attributes:
        domain: whose images they are, as references name it: what credentials are kept under.
        scheme, host, port: where it is.
        verify: whether its certificate must be trusted.
        mirror: whether it only has copies.
    """

    domain: str
    scheme: str
    host: str
    port: int
    verify: bool = True
    mirror: bool = False

    @property
    def url(self) -> str:
        """``https://HOST:443``, to which paths are added."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine."""
        return is_loopback(self.host)

    @property
    def shown(self) -> str:
        """How errors name it."""
        default = self.port == PORTS[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if default else f"{host}:{self.port}"


def endpoints(domain: str, access: Access) -> list[list[Endpoint]]:
    """The places that have the images of *domain*, in the order to ask them; of each the ways to try in turn."""
    mirrors = access.mirrors if domain == DEFAULT_DOMAIN else ()
    return [*(_mirror(url, domain, access) for url in mirrors), own(domain, access)]


def own(domain: str, access: Access) -> list[Endpoint]:
    """The ways to the registry itself."""
    place = urlsplit(f"//{HUB if domain == DEFAULT_DOMAIN else domain}")
    return _ways(domain, place, ("https", "http"), access, False)


def _mirror(url: str, domain: str, access: Access) -> list[Endpoint]:
    place = urlsplit(url)
    if place.scheme not in PORTS or not place.hostname or place.path not in ("", "/") or place.query or place.username:
        raise InvalidArgument(f"not a mirror: {url!r:.200}", "registry mirrors", "Write it as https://HOST[:PORT].")
    ways = _ways(_host_port(place), place, (place.scheme,), access, True)
    if not ways:
        raise InvalidArgument(
            f"the mirror {url} is plain http", "registry mirrors", "Add its host to the insecure registries as well."
        )
    return ways


def _ways(domain: str, place: SplitResult, schemes: tuple[str, ...], access: Access, mirror: bool) -> list[Endpoint]:
    host, port = place.hostname or "", place.port
    insecure, local = is_insecure(host, port, access), is_loopback(host)
    found = {
        scheme: Endpoint(domain, scheme, host, port or PORTS[scheme], not insecure, mirror)
        for scheme in schemes
        if scheme == "https" or insecure or local
    }
    # On loopback plain http is the rule, and nobody listens in.
    order = ("http", "https") if local and not insecure else ("https", "http")
    return [found[scheme] for scheme in order if scheme in found]


def _host_port(place: SplitResult) -> str:
    return place.netloc.rpartition("@")[2]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine, for sure: other names are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_insecure(host: str, port: int | None, access: Access) -> bool:
    """Whether *host* is configured as an insecure registry: by name, name and port, address or network."""
    names = {host, f"{host}:{port}"} if port else {host}
    return any(entry in names or _in_network(host, entry) for entry in access.insecure)


def _in_network(host: str, entry: str) -> bool:
    try:
        return "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def may_have_password(endpoint: Endpoint, host: str, access: Access) -> bool:
    """Whether a token server on *host* may have the password for *endpoint* (ISOLATION 101)."""
    known = (*TOKEN_HOSTS.get(endpoint.host, ()), *access.token_hosts.get(endpoint.domain, ()))
    return host in (endpoint.host, *known, *access.token_hosts.get(endpoint.host, ()))
