"""File trees as data, whoever packed them: what two engines make of one image can be compared.

And an image that has one of everything in it: owners, modes, attributes, hard links, holes, whiteouts.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Tree = dict[str, list[Any]]

EPOCH = 1_700_000_000
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"  # cap_net_raw=ep


def of_tar(data: bytes) -> Tree:
    """Every entry of a tar: kind, mode, owner, size, digest of its content, links, attributes, seconds.

    Names of one file are a group; which of them the tar calls the link is no difference.
    """
    found: Tree = {}
    groups: dict[str, list[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./").rstrip("/")
            if name in ("", "."):
                continue
            if entry.islnk():
                target = entry.linkname.removeprefix("./")
                groups.setdefault(target, [target]).append(name)
                found[name] = found[target]
            else:
                found[name] = _row(tar, entry)
    for names in groups.values():
        for name in names:
            found[name] = [*found[name], sorted(names)]
    return found


def _row(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> list[Any]:
    content = tar.extractfile(entry) if entry.isreg() else None
    digest = hashlib.sha256(content.read()).hexdigest()[:16] if content else ""
    kind = "file" if entry.isreg() else {b"5": "dir", b"2": "symlink", b"6": "fifo"}.get(entry.type, "device")
    prefix = "SCHILY.xattr."
    xattrs = {key.removeprefix(prefix): value for key, value in entry.pax_headers.items() if key.startswith(prefix)}
    owner = [entry.uid, entry.gid]
    return [kind, oct(entry.mode & 0o7777), *owner, entry.size, digest, entry.linkname, xattrs, int(entry.mtime)]


def of_layers(layers: Iterable[bytes]) -> Tree:
    """The files that layers (bottom first, compressed or not) make together, as rows of :func:`of_tar` without times.

    A second reading of https://github.com/opencontainers/image-spec/blob/main/layer.md, independent of ours. Names of
    one file are a group, whichever layer they are of.
    """
    found: dict[str, list[Any]] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            entries = [(entry.name.removeprefix("./").strip("/"), entry) for entry in tar]
            for name, _ in entries:
                _take_away(found, name)
            for name, entry in entries:
                if name not in ("", ".") and not _is_whiteout(name):
                    _put(found, name, tar, entry)
    groups: dict[int, list[str]] = {}
    for name, row in found.items():
        groups.setdefault(id(row), []).append(name)
    grouped = ((name, group) for group in groups.values() for name in group)
    return {name: [*found[name], sorted(group)] if len(group) > 1 else found[name] for name, group in grouped}


def _is_whiteout(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".wh.")


def _take_away(found: dict[str, list[Any]], name: str) -> None:
    """What a whiteout of a layer removes of those below."""
    folder, slash, last = name.rpartition("/")
    if last == ".wh..wh..opq":
        _remove_below(found, folder)
    elif last.startswith(".wh."):
        removed = folder + slash + last.removeprefix(".wh.")
        found.pop(removed, None)
        _remove_below(found, removed)


def _remove_below(found: dict[str, list[Any]], folder: str) -> None:
    for name in [name for name in found if not folder or name.startswith(f"{folder}/")]:
        del found[name]


def _put(found: dict[str, list[Any]], name: str, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
    if not entry.isdir():
        _remove_below(found, name)
    found[name] = found[entry.linkname.removeprefix("./")] if entry.islnk() else _row(tar, entry)[:-1]


def compared(one: Tree, other: Tree, without: Iterable[str] = ()) -> dict[str, Any]:
    """Where two trees differ."""
    names = {*one, *other} - {*without}
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


# --- an image with one of everything ---


def rich_layers() -> list[bytes]:
    """Two layers as a writer of tars makes them; the second hides and replaces parts of the first."""
    return [_base(), gzip.compress(_upper(), mtime=0)]


def rich_layout(folder: Path, name: str) -> str:
    """An OCI layout of :func:`rich_layers` in *folder*; its place as skopeo writes it."""
    layers = rich_layers()
    plain = [layers[0], gzip.decompress(layers[1])]
    config = {
        "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": {"Cmd": ["sh"], "Env": ["A=1"], "Labels": {"made": "by hand"}},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in plain]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"RUN {word}"} for word in ("base", "upper")],
    }  # fmt: skip
    kind = "application/vnd.oci.image"
    blobs = [json.dumps(config).encode(), *layers]
    kinds = [f"{kind}.config.v1+json", f"{kind}.layer.v1.tar", f"{kind}.layer.v1.tar+gzip"]
    parts = [_descriptor(media, data) for media, data in zip(kinds, blobs, strict=True)]
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": parts[0], "layers": parts[1:]}
    blobs.append(json.dumps(manifest).encode())
    entry = _descriptor(manifest["mediaType"], blobs[-1]) | {"annotations": {"org.opencontainers.image.ref.name": name}}
    (folder / "blobs/sha256").mkdir(parents=True)
    for data in blobs:
        (folder / "blobs/sha256" / _digest(data)[7:]).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{folder}:{name}"


def _descriptor(media: object, data: bytes) -> dict[str, Any]:
    return {"mediaType": media, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _base() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in (
            "bin",
            "etc",
            "dev",
            "proc",
            "sys",
            "home",
            "home/user",
            "gone",
            "gone/deep",
            "opaque",
            "swap",
            "tmp",
        ):
            _add(tar, name, mode=0o1777 if name == "tmp" else 0o755, kind=tarfile.DIRTYPE)
        _add(tar, "home/user/file", b"content", uid=1000, gid=1001, mode=0o640)
        _add(tar, "home/user/note", b"noted", xattrs={"user.note": "kept"})
        _add(tar, "bin/ping", b"\x7fELF" * 300, mode=0o755, xattrs={"security.capability": CAPABILITY.decode("latin1")})
        _add(tar, "bin/su", b"setuid", mode=0o4755)
        _add(tar, "bin/su-too", kind=tarfile.LNKTYPE, link="bin/su", mode=0o4755)
        _add(tar, "home/link", kind=tarfile.SYMTYPE, link="../etc/passwd", uid=7, gid=8, mode=0o777)
        _add(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        _add(tar, "etc/" + "long" * 50, b"a long name")
        _add(tar, "etc/ünï", b"not ASCII")
        for name in ("gone/a", "gone/deep/b", "opaque/old", "opaque/kept", "swap/inside", "etc/removed"):
            _add(tar, name, name.encode())
        _add(tar, "pipe", kind=tarfile.FIFOTYPE, mode=0o640)
    return out.getvalue()


def _upper() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, ".wh.gone")
        _add(tar, "etc", mode=0o711, kind=tarfile.DIRTYPE)
        _add(tar, "etc/.wh.removed")
        _add(tar, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/:/bin/sh\n", mode=0o644)
        _add(tar, "opaque", mode=0o755, kind=tarfile.DIRTYPE)
        _add(tar, "opaque/.wh..wh..opq")
        _add(tar, "opaque/kept", b"again")
        _add(tar, "swap", b"a file now", uid=33, gid=33)
        _add(tar, "home/user/new", b"n" * 100_000)
        _add(tar, "home/user/new-too", kind=tarfile.LNKTYPE, link="home/user/new")
    return out.getvalue()


def _add(
    tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "",
    uid: int = 0, gid: int = 0, mode: int = 0o644, xattrs: dict[str, str] | None = None,
) -> None:  # fmt: skip
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.uid, entry.gid, entry.mode, entry.mtime = kind, link, uid, gid, mode, EPOCH
    entry.size = len(data)
    if xattrs:
        entry.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
    tar.addfile(entry, io.BytesIO(data))
