"""Root file systems and image archives for the tests, made of Debian's packages and kept in the cache.

Not here: anything of ours. Archives are made by skopeo and umoci, so that a misunderstanding of the formats shows.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.rigs import cache
from tests.rigs.abilities import need_program

_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n",
}
_FOLDERS = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o755, "root": 0o700, "sys": 0o755, "tmp": 0o1777}
_EPOCH = 1_700_000_000


def busybox_tar() -> Path:
    """A root tar of busybox alone: every applet a symbolic link in ``/bin``; 2 MB."""
    program = need_program("busybox", "busybox-static")
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    key = f"busybox-{Path(program).stat().st_size}.tar"

    def make(path: Path) -> None:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, mode in _FOLDERS.items():
                _add(tar, name, mode, kind=tarfile.DIRTYPE)
            _add(tar, "bin/busybox", 0o755, Path(program).read_bytes())
            for applet in applets:
                if applet != "busybox":
                    _add(tar, f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, link="busybox")
            for name, text in _ACCOUNTS.items():
                _add(tar, name, 0o644, text.encode())

    return cache.kept(key, make)


def _add(
    tar: tarfile.TarFile, name: str, mode: int, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime, entry.type, entry.linkname, entry.size = mode, _EPOCH, kind, link, len(data)
    tar.addfile(entry, io.BytesIO(data))


def busybox_root() -> Path:
    """The same unpacked, for programs that want a folder; never write in it."""
    tar = busybox_tar()

    def make(path: Path) -> None:
        path.mkdir(mode=0o755)
        subprocess.run(["tar", "--no-same-owner", "-C", str(path), "-xf", str(tar)], check=True)
        (path / "root").chmod(0o755)

    return cache.kept(tar.stem, make)


def debian_tar(suite: str = "bookworm") -> Path:
    """A root tar of Debian: minbase and python3-minimal, about 170 MB; a minute to make."""
    need_program("mmdebstrap")

    def make(path: Path) -> None:
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3-minimal", suite, str(path)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH), "TMPDIR": str(path.parent)}
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=900)

    return cache.kept(f"debian-{suite}-python.tar", make)


def archive(root_tar: Path, reference: str, kind: str) -> Path:
    """An image archive of one layer made of *root_tar*.

    Args:
        root_tar: the layer.
        reference: the name it gets, ``debian:bookworm``.
        kind: ``docker`` or ``oci``.
    """
    need_program("umoci")
    need_program("skopeo")
    command = "python3" if "python" in root_tar.name else "sh"

    def make(path: Path) -> None:
        layout = path.parent / "layout"
        _umoci("init", "--layout", str(layout))
        _umoci("new", "--image", f"{layout}:it")
        _umoci("raw", "add-layer", "--image", f"{layout}:it", str(root_tar))
        _umoci("config", "--image", f"{layout}:it", "--config.cmd", command, "--config.env", f"PATH={_PATH}")
        target = f"{kind}-archive:{path}:{reference}"
        copy = ["skopeo", "--insecure-policy", "--tmpdir", str(path.parent), "copy", "--quiet"]
        subprocess.run([*copy, f"oci:{layout}:it", target], check=True, capture_output=True)
        shutil.rmtree(layout)

    return cache.kept(f"{root_tar.stem}.{kind}.tar", make)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _umoci(*words: str) -> None:
    subprocess.run(["umoci", *words], check=True, capture_output=True)
