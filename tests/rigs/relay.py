"""A port of this machine's loopback made reachable on the same port inside another network namespace.

    python -m tests.rigs.relay SOCKET PORT          (in the namespace: listens on 127.0.0.1:PORT, goes to SOCKET)

dockerd lives in a namespace of its own (:mod:`tests.rigs.dockerd`); a registry that both ends should see needs this.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.rigs.users import CHECKOUT

Connect = Callable[[], socket.socket]


@contextlib.contextmanager
def into_namespace_of(docker_socket: Path, port: int) -> Iterator[None]:
    """While it lasts, ``127.0.0.1:port`` inside dockerd's namespace is the one out here. Needs root."""
    with tempfile.TemporaryDirectory(prefix="nb-relay-", dir="/var/tmp") as folder:
        path = Path(folder) / "s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(64)
            threading.Thread(target=serve, args=(listener, lambda: _tcp(port)), daemon=True).start()
            enter = ["nsenter", "--net", "--target", str(_owner(docker_socket))]
            command = [*enter, sys.executable, "-m", "tests.rigs.relay", str(path), str(port)]
            process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            try:
                assert process.stdout and process.stdout.readline() == b"ready\n"
                yield
            finally:
                process.kill()
                process.wait()


def _owner(path: Path) -> int:
    """The process that listens on a socket (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def serve(listener: socket.socket, connect: Connect) -> None:
    """Join each connection to a new one, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            here, _ = listener.accept()
            there = connect()
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _unix(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.connect(path)
    return found


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as waiting:
        os.write(1, b"ready\n")
        serve(waiting, lambda: _unix(sys.argv[1]))
        time.sleep(1)
