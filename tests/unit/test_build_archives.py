"""ADD of archives: unpacked where docker unpacks them, by content, with the archive's owners."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from jupyter_containers.errors import LayerError
from tests.rigs import copies, trees

OWNERS = "root" if os.geteuid() == 0 else "rootless-single"
LATER = copies.EPOCH + 1000


def packed(*members: tuple[str, Any], **fields: Any) -> bytes:
    """A tar: a name with content is a file, one ending in ``/`` a directory, ``(">", target)`` a link, ``("=", file)`` a
    hard link; owner 7:8.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in members:
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.uid, entry.gid, entry.mtime, entry.mode = 7, 8, 1000, 0o640
            for field, value in fields.items():
                setattr(entry, field, value)
            if isinstance(what, tuple):
                entry.type, entry.linkname = {">": tarfile.SYMTYPE, "=": tarfile.LNKTYPE}[what[0]], what[1]
            elif name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o750
            else:
                entry.size = len(what)
            tar.addfile(entry, io.BytesIO(what) if isinstance(what, bytes) else None)
    return out.getvalue()


def added(tmp_path: Path, data: bytes, destination: str = "/x", lower: Any = (), **fields: Any) -> trees.Tree:
    context = tmp_path / "context"
    context.mkdir(exist_ok=True)
    (context / "it").write_bytes(data)
    return trees.of_tar(copies.layer(context, ["it"], destination, lower, OWNERS, **{"unpack": True, **fields}))


SIMPLE = (("d/", b""), ("d/f", b"content"), ("l", (">", "/etc/passwd")), ("h", ("=", "d/f")), ("deep/er/g", b"2"))


@pytest.mark.parametrize(
    "compress", [lambda data: data, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_archives_are_known_by_their_content(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    found = {name: row[:4] for name, row in added(tmp_path, compress(packed(*SIMPLE))).items()}
    assert found == {
        "x": ["dir", "0o755", 0, 0], "x/d": ["dir", "0o750", 7, 8], "x/d/f": ["file", "0o640", 7, 8],
        "x/l": ["symlink", "0o777", 7, 8], "x/h": ["file", "0o640", 7, 8], "x/deep": ["dir", "0o755", 0, 0],
        "x/deep/er": ["dir", "0o755", 0, 0], "x/deep/er/g": ["file", "0o640", 7, 8],
    }  # fmt: skip


def test_what_is_no_archive_is_copied(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a", "b")
    for data in (out.getvalue(), b"text", b"", gzip.compress(b"text"), bytes(1024), b"BZh9 no"):
        assert list(added(tmp_path, data, "/x/")) == ["x", "x/it"]
    assert list(added(tmp_path, packed(*SIMPLE), unpack=False)) == ["x"]


def test_times_are_the_archives_but_never_later_than_the_build(tmp_path: Path) -> None:
    found = added(tmp_path, packed(("old", b""))) | added(tmp_path, packed(("new", b""), mtime=LATER))
    assert (found["x/old"][8], found["x/new"][8], found["x"][8]) == (1000, copies.EPOCH, copies.EPOCH)


def test_chown_is_of_all_entries(tmp_path: Path) -> None:
    found = added(tmp_path, packed(*SIMPLE), chown="5:6", chmod="700")
    owners = {name: tuple(row[2:4]) for name, row in found.items()}
    assert {owners.pop(name) for name in ("x/deep", "x/deep/er")} == {(0, 0)}
    assert set(owners.values()) == {(5, 6)}
    assert found["x/d/f"][1] == "0o640"


def test_an_archive_among_files_is_written_in_its_place(tmp_path: Path) -> None:
    context = tmp_path / "c"
    context.mkdir()
    (context / "a").write_text("file a")
    (context / "m.tar").write_bytes(packed(("a", b"from the archive"), ("b", b"from the archive")))
    (context / "b").write_text("file b")
    tar = copies.layer(context, ["a", "m.tar", "b"], "/", [], OWNERS, unpack=True)
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        last = {entry.name: found.extractfile(entry).read() for entry in found}  # type: ignore[union-attr]
    assert last == {"a": b"from the archive", "b": b"file b"}


def test_sparse_files_and_attributes_stay(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("f")
        entry.pax_headers = {
            "SCHILY.xattr.user.note": "kept", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.x": "y",
            "GNU.sparse.map": "1048576,4", "GNU.sparse.size": "2097152",
        }  # fmt: skip
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"data"))
    found = added(tmp_path, out.getvalue())
    assert found["x/f"][4] == 2097152
    assert found["x/f"][7] == {"user.note": "kept"}


def test_an_archive_replaces_what_is_there(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    (lower / "x/dir").mkdir(parents=True)
    (lower / "x/dir/in").touch()
    (lower / "x/file").touch()
    (lower / "x/link").symlink_to("dir")
    data = packed(("dir", b"a file now"), ("file/", b""), ("file/in", b""), ("link/", b""), ("link/in", b""))
    found = added(tmp_path, data, "/x", [lower])
    assert list(found) == ["x/dir", "x/file", "x/file/in", "x/link", "x/link/in"]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([("/../../out/../../x", b"")], None),
        ([("../x", b"")], None),
        ([("a/../../x", b"")], None),
        ([("h", ("=", "../../etc/passwd"))], "which the archive lacks"),
        ([("h", ("=", "/etc/passwd"))], "which the archive lacks"),
        ([("h", ("=", "nothing"))], "which the archive lacks"),
        ([(".wh.passwd", b"")], "means a removal"),
        ([("a/.wh..wh..opq", b"")], "means a removal"),
        ([("f", b""), ("f/x", b"")], "no directory"),
    ],
)
def test_entries_that_are_refused(tmp_path: Path, members: list[tuple[str, Any]], text: str | None) -> None:
    data = packed(*members)
    if text is None:
        assert list(added(tmp_path, data)) == ["x", "x/x"]
        return
    with pytest.raises(LayerError, match=text) as caught:
        added(tmp_path, data)
    assert "archive it" in str(caught.value)


def test_a_damaged_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = gzip.compress(packed(("f", os.urandom(100_000))))
    with pytest.raises(LayerError, match="archive it.*ends too early"):
        added(tmp_path, data[:-50_000])
