"""Where an answer may send us: redirects, upload locations, token servers.

Pure. The rules (ISOLATION 101 and 102; CVE-2018-18074, CVE-2020-15157, CVE-2023-32681): credentials stay with
scheme, host and port; https never becomes http; nothing leads to this machine or to link-local addresses (a cloud's
metadata), except that a registry on loopback may name loopback. A host name is checked again by the address that it
turns out to have (``sockets``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from jupyter_containers.errors import RegistryError
from jupyter_containers.image.registry.access import PORTS, Endpoint, is_loopback
from jupyter_containers.text.neutral import one_line

MOST = 5
_URL_LIMIT = 8192
_ODD = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")
# Metadata services that are not link-local: AWS over IPv6, Alibaba.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))


@dataclass(frozen=True)
class Place:
    """A checked absolute URL."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to."""
        return self.scheme, self.host, self.port


def of_endpoint(endpoint: Endpoint, path: str = "") -> Place:
    """The place of a path of a registry."""
    return Place(endpoint.url + path, endpoint.scheme, endpoint.host, endpoint.port)


def leads_to(location: str, current: Place, endpoint: Endpoint, plain: bool = False) -> Place:
    """The place that *location*, relative or not, means when *current* answers with it.

    Args:
        plain: whether plain http may lead to plain http elsewhere: where nothing is at stake but what is fetched.

    Raises:
        RegistryError: nobody may be sent there.
    """
    place = _absolute(location, current, endpoint)
    if place.origin == current.origin:
        return place
    if is_forbidden(place.host, endpoint.loopback):
        raise _refused(location, "it leads to this machine or to an address of its own network link", endpoint)
    if place.scheme == "http" and "https" in (current.scheme, endpoint.scheme):
        raise _refused(location, "it goes from https to plain http", endpoint)
    if plain:
        return place
    if place.scheme == "http" and place.host != endpoint.host and not (endpoint.loopback and is_loopback(place.host)):
        raise _refused(location, "it is plain http on another host", endpoint)
    return place


def _absolute(location: str, current: Place, endpoint: Endpoint) -> Place:
    if len(location) > _URL_LIMIT or _ODD.search(location):
        raise _refused(location, "it is no proper URL", endpoint)
    try:
        url = urljoin(current.url, location)
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _refused(location, "it is no proper URL", endpoint) from None
    if parts.scheme not in PORTS or not host:
        raise _refused(location, "only http and https lead to images", endpoint)
    if parts.username is not None:
        raise _refused(location, "it has a user name in it", endpoint)
    return Place(parts._replace(fragment="").geturl(), parts.scheme, host, port or PORTS[parts.scheme])


def is_forbidden(host: str, loopback_allowed: bool) -> bool:
    """Whether a host, by its address, is one that no answer may send us to; other names are nobody's yet."""
    if is_loopback(host) or host.endswith(".localhost"):
        return not loopback_allowed
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # What the C library takes for an address as well: 2130706433, 0x7f.1, 127.1
        return bool(re.fullmatch(r"(?:0x[0-9a-fA-F]*|\d+)(?:\.(?:0x[0-9a-fA-F]*|\d+))*", host))
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return not loopback_allowed
    return address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA


def _refused(location: str, why: str, endpoint: Endpoint) -> RegistryError:
    text = one_line(location.partition("?")[0])[:200]  # what follows may be a signature
    return RegistryError(f"it sends us to {text!r}, which is refused: {why}", f"registry {endpoint.shown}")
