"""The three files that Docker writes into every container's /etc: hosts, hostname, resolv.conf."""

from __future__ import annotations

from pathlib import Path

_STUB = Path("/run/systemd/resolve/resolv.conf")  # what systemd-resolved itself asks; docker uses it as well
_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def files(hostname: str, network: str, addresses: dict[str, str]) -> dict[str, str]:
    """Their texts by path.

    Args:
        network: ``host`` takes the host's own hosts file and name servers; ``none`` gets no name server.
        addresses: extra names (``--add-host``) and their addresses.
    """
    extra = "".join(f"{address}\t{name}\n" for name, address in addresses.items())
    hosts = _read(Path("/etc/hosts")) if network == "host" else f"{_HOSTS}127.0.1.1\t{hostname}\n"
    return {
        "/etc/hosts": (hosts or _HOSTS) + extra,
        "/etc/hostname": f"{hostname}\n",
        "/etc/resolv.conf": "" if network == "none" else resolv_conf(network),
    }


def resolv_conf(network: str, path: Path = Path("/etc/resolv.conf"), stub: Path = _STUB) -> str:
    """The host's resolv.conf as a container can use it: a name server on the host's loopback is out of reach."""
    text = _read(path)
    if network == "host":
        return text
    if not _reachable(text):
        text = _read(stub) or text
    kept = [line for line in text.splitlines() if not _is_loopback(line)]
    return "\n".join(kept) + "\n"


def _reachable(text: str) -> bool:
    return any(line.startswith("nameserver") and not _is_loopback(line) for line in text.splitlines())


def _is_loopback(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    import ipaddress  # slow to import

    try:
        return ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
