"""ISOLATION A, what reaches a container without a file: sockets, addresses, the environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_isolation import PYTHON, SECRETS, Box
from tests.rigs.abilities import must

ALLOWED = {"PATH", "HOSTNAME", "HOME"}
METADATA = "169.254.169.254:80"


@pytest.fixture
def loopback() -> Iterator[int]:
    """The port of a listener on the host's 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("network", ["none", "default"])
def test_a23_abstract_sockets_of_the_host_are_out_of_reach(box: Box, network: str) -> None:
    """CVE-2020-15257, CDK shim-pwn: neither a socket of the host nor one of our helpers can be connected to or seen."""
    must(network == "none" or box.info()["network"]["outside"], f"no default network on {box.rung}")
    name = f"jc-isolation-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        found = box.probe("abstract", name, network=network)
    assert found == {name: "ECONNREFUSED", "seen": ""}


def test_a23_the_runtime_listens_on_no_abstract_socket(box: Box) -> None:
    """CVE-2020-15257: its sockets have paths, in a folder that is the user's alone."""
    with box.running(box.plain(), "sleep", "60"):
        sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        ours = [line[7] for line in sockets if len(line) > 7 and "jupyter-containers" in line[7]]
        assert ours
        assert not [path for path in ours if path.startswith("@")]
        for folder in (Path(path).parent for path in ours if str(box.folder) in path):
            assert folder.stat().st_mode & 0o077 == 0, folder
            assert folder.stat().st_uid == box.user.uid


def test_a24_no_control_socket_of_the_host_is_seen(facts: dict[str, Any]) -> None:
    """CDK docker_sock_check.go: neither docker's nor podman's nor containerd's, also where the root is the host's."""
    assert facts["control sockets"] == []


@pytest.mark.parametrize("network", ["none", "host"])
def test_a24_no_control_socket_is_visible(box: Box, network: str) -> None:
    """CDK docker_sock_check.go, deepce, CVE-2025-9074: no socket file at all, no DOCKER_HOST, no runtime folder."""
    done = box.sh("find / -xdev -type s; ls -a /run /var/run 2>/dev/null; env", network=network)
    assert done.code == 0 or not done.kind, done
    assert ".sock" not in done.out
    assert "DOCKER_HOST" not in done.out
    assert "jupyter-containers" not in done.out


@pytest.mark.parametrize("init", [False, True])
def test_a25_the_environment_of_the_host_stays_outside(box: Box, init: bool) -> None:
    """CVE-2020-14370: tokens of the engine's process (JUPYTER_TOKEN, AWS_*) are not passed, nor in any /proc/N/environ."""
    done = box.sh("env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'", init=init)
    names = {line.partition("=")[0] for line in done.lines if "=" in line}
    assert names <= ALLOWED | {"PWD", "SHLVL", "OLDPWD"}, names
    assert "host-secret" not in done.out


def test_a25_secrets_of_the_caller_stay_outside(facts: dict[str, Any]) -> None:
    """CVE-2020-14370, of the ``host`` image as well."""
    assert not SECRETS.keys() & facts["environment"].keys()
    assert "host-secret" not in "".join(facts["environment"].values())


def test_a25_variables_go_where_they_are_asked_for_and_nowhere_else(box: Box) -> None:
    """CVE-2021-3602: what one container and one exec got, the next ones do not have."""
    assert "A_SECRET=1" in box.sh("env", env={"A_SECRET": "1"}).lines
    with box.running(box.plain(), "sleep", "60") as container:
        assert "B_SECRET=2" in box.execute(container, "env", environment={"B_SECRET": "2"}).lines
        assert "SECRET" not in box.execute(container, "env").out
    assert "SECRET" not in box.sh("env").out


def test_a29_families_of_sockets(facts: dict[str, Any]) -> None:
    """Moby's profile: AF_ALG and AF_VSOCK are denied; packets and audit belong to the container's own namespaces."""
    found = facts["sockets"]
    assert (found["alg"], found["vsock"]) == ("EPERM", "EPERM")
    assert found["inet"] == "ok"
    assert found["packet"] in ("ok", "EPERM", "EAFNOSUPPORT")  # CAP_NET_RAW is Docker's default; its network is its own
    assert found["audit get"] in ("EPERM", "ECONNREFUSED", "EPROTONOSUPPORT")
    assert facts["namespaces"]["net"] != os.readlink("/proc/self/ns/net")


def test_a29_router_advertisements_are_ignored(networked: Box) -> None:
    """CVE-2020-13401, CVE-2020-10749: a neighbour on the bridge can't become the router."""
    done = networked.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_ra; ip -o addr show eth0", network="default")
    assert done.lines[0] == "0", done
    assert "10.88." in done.out
    if networked.rung == "root":
        assert Path("/proc/sys/net/ipv6/conf/jc0/accept_ra").read_text() == "0\n"


def test_a30_nothing_is_reached_without_a_network(box: Box, loopback: int) -> None:
    """CVE-2024-29018: ``none`` has no route, no name server, no neighbour; its 127.0.0.1 is its own."""
    found = box.probe("connect", f"127.0.0.1:{loopback}", "9.9.9.9:53", METADATA, "10.88.0.1:22")
    assert found.pop(f"127.0.0.1:{loopback}") == "ECONNREFUSED"
    assert set(found.values()) == {"ENETUNREACH"}, found
    done = box.sh("cat /etc/resolv.conf; ip -o link")
    assert "nameserver" not in done.out
    assert [line.split(":")[1].strip() for line in done.lines if "mtu" in line] == ["lo"]


def test_a30_the_loopback_of_the_host_is_out_of_reach(networked: Box, loopback: int) -> None:
    """Kern pentest-ports A, B, H: what listens on the host's 127.0.0.1 is reached by no address of the bridge or pasta."""
    route = networked.sh("ip route", network="default").out
    gateway = re.search(r"default via (\S+)", route)
    assert gateway and gateway[1] == "10.88.0.1", route
    hosts = {"127.0.0.1", gateway[1], "0.0.0.0", "169.254.1.1", "10.0.2.2", *_addresses()}
    found = networked.probe("connect", *(f"{host}:{loopback}" for host in sorted(hosts)), network="default")
    assert "ok" not in found.values(), found


def test_a30_metadata_services_are_out_of_reach(networked: Box) -> None:
    """Tokens of the cloud at 169.254.169.254: dropped by the forward rule of the default network."""
    found = networked.probe("connect", METADATA, "169.254.169.254:8080", network="default")
    assert "ok" not in found.values()
    assert set(found.values()) <= {"timeout", "EHOSTUNREACH", "ENETUNREACH"}, found


def test_a30_a_container_without_network_is_not_reached(networked: Box) -> None:
    """Kern pentest-ports I-L: a listener in a box without network is reached neither from the host nor from another."""
    serve = "import socket, time; s = socket.create_server(('0.0.0.0', 47123)); print('on', flush=True); time.sleep(60)"
    with networked.running(networked.python(), PYTHON, "-I", "-S", "-c", serve) as server:
        while "on" not in networked.logs(server):
            pass
        assert socket.socket().connect_ex(("127.0.0.1", 47123)) != 0
        found = networked.probe("connect", "127.0.0.1:47123", "10.88.0.1:47123", network="default")
        assert "ok" not in found.values()


def _addresses() -> set[str]:
    """The host's own addresses towards the outside."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return set()
        return {probe.getsockname()[0]}
