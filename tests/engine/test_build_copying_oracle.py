"""COPY and ADD beside docker's own (classic) builder: the same files, or both refuse.

Where BuildKit does otherwise, it is the rule: set-user-id bits stay, and directories on the way to a destination get
the owner of ``--chown`` too.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import ContainersError
from jupyter_containers.image.program import Program
from tests.rigs import copies, trees
from tests.rigs.dockerd import docker

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root")

# Dockerfile line, and what of it our order needs beside sources and destination.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("COPY a /new", {}),
    ("COPY a /new/", {}),
    ("COPY a /x/y/z", {}),
    ("COPY a /app", {}),
    ("COPY a b /app/", {}),
    ("COPY a b /nothing", {}),
    ("COPY dir /app/", {}),
    ("COPY dir /new", {}),
    ("COPY dir other /new/", {}),
    ("COPY . /all/", {}),
    ("COPY dir/ .", {}),
    ("COPY a ./rel/", {}),
    ("COPY *.t /new/", {}),
    ("COPY *.t none* /new/", {}),
    ("COPY none* /new/", {}),
    ("COPY missing /new/", {}),
    ("COPY hidden.log /new/", {}),
    ("COPY dir/*/d [[]b].t /new/", {}),
    ("COPY link /new/", {}),
    ("COPY dirlink/c /new/", {}),
    ("COPY a /way/", {}),
    ("COPY a /way/deep/x", {}),
    ("COPY a /dangling/x", {}),
    ("COPY dir /app/kept", {}),
    ("COPY over /app/", {}),
    ("COPY --chown=web:staff dir /new/", {"chown": "web:staff"}),
    ("COPY --chown=7:8 a /new/", {"chown": "7:8"}),
    ("COPY --chown=7 dir /app/", {"chown": "7"}),
    ("COPY --chown=nobodyknown a /", {"chown": "nobodyknown"}),
    ("ADD plain.tar /new/", {}),
    ("ADD plain.tar.gz /new", {}),
    ("ADD plain.bz2 /app", {}),
    ("ADD a.t plain.tar /new/", {}),
    ("ADD way.tar /app/", {}),
    ("ADD lost.tar /app/", {}),
    ("ADD up.tar /new/", {}),
    ("ADD fake.tar.gz /new/", {}),
]
IGNORE = "*.log\nDockerfile\n.dockerignore\n"


def _tar(*members: tuple[str, str, str], mtime: int = 1000) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, what in members:
            entry = tarfile.TarInfo(name)
            entry.uid, entry.gid, entry.mtime = 7, 8, mtime
            entry.mode = {"d": 0o750, "l": 0o777}.get(kind, 0o640)
            entry.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}[kind]
            entry.linkname = what if kind in "lh" else ""
            entry.size = len(what) if kind == "f" else 0
            tar.addfile(entry, io.BytesIO(what.encode()))
    return out.getvalue()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for name in ("a", "b", "a.t", "[b].t", "hidden.log", "dir/c", "dir/sub/d", "other/e", "over/kept", "over/sub/new"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "dir").chmod(0o711)
    (root / "dir/sub").chmod(0o750)
    (root / "over/sub").chmod(0o711)
    (root / "a").chmod(0o1755)
    (root / "link").symlink_to("a")
    (root / "dirlink").symlink_to("/dir")
    (root / "dir/inner").symlink_to("../../../etc/passwd")
    plain = _tar(
        ("d", "d", ""), ("d/f", "f", "x"), ("l", "l", "/etc/passwd"), ("h", "h", "d/f"), ("deep/er/g", "f", "y")
    )
    (root / "plain.tar").write_bytes(plain)
    (root / "plain.tar.gz").write_bytes(gzip.compress(plain))
    (root / "plain.bz2").write_bytes(bz2.compress(plain))
    (root / "way.tar").write_bytes(
        _tar(("way", "l", "/sub"), ("way/f", "f", "x"), ("sub/g", "f", "y"), ("linked/h", "f", "z"))
    )
    (root / "lost.tar").write_bytes(_tar(("lost/f", "f", "x")))
    (root / "up.tar").write_bytes(_tar(("../out", "f", "x")))
    (root / "fake.tar.gz").write_bytes(gzip.compress(b"no tar"))
    (root / ".dockerignore").write_text(IGNORE)
    return root


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, Path]]:
    """The tar of a root, and it unpacked as a layer."""
    folder = tmp_path_factory.mktemp("base")
    data = _tar(
        ("etc", "d", ""), ("etc/passwd", "f", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n"),
        ("etc/group", "f", "root:x:0:\nweb:x:34:\nstaff:x:50:\n"), ("app", "d", ""), ("app/kept", "f", "kept"), ("app/sub", "d", ""),
        ("app/linked", "l", "../../sub"), ("app/lost", "l", "/sub/none"), ("way", "l", "/app/sub"), ("dangling", "l", "/srv/data"), ("wd", "d", ""),
    )  # fmt: skip
    (folder / "tar").write_bytes(data)
    with Program() as program:
        order = {"verb": "unpack", "blob": str(folder / "tar"), "target": str(folder / "layer"), "owners": "root"}
        program.call(order)
        yield data, folder / "layer"


@pytest.mark.parametrize(("line", "fields"), CASES, ids=[line for line, _ in CASES])
def test_the_same_files_or_both_refuse(
    dockerd: Path, context: Path, base: tuple[bytes, Path], line: str, fields: dict[str, Any]
) -> None:
    data, lower = base
    docker(dockerd, "import", "-c", "WORKDIR /wd", "-", "copying:base", stdin=data)
    theirs, ours = _docker(dockerd, context, line), _ours(context, lower, line, fields)
    if theirs is None or ours is None:
        assert (theirs is None, ours is None) == (True, True)
        return
    before = _rows(data)
    assert {name: row for name, row in theirs.items() if before.get(name) != row} == {
        name: row for name, row in ours.items() if before.get(name) != row
    }


def _rows(data: bytes) -> trees.Tree:
    """All but times, and but what docker puts into every container."""
    own = ("dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")
    found = trees.of_tar(data)
    return {name: [*row[:8], *row[9:]] for name, row in found.items() if not name.startswith(own)}


def _docker(socket: Path, context: Path, line: str) -> trees.Tree | None:
    """What docker's build has in it; None where it refuses."""
    text = f"FROM copying:base\nWORKDIR /wd\n{line}\n".encode()
    command = ["docker", "-H", f"unix://{socket}", "build", "-q", "--no-cache", "-f", "-", str(context)]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, input=text, capture_output=True, env=environment, check=False)
    if done.returncode:
        print(done.stderr.decode())
        return None
    image = done.stdout.decode().strip()
    name = docker(socket, "create", image, "sh").strip()
    exported = subprocess.run(["docker", "-H", f"unix://{socket}", "export", name], capture_output=True, check=True)
    docker(socket, "rm", name)
    docker(socket, "rmi", image)
    return _rows(exported.stdout)


def _ours(context: Path, lower: Path, line: str, fields: dict[str, Any]) -> trees.Tree | None:
    words = [word for word in line.split() if not word.startswith("--")]
    try:
        data = copies.layer(
            context, words[1:-1], words[-1], [lower], workdir="/wd", ignore=IGNORE.split(), unpack=words[0] == "ADD", **fields
        )  # fmt: skip
    except ContainersError:
        return None
    return _rows(data)
