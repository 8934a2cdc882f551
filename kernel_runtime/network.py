"""Network namespaces: a new one with its loopback up.

The way to the outside (bridge, addresses, NAT, pasta) is made by a helper process of the launcher, see
:mod:`kernel_runtime.egress`: pyroute2 is too slow to import on a cell's path.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from kernel_runtime import syscalls as sc

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def new_with_loopback() -> None:
    """Move this process into a new network namespace whose ``lo`` is up."""
    sc.unshare(sc.CLONE_NEWNET)
    bring_up("lo")


def bring_up(interface: str) -> None:
    """Set IFF_UP of *interface* in this process's network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        request = struct.pack("16sh14x", interface.encode(), 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", interface.encode(), flags | _IFF_UP))
