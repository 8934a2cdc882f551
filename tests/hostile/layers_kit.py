"""Tars written byte by byte, and a store with a victim beside it: what the tests of hostile layers are made of.

Every test runs on the ``root`` rung, on ``rootless`` (a namespace of 65536 ids) and on
``rootless-single`` (an ordinary user's namespace that maps one id). After
each, the victim must be as it was and the store must hold nothing half done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jupyter_containers.errors import ContainersError
from jupyter_containers.image import digest, media, reference
from jupyter_containers.image.compression import detect
from jupyter_containers.image.store import Image, ImageStore

NOBODY = 65534
MAPPED = 100_000  # what 0 is on the rootless rung; 65536 ids are mapped from here
AS_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
END = bytes(1024)


def number(value: int, width: int) -> bytes:
    """A numeric field: octal where it fits, base 256 otherwise."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    raw = bytearray(value.to_bytes(width, "big", signed=True))
    raw[0] |= 0x80
    return bytes(raw)


def header(
    name: str | bytes, flag: bytes = b"0", size: int = 0, link: str | bytes = b"", mode: int = 0o644, uid: int = 0,
    gid: int = 0, mtime: int = 1, device: tuple[int, int] = (0, 0), magic: bytes = b"ustar\00000", tail: bytes = b"",
    size_field: bytes = b"",
) -> bytes:  # fmt: skip
    """One header block; *tail* overwrites from byte 345 (prefix or GNU fields)."""
    raw = bytearray(512)
    raw[0:100] = os.fsencode(name)[:100].ljust(100, b"\0")
    raw[100:108], raw[108:116], raw[116:124] = number(mode, 8), number(uid, 8), number(gid, 8)
    raw[124:136], raw[136:148] = size_field or number(size, 12), number(mtime, 12)
    raw[156:157] = flag
    raw[157:257] = os.fsencode(link)[:100].ljust(100, b"\0")
    raw[257:265] = magic
    raw[329:337], raw[337:345] = number(device[0], 8), number(device[1], 8)
    raw[345 : 345 + len(tail)] = tail
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: dict[str, bytes], flag: bytes = b"x") -> bytes:
    """A pax header with *records*."""
    lines = b""
    for key, value in records.items():
        rest = b" " + os.fsencode(key) + b"=" + value + b"\n"
        length = len(rest)
        while length != len(b"%d" % length) + len(rest):
            length = len(b"%d" % length) + len(rest)
        lines += b"%d" % length + rest
    return header("pax", flag, len(lines)) + pad(lines)


def file(name: str | bytes, data: bytes = b"", **more: object) -> bytes:
    return header(name, b"0", len(data), **more) + pad(data)  # type: ignore[arg-type]


def folder(name: str | bytes, mode: int = 0o755, **more: object) -> bytes:
    return header(name, b"5", mode=mode, **more)  # type: ignore[arg-type]


def symlink(name: str | bytes, target: str | bytes) -> bytes:
    long = pax({"linkpath": os.fsencode(target)}) if len(os.fsencode(target)) > 100 else b""
    return long + header(name, b"2", link=target, mode=0o777)


def hardlink(name: str | bytes, target: str | bytes, **more: object) -> bytes:
    long = pax({"linkpath": os.fsencode(target)}) if len(os.fsencode(target)) > 100 else b""
    return long + header(name, b"1", link=target, **more)  # type: ignore[arg-type]


def device(name: str, kind: bytes, major: int, minor: int) -> bytes:
    return header(name, kind, device=(major, minor))


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


def image_of(store: ImageStore, *layers: bytes, diff_ids: list[str] | None = None, name: str = "") -> Image:
    """An image of these layer blobs; uncompressed ones need no *diff_ids*."""
    diff_ids = diff_ids or [digest.of(layer) for layer in layers]
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {}}
    with store.layout.adding() as area:
        described = area.put(media.dumps(config))
        blobs = [area.put(layer) for layer in layers]
        kinds = [media.layer_media_type(detect(layer[:16])) for layer in layers]
        manifest = media.Manifest(
            media.OCI_MANIFEST,
            media.Descriptor(media.OCI_CONFIG, described.digest, described.size),
            tuple(media.Descriptor(kind, b.digest, b.size) for kind, b in zip(kinds, blobs, strict=True)),
            {},
        )
        return store.add(area, manifest.to_bytes(), [reference.parse(name)] if name else [])


class World:
    """A store of one rung, and a victim that nothing in it may touch."""

    def __init__(self, base: Path, owners: str) -> None:
        self.base, self.owners = base, owners
        self.victim = base / "victim"
        self._make_victim()
        self.unshare = None if owners == "root" else self._unshare
        self.store = ImageStore(base / "home", owners, self.unshare)
        if owners != "root" and os.geteuid() == 0:
            for path in (base / "home", base / "home/layers", self.layers, self.victim, *self.victim.rglob("*")):
                os.chown(path, self.uid, self.uid, follow_symlinks=False)
        self.before = self.snapshot()

    @property
    def uid(self) -> int:
        """Who 0 of the containers is."""
        return {"root": 0, "rootless": MAPPED, "rootless-single": NOBODY if AS_USER else os.geteuid()}[self.owners]

    @property
    def layers(self) -> Path:
        return self.base / "home/layers" / self.owners

    @property
    def up(self) -> str:
        """A relative way from anywhere to the victim."""
        return "../" * 30 + str(self.victim)[1:]

    def inside(self, root: Path, *parts: str) -> Path:
        """Where the victim would be if *root* were /."""
        return root.joinpath(str(self.victim)[1:], *parts)

    def unpack(self, *layers: bytes, diff_ids: list[str] | None = None) -> list[Path]:
        """The directories of an image of these layers, bottom first."""
        return list(self.store.layers(image_of(self.store, *layers, diff_ids=diff_ids)))[::-1]

    def refused(self, *layers: bytes, match: str = ".", kind: type[ContainersError] = ContainersError) -> None:
        """Unpacking must fail cleanly."""
        with pytest.raises(kind, match=match) as caught:
            self.unpack(*layers)
        assert "layer sha256:" in str(caught.value)
        assert "ended with code" not in str(caught.value)

    def skipped(self, layer: bytes) -> dict[str, str]:
        """What unpacking *layer* left out, and why."""
        self.unpack(layer)
        stamp = self.store.unpacked.stamp(digest.of(layer))
        assert stamp
        return {row["name"]: row["why"] for row in stamp["skipped"]}

    def merged(self, layers: list[Path], script: str) -> str:
        """What *script* prints in the root that overlayfs makes of *layers* (bottom first), in a new namespace."""
        for name in ("bottom", "root"):
            (self.base / name).mkdir(exist_ok=True)
        lower = ":".join([*(str(path) for path in reversed(layers)), str(self.base / "bottom")])
        options = f"lowerdir={lower}" + (",userxattr" if self.owners != "root" else "")
        mount = f"mount -t overlay overlay -o {options} {self.base}/root && cd {self.base}/root && "
        argv = ["unshare", "-m", "sh", "-c", mount + script]
        done = subprocess.run(self.unshare(argv) if self.unshare else argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def snapshot(self) -> list[object]:
        rows: list[object] = []
        for path in (self.victim, *sorted(self.victim.rglob("*"))):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            rows.append((str(path), content, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns,
                         tuple(os.listxattr(path, follow_symlinks=False))))  # fmt: skip
        return rows

    def check(self) -> None:
        assert self.snapshot() == self.before, "the victim was touched"
        assert self.store.unpacked.unfinished() == []
        assert not self.store.layout.unfinished()
        assert list(self.layers.glob("*.lock")) == []

    def _make_victim(self) -> None:
        self.victim.mkdir()
        (self.victim / "hello").write_text("hello")
        (self.victim / "hello").chmod(0o600)
        (self.victim / "sub").mkdir()
        (self.victim / "sub/slow").write_text("slow")

    def _unshare(self, argv: list[str]) -> list[str]:
        if self.owners == "rootless":
            return [sys.executable, str(Path(__file__).with_name("layers_namespace.py")), str(MAPPED), *argv]
        return [*AS_USER, "unshare", "-Ur", *argv]


def make_world(owners: str) -> World:
    if owners != "rootless-single" and os.geteuid() != 0:
        missing("root is needed to be this rung, or to play its subordinate ids")
    if owners != "root" and subprocess.run([*AS_USER, "unshare", "-Ur", "true"], check=False).returncode:
        missing("no user namespaces here")
    base = Path(tempfile.mkdtemp(prefix="jc-hostile-"))
    base.chmod(0o777 if AS_USER else 0o755)
    return World(base, owners)


def drop(world: World) -> None:
    """Remove a world, whoever owns what is in it."""
    shutil.rmtree(world.base)


def missing(what: str) -> None:
    """Skip on a laptop, fail in CI."""
    (pytest.fail if os.environ.get("JC_MUST_WORK") == "1" else pytest.skip)(what)
