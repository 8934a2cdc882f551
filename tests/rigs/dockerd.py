"""A dockerd of the tests' own: the oracle for "what docker does", and the peer that benchmarks run beside.

It lives in a network and a mount namespace of its own, so that its bridge, firewall rules and mounts touch nothing of
this machine; callers reach it through its unix socket. Ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_START_SECONDS = 40.0
_INSIDE = "mount --make-rprivate / && ip link set lo up && exec dockerd "


class DockerMissing(Exception):
    """No dockerd can be had here; the text says why."""


def docker(socket: Path, *words: str, stdin: bytes | None = None) -> str:
    """The docker command against *socket*; its stdout.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = ["docker", "-H", f"unix://{socket}", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, check=True)
    return done.stdout.decode()


@contextlib.contextmanager
def running(where: Path = Path("/var/tmp")) -> Iterator[Path]:
    """A dockerd; its socket. Everything of it is gone afterwards.

    Args:
        where: its data lie in a folder there.

    Raises:
        DockerMissing: not root, not installed, or it did not start (its last words).
    """
    if os.geteuid() != 0:
        raise DockerMissing("dockerd needs root")
    for program in ("dockerd", "docker", "unshare", "ip"):
        if not shutil.which(program):
            raise DockerMissing(f"{program} is not installed (Debian package docker.io)")
    folder = Path(tempfile.mkdtemp(prefix="nb-dockerd-", dir=where))
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(_command(folder), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait_until_it_answers(process, folder)
            yield folder / "docker.sock"
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path) -> list[str]:
    options = {
        "data-root": folder / "data",
        "exec-root": folder / "exec",
        "pidfile": folder / "pid",
        "host": f"unix://{folder / 'docker.sock'}",
        "config-file": folder / "none.json",
    }
    (folder / "none.json").write_text("{}")
    words = " ".join(f"--{name}={value}" for name, value in options.items())
    return ["unshare", "--net", "--mount", "sh", "-c", _INSIDE + words]


def _wait_until_it_answers(process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(subprocess.CalledProcessError):
            docker(folder / "docker.sock", "version")
            return
        time.sleep(0.2)
    last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
    raise DockerMissing(f"dockerd did not start: {' '.join(last)[-200:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets it end its containers and its containerd."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
