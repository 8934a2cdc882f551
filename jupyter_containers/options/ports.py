"""The grammar of ``-p``: ``[[IP:]HOST:]CONTAINER[/PROTOCOL]``, with ranges, as in docker/go-connections nat.

Not here: publishing. This file only says whether the word is well formed.
"""

from __future__ import annotations

import re

from jupyter_containers.errors import InvalidArgument

from .values import Context

_PROTOCOLS = ("tcp", "udp", "sctp")


def publish(word: str, _: Context) -> str:
    """*word* unchanged if it is a port mapping."""
    bare, slash, protocol = word.partition("/")
    if slash and protocol.lower() not in _PROTOCOLS:
        raise InvalidArgument(f"invalid proto: {protocol}", mend="Write tcp or udp.")
    address, host, container = _parts(bare)
    inside = _range(container, "containerPort")
    outside = _range(host, "hostPort") if host else inside
    if len(outside) != len(inside) and len(inside) != 1:
        raise InvalidArgument(f"invalid ranges specified for container and host Ports: {container} and {host}")
    if address:
        _check_address(address)
    return word


def _parts(bare: str) -> tuple[str, str, str]:
    ahead, _colon, container = bare.rpartition(":")
    if match := re.fullmatch(r"\[(.*)\](?::(.*))?", ahead):
        return match[1], match[2] or "", container
    address, _colon, host = ahead.rpartition(":")
    return address, host, container


def _range(text: str, what: str) -> range:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not match or last > 65535 or first > last:
        raise InvalidArgument(f"invalid {what}: {text}", mend="Write it as HOST:CONTAINER, as in 8080:80.")
    return range(first, last + 1)


def _check_address(address: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {address}") from None
