"""Published ports in docker's words: ``0.0.0.0:8080->80/tcp, 443/tcp``, runs of ports as ``80-82/tcp``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Port = tuple[int, str, str, int]  # private port, protocol, host address, public port


def flat(ports: Mapping[str, Iterable[Mapping[str, str]] | None]) -> list[Port]:
    """``NetworkSettings.Ports`` as a sorted list; an exposed port that is not published has no address."""
    found: list[Port] = []
    for name, bindings in ports.items():
        number, _slash, protocol = name.partition("/")
        for binding in bindings or [{}]:
            found.append((int(number), protocol, binding.get("HostIp", ""), int(binding.get("HostPort") or 0)))
    return sorted(found, key=lambda port: (port[0], port[2], port[3], port[1]))


def displayable(ports: Mapping[str, Any]) -> str:
    """The PORTS cell of ``ps`` (docker/cli DisplayablePorts)."""
    groups: dict[str, list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for private, protocol, address, public in flat(ports):
        if address and public != private:
            mapped.append(f"{joined(address, str(public))}->{private}/{protocol}")
            continue
        key = f"{address}/{protocol}"
        group = groups.setdefault(key, [private, private])
        if private > group[1] + 1:
            done.append(_group(key, group))
            groups[key] = [private, private]
        group[1] = max(group[1], private)
    return ", ".join([*done, *(_group(key, group) for key, group in groups.items()), *mapped])


def _group(key: str, group: list[int]) -> str:
    address, _slash, protocol = key.rpartition("/")
    text = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{joined(address, text)}->{text}/{protocol}" if address else f"{text}/{protocol}"


def joined(address: str, port: str) -> str:
    """``ADDRESS:PORT``, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def port_lines(ports: Mapping[str, Any]) -> list[str]:
    """The lines of ``docker port NAME``: ``80/tcp -> 0.0.0.0:8080``."""
    return [
        f"{number}/{name} -> {joined(address, str(public))}" for number, name, address, public in flat(ports) if public
    ]
