"""Tars and compression read as GNU tar, Python and the pax standard write them; and whatever else comes."""

from __future__ import annotations

import gzip
import io
import lzma
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_containers.errors import DigestMismatch, LayerError
from jupyter_containers.image import digest
from jupyter_containers.image.compression import Stream, detect, inflate
from jupyter_containers.image.rooted import split
from jupyter_containers.image.tarstream import Entry, TarReader


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def read(data: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = TarReader(pieces(data, size))
    return [(entry, b"".join(bytes(piece) for piece in reader.content())) for entry in reader]


def written(form: int, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def info(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 100, 512, 513, 1 << 20])
def test_every_format_and_any_chunking_gives_the_same(form: int, size: int) -> None:
    long = "d/" * 60 + "name"
    data = written(
        form,
        (info("d", type=tarfile.DIRTYPE, mode=0o750, uid=7, gid=8, mtime=9), b""),
        (info(long, mode=0o644), b"x" * 1000),
        (info("l", type=tarfile.SYMTYPE, linkname="t" * 90), b""),
        (info("h", type=tarfile.LNKTYPE, linkname="d"), b""),
        (info("n", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    )
    found = read(data, size)
    assert [(e.name.decode().rstrip("/"), e.kind) for e, _ in found] == [
        ("d", "dir"), (long, "file"), ("l", "symlink"), ("h", "link"), ("n", "char")]  # fmt: skip
    assert found[1][1] == b"x" * 1000
    first = found[0][0]
    assert (first.mode, first.uid, first.gid, first.mtime_ns) == (0o750, 7, 8, 9 * 10**9)
    assert (found[4][0].major, found[4][0].minor) == (1, 3)


def test_big_and_negative_numbers() -> None:
    data = written(tarfile.GNU_FORMAT, (info("f", uid=1 << 40, gid=1 << 31, mtime=-5), b""))
    [(entry, _)] = read(data)
    assert (entry.uid, entry.gid, entry.mtime_ns) == (1 << 40, 1 << 31, -5 * 10**9)


def test_pax_times_are_exact_and_attributes_stay_bytes() -> None:
    headers = {"mtime": "1234567890.123456789123", "SCHILY.xattr.user.a": "v"}
    [(entry, _)] = read(written(tarfile.PAX_FORMAT, (info("f", pax_headers=headers), b"")))
    assert entry.mtime_ns == 1234567890123456789
    assert entry.xattrs == {b"user.a": b"v"}


def test_global_pax_headers_are_ignored_as_docker_does() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "evil"}) as tar:
        tar.addfile(info("good"))
    assert [entry.name for entry, _ in read(out.getvalue())] == [b"good"]


@pytest.mark.parametrize("version", [["--format=gnu"], ["--format=pax", "--sparse-version=0.0"],
                                     ["--format=pax", "--sparse-version=0.1"],
                                     ["--format=pax", "--sparse-version=1.0"]])  # fmt: skip
def test_sparse_files_of_every_version(tmp_path: Path, version: list[str]) -> None:
    with (tmp_path / "s").open("wb") as file:
        for at in range(40):
            file.seek(at * 200_000)
            file.write(b"%04d" % at)
        file.truncate(40 * 200_000)
    data = subprocess.run(["tar", "-S", *version, "-C", tmp_path, "-c", "s"], capture_output=True, check=True).stdout
    [(entry, content)] = read(data)
    assert (entry.name, entry.real_size) == (b"s", 40 * 200_000)
    assert entry.segments
    built, at = bytearray(entry.real_size), 0
    for offset, length in entry.segments:
        built[offset : offset + length] = content[at : at + length]
        at += length
    assert bytes(built) == (tmp_path / "s").read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 2000))
def test_anything_is_read_or_refused(data: bytes, size: int) -> None:
    try:
        read(data, size)
    except LayerError as error:
        assert "tar" in str(error)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4095), st.binary(min_size=1, max_size=16))
def test_a_damaged_archive_is_read_or_refused(at: int, noise: bytes) -> None:
    headers = {"SCHILY.xattr.user.a": "v", "GNU.sparse.map": "0,1"}
    data = bytearray(written(tarfile.PAX_FORMAT, (info("a" * 120, pax_headers=headers), b"x"), (info("b"), b"yy")))
    data[at : at + len(noise)] = noise
    for start in range(0, len(data) - 511, 512):  # so that damage reaches further than the checksum
        block = data[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    try:
        read(bytes(data))
    except LayerError as error:
        assert "tar" in str(error)


@given(st.binary(max_size=60))
def test_a_cleaned_name_never_leads_out(name: bytes) -> None:
    parts = split(name)
    if parts is not None:
        assert not {b"", b".", b".."} & set(parts)
        assert not any(b"/" in part for part in parts)


PACK = {"none": bytes, "gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("kind", PACK)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=5000), size=st.integers(1, 700), again=st.booleans())
def test_what_was_packed_comes_back(kind: str, data: bytes, size: int, again: bool) -> None:
    if kind == "none":
        data = b"plain" + data
    packed = PACK[kind](data) + (PACK[kind](data) if again else b"")
    assert detect(packed) == kind
    assert b"".join(inflate(kind, pieces(packed, size))) == data * (2 if again else 1)


@pytest.mark.parametrize("kind", PACK)
def test_a_stream_takes_both_digests_on_the_way(kind: str) -> None:
    data = b"tar" + bytes(3_000_000)
    source = io.BytesIO(PACK[kind](data))
    with Stream(source.read) as stream:
        assert sum(len(chunk) for chunk in stream) == len(data)
        stream.finish(digest.of(source.getvalue()), digest.of(data), len(source.getvalue()))
        assert (stream.compression, stream.bytes_out) == (kind, len(data))
        with pytest.raises(DigestMismatch):
            stream.finish(digest="sha256:" + 64 * "0")
        with pytest.raises(DigestMismatch):
            stream.finish(diff_id="sha256:" + 64 * "0")
        with pytest.raises(DigestMismatch):
            stream.finish(size=1)


def test_a_stream_left_early_ends_its_thread() -> None:
    source = io.BytesIO(bytes(100 << 20))
    with Stream(source.read) as stream:
        next(iter(stream))
    assert not stream._thread.is_alive()
    assert source.tell() < 50 << 20


def test_gzip_without_isal_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "isal", None)
    data = bytes(5_000_000) + b"end"
    assert b"".join(inflate("gzip", pieces(gzip.compress(data), 99))) == data
    with pytest.raises(LayerError, match="gzip"):
        list(inflate("gzip", pieces(gzip.compress(data)[:-3], 99)))


def test_a_step_stays_small_whatever_the_input() -> None:
    for kind in ("gzip", "xz", "zstd"):
        packed = PACK[kind](bytes(64 << 20))
        assert max(len(chunk) for chunk in inflate(kind, iter([packed]))) <= 64 << 20 if kind == "zstd" else 1 << 20
