"""Bridge, addresses, routes and NAT of the default network, with pyroute2. Runs only in the helper of :mod:`egress`.

All of it lies in the network namespace in which the helper is: the host's for root, one of its own for ordinary users,
which ``pasta`` or ``slirp4netns`` joins to the outside. Metadata services (169.254.169.254) are never reachable
(ISOLATION 30).
"""

from __future__ import annotations

import ipaddress
import os
import select
import signal
import time
from typing import Any

from kernel_runtime import syscalls as sc
from kernel_runtime.errors import SetupError
from kernel_runtime.idmap import find_program
from kernel_runtime.network import bring_up
from kernel_runtime.probe import Rung

SUBNET = ipaddress.ip_network("10.88.0.0/16")
_BRIDGE, _TABLE = "jc0", "jupyter-containers"
_METADATA = "169.254.169.254"
_OUTSIDE_TIMEOUT = 10.0


class Bridge:
    """The default network of one launcher; a context manager that removes what it added to the host."""

    def __init__(self, rung: Rung, runtime: str) -> None:
        self._rung, self._runtime = rung, runtime
        self._outside = 0
        self.outside_fd = -1  # readable once the way to the outside has ended; -1 for root, who needs no program for it
        self._number = os.getpid() % 4096 * 8
        self._mtu = 1500

    def __enter__(self) -> Bridge:
        """Make bridge and NAT, and the way to the outside where the helper has a namespace of its own."""
        from pyroute2 import IPRoute

        if self._rung is not Rung.ROOT:
            self._outside = _enter_joined_namespace(self._runtime)
            self.outside_fd = os.pidfd_open(self._outside)
        self._route = IPRoute()
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._mtu = self._outside_mtu()
        self._bridge = self._make_bridge()
        _write("/proc/sys/net/ipv4/ip_forward", "1")
        _write(f"/proc/sys/net/ipv6/conf/{_BRIDGE}/accept_ra", "0")
        self._make_nat()
        return self

    def __exit__(self, *_: object) -> None:
        """End the way to the outside; remove the bridge if no container hangs on it any more."""
        if self._outside:
            signal.pidfd_send_signal(self.outside_fd, signal.SIGTERM)  # it is not reaped before: the pid is its own
            os.close(self.outside_fd)
        if self._rung is Rung.ROOT and not self._ports():
            self._route.link("del", index=self._bridge)
            with _nftables() as nft:
                nft.table("del", name=_TABLE)
        self._route.close()

    def _ports(self) -> bool:
        """Whether containers still hang on the bridge; those just gone get a second to vanish."""
        deadline = time.monotonic() + 1.0
        while list(self._route.link("dump", master=self._bridge)):
            if time.monotonic() > deadline:
                return True
            time.sleep(0.02)
        return False

    # -- one namespace -----------------------------------------------------------------------------------------

    def new_namespace(self) -> int:
        """A descriptor of a network namespace with ``lo`` and ``eth0`` up, an address and a default route."""
        from pyroute2 import IPRoute

        address, name = self._next()
        sc.unshare(sc.CLONE_NEWNET)
        try:
            namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            bring_up("lo")
            _write("/proc/sys/net/ipv6/conf/default/accept_ra", "0")
            inner = IPRoute()
        finally:
            sc.setns(self._home, sc.CLONE_NEWNET)
        try:
            peer = {"ifname": "eth0", "net_ns_fd": namespace, "mtu": self._mtu}
            self._route.link("add", ifname=name, kind="veth", peer=peer, master=self._bridge, mtu=self._mtu, state="up")
            index = inner.link_lookup(ifname="eth0")[0]
            inner.addr("add", index=index, address=str(address), prefixlen=SUBNET.prefixlen)
            inner.link("set", index=index, state="up")
            inner.route("add", dst="default", gateway=str(SUBNET[1]))
        except BaseException:
            os.close(namespace)
            raise
        finally:
            inner.close()
        return namespace

    def _next(self) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str]:
        """The next address and interface name that nobody uses: numbers go round, taken ones are passed over."""
        for _ in range(SUBNET.num_addresses):
            self._number = (self._number + 1) % (SUBNET.num_addresses - 3)
            name = f"jcv{self._number:05x}"
            if not self._route.link_lookup(ifname=name):
                return SUBNET[self._number + 2], name
        raise SetupError("connect", "network 'default'", f"all addresses of {SUBNET} are in use")

    # -- bridge and NAT ----------------------------------------------------------------------------------------

    def _outside_mtu(self) -> int:
        """The largest packet that the way to the outside takes, bytes; 1500 where there is no default route."""
        for route in self._route.route("dump", family=2, dst_len=0):
            for link in self._route.link("get", index=route.get_attr("RTA_OIF") or 1):
                return int(link.get_attr("IFLA_MTU"))
        return 1500

    def _make_bridge(self) -> int:
        found = self._route.link_lookup(ifname=_BRIDGE)
        if found:
            return int(found[0])
        self._route.link("add", ifname=_BRIDGE, kind="bridge")
        index = int(self._route.link_lookup(ifname=_BRIDGE)[0])
        self._route.addr("add", index=index, address=str(SUBNET[1]), prefixlen=SUBNET.prefixlen)
        self._route.link("set", index=index, state="up")
        return index

    def _make_nat(self) -> None:
        from pyroute2.nftables.expressions import ipv4addr, masq, verdict

        with _nftables() as nft:
            if any(table.get_attr("NFTA_TABLE_NAME") == _TABLE for table in nft.get_tables()):
                return
            nft.table("add", name=_TABLE)
            nft.chain("add", table=_TABLE, name="postrouting", hook="postrouting", type="nat", priority=100, policy=1)
            nft.chain("add", table=_TABLE, name="forward", hook="forward", type="filter", priority=0, policy=1)
            if self._rung is not Rung.ROOT:
                # Nothing is for this namespace itself. (Debian 12's pasta sends segments without flags: conntrack
                # calls them invalid, does not translate them, and the stack here would reset the connection.)
                nft.chain("add", table=_TABLE, name="input", hook="input", type="filter", priority=0, policy=0)
            nft.rule("add", table=_TABLE, chain="forward", expressions=(ipv4addr(dst=_METADATA), verdict(0)))
            nft.rule("add", table=_TABLE, chain="postrouting", expressions=_leaving(ipv4addr, masq))


def _leaving(ipv4addr: Any, masq: Any) -> tuple[Any, ...]:
    """From the subnet to anywhere but the subnet: masquerade."""
    from pyroute2.netlink.nfnetlink.nftsocket import Cmp

    return ipv4addr(src=str(SUBNET)), ipv4addr(dst=str(SUBNET), op=Cmp.NFT_CMP_NEQ), masq()


def _nftables() -> Any:
    from pyroute2.nftables.main import NFTables

    return NFTables(nfgen_family=2)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _enter_joined_namespace(runtime: str) -> int:
    """Move into a new network namespace that ``pasta`` or ``slirp4netns`` joins to the outside; its pid.

    The program is forked first: it stays in the host's network namespace, to which there is no way back. It finds the
    new one under a bind mount that only this helper and it can see: ``/proc/PID/ns/net`` is closed to a program that
    has given up its capabilities, as pasta does.
    """
    place = os.path.join(runtime, "netns")
    os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    words = _outside_command(place)
    sc.unshare(sc.CLONE_NEWNS)
    ready, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_outside(words, ready, writer)
    os.close(ready)
    sc.unshare(sc.CLONE_NEWNET)
    bring_up("lo")
    sc.mount("/proc/self/ns/net", place, None, sc.MS_BIND)
    os.close(writer)
    _wait_for_route(pid, words[0])
    return pid


def _outside_command(target: str) -> list[str]:
    pasta, slirp = find_program("pasta"), find_program("slirp4netns")
    if pasta:
        return [pasta, "--config-net", "--foreground", "--quiet", "--no-map-gw", "-t", "none", "-u", "none",
                "-T", "none", "-U", "none", "--netns", target]  # fmt: skip
    if slirp:
        return [slirp, "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path", target, "tap0"]
    raise SetupError("connect", "network 'default'", "neither pasta nor slirp4netns is installed")


def _become_outside(words: list[str], ready: int, writer: int) -> None:
    try:
        os.close(writer)
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # pasta takes an inherited SIG_IGN for a failure
        os.read(ready, 1)
        os.execv(words[0], words)
    finally:
        os._exit(127)


def _wait_for_route(pid: int, program: str) -> None:
    pidfd = os.pidfd_open(pid)
    deadline = time.monotonic() + _OUTSIDE_TIMEOUT
    try:
        while time.monotonic() < deadline:
            if select.select([pidfd], [], [], 0.02)[0]:
                raise SetupError("connect", "network 'default'", f"{program} ended at once")
            if _has_default_route():
                return
    finally:
        os.close(pidfd)
    os.kill(pid, signal.SIGKILL)
    raise SetupError("connect", "network 'default'", f"{program} gave no route in {_OUTSIDE_TIMEOUT:.0f} s")


def _has_default_route() -> bool:
    with open("/proc/self/net/route", encoding="ascii") as file:
        return any(line.split()[1] == "00000000" for line in list(file)[1:])
