"""The default network: containers with an address behind a bridge, and a way to the outside.

A helper process, forked by the launcher at the first need, keeps a few finished network namespaces ready: a veth pair
from a bridge to ``eth0``, an address of 10.88.0.0/16, a route, NAT. A container only joins one (setns), which is
faster than making an empty one. The bridge lies

* as root: in the host's network namespace, NAT by nftables;
* unprivileged: in one network namespace per user, joined to the outside by ``pasta`` or ``slirp4netns``.

pyroute2 takes up to a second to import: only this helper does it. Addresses and interfaces vanish with the namespace
of their container, whatever kills it.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import sys
from typing import Any

from kernel_runtime.errors import SetupError
from kernel_runtime.idmap import find_program
from kernel_runtime.probe import Rung

READY = 4  # namespaces kept ready
_START_TIMEOUT = 15.0
_TUN = "/dev/net/tun"


def unavailable(rung: Rung) -> tuple[str, str]:
    """Why there is no way to the outside, and the mend; two empty strings where there is one."""
    if rung is Rung.ROOT:
        return "", ""
    if not (find_program("pasta") or find_program("slirp4netns")):
        return "neither pasta nor slirp4netns is installed", "Install passt (Debian, Ubuntu: apt install passt)."
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{_TUN}: {error.strerror}", f"As root: chmod 0666 {_TUN}."
    return "", ""


class Egress:
    """The launcher's side: takes ready network namespaces from the helper, and starts it when first needed."""

    def __init__(self, rung: Rung, site: str, runtime: str) -> None:
        self._rung, self._site, self._runtime = rung, site, runtime
        self._socket: socket.socket | None = None
        self._pid = 0

    def report(self) -> dict[str, Any]:
        """For ``doctor``: whether there is a way to the outside, and why not."""
        why, mend = unavailable(self._rung)
        return {"outside": not why, "why": why, "mend": mend}

    def take(self) -> int:
        """A descriptor of a ready network namespace; the caller closes it.

        Raises:
            SetupError: none can be had, with the mend.
        """
        why, mend = unavailable(self._rung)
        if why:
            raise SetupError("connect", "network 'default'", why, mend + " Or use --network none.")
        if self._socket is None:
            self._start()
        assert self._socket is not None
        try:
            self._socket.send(b"n")
            data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            self.close()
            raise SetupError("connect", "network 'default'", str(error), "Or use --network none.") from error
        for _, _, payload in ancillary:
            return array.array("i", payload[:4])[0]
        self.close()
        cause = data.decode("utf-8", "replace") or "the network helper ended"
        raise SetupError("connect", "network 'default'", cause, "Or use --network none.")

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _become_helper(theirs, self._rung, self._site, self._runtime)
        theirs.close()
        ours.settimeout(_START_TIMEOUT)
        self._socket = ours

    def ended(self, pid: int) -> bool:
        """A child of the launcher has ended; if it was the helper (true), the next need starts a new one."""
        if pid != self._pid:
            return False
        self.close()
        return True

    def forget(self) -> None:
        """In a monitor: close the launcher's end."""
        if self._socket:
            self._socket.close()

    def close(self) -> None:
        """End the helper; namespaces that containers use live on."""
        if self._socket:
            self._socket.close()
            self._socket = None


def _become_helper(channel: socket.socket, rung: Rung, site: str, runtime: str) -> None:
    code = 1
    try:
        for fd in range(3, 256):
            if fd != channel.fileno():
                try:
                    os.close(fd)
                except OSError:
                    continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.path.append(site)
        from kernel_runtime.bridge import Bridge

        with Bridge(rung, runtime) as bridge:
            _serve(channel, bridge)
        code = 0
    except BaseException as error:  # noqa: BLE001 - told to whoever waits
        try:
            channel.send(f"{type(error).__name__}: {error}".encode()[:4000])
        except OSError:
            pass
    finally:
        os._exit(code)


def _serve(channel: socket.socket, bridge: Any) -> None:
    """Hand out a ready namespace per request, make new ones while nobody waits; until the launcher or the way out ends.

    A namespace without a way out is of no use to anybody: the launcher sees this process end, and starts another.
    """
    ready: list[int] = []
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    if bridge.outside_fd >= 0:
        poll.register(bridge.outside_fd, select.POLLIN)
    while True:
        events = [fd for fd, _ in poll.poll(None if len(ready) >= READY else 0)]
        if not events:
            ready.append(bridge.new_namespace())
            continue
        if bridge.outside_fd in events or not channel.recv(16):
            return
        fd = ready.pop(0) if ready else bridge.new_namespace()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        channel.sendmsg([b"n"], [rights])
        os.close(fd)
