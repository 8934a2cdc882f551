"""Trees packed into tars and read back by others: GNU tar, Python and ourselves see the same tree."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from jupyter_containers.errors import LayerError
from jupyter_containers.image import tarwriter
from jupyter_containers.image.pack import Packer
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

ROOT = os.geteuid() == 0


def packed(root: Path) -> bytes:
    out: list[bytes] = []
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Packer(fd, lambda data: out.append(bytes(data))).run()
    finally:
        os.close(fd)
    return b"".join(out)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything about a tree that a tar keeps."""
    rows: dict[str, tuple[object, ...]] = {}
    numbers: dict[int, int] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        link = numbers.setdefault(status.st_ino, len(numbers)) if status.st_nlink > 1 and path.is_file() else None
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        names = [] if path.is_symlink() else os.listxattr(path)
        xattrs = {name: os.getxattr(path, name) for name in names}
        mtime = None if path.is_symlink() else status.st_mtime_ns
        owner = (status.st_uid, status.st_gid)
        rows[str(path.relative_to(root))] = (status.st_mode, *owner, mtime, status.st_rdev, content, link, xattrs)
    return rows


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A tree with one of each kind."""
    root = tmp_path / "root"
    (root / "d/e").mkdir(parents=True)
    (root / "d/file").write_bytes(b"content" * 1000)
    os.link(root / "d/file", root / "d/e/hard")
    (root / "soft").symlink_to("../../etc/passwd")
    os.mkfifo(root / "pipe", 0o640)
    (root / ("long" * 60)).write_text("long name")
    (root / "ünï").write_text("not ASCII")
    (root / os.fsdecode(b"raw\xff\xfe")).write_text("not UTF-8")
    (root / "d/attributes").write_text("x")
    os.setxattr(root / "d/attributes", "user.note", b"a\0b=c\n")
    (root / "empty").touch()
    with (root / "sparse").open("wb") as file:
        file.truncate(50 << 20)
        file.seek(20 << 20)
        file.write(b"in the middle")
    with (root / "hole").open("wb") as file:
        file.truncate(3 << 20)
    if ROOT:
        os.chown(root / "d/file", 5_000_000, 7)
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 70_000))
        os.chown(root / "soft", 12, 13, follow_symlinks=False)
    (root / "d/file").chmod(0o4711)
    (root / "d/e").chmod(0o2750)
    os.utime(root / "d/file", ns=(1, -1_500_000_001))
    os.utime(root / "d/e", ns=(1, 1_700_000_000_000_000_000))
    return root


def test_gnu_tar_makes_the_same_tree_of_it(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    command = ["tar", "-C", str(tmp_path / "copy"), "--xattrs", "--xattrs-include=*", "-xpf", "-", "--numeric-owner"]
    done = subprocess.run(command, input=packed(sample), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "copy") == tree(sample)
    for name in ("sparse", "hole"):
        assert (tmp_path / "copy" / name).stat().st_blocks < 1000


def test_python_reads_what_we_write(sample: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(sample))) as found:
        entries = {entry.name: entry for entry in found}
        middle = found.extractfile("sparse")
        assert middle
        assert middle.read()[20 << 20 :][:13] == b"in the middle"
    assert (entries["sparse"].size, entries["d/file"].linkname) == (50 << 20, "d/e/hard")
    assert entries["d/attributes"].pax_headers["SCHILY.xattr.user.note"] == "a\0b=c\n"
    assert not any(name.startswith(("./", "/")) for name in entries)


def test_we_read_what_we_write(sample: Path) -> None:
    reader = TarReader(iter([packed(sample)]))
    found = {entry.name: (entry.mtime_ns, entry.real_size, entry.segments is not None) for entry in reader}
    assert found[b"d/e/hard"][:2] == (-1_500_000_001, 7000)
    assert found[b"sparse"][1:] == (50 << 20, True)
    assert found[b"hole"][1:] == (3 << 20, True)
    assert b"raw\xff\xfe" in found


def test_the_same_tree_gives_the_same_bytes(sample: Path) -> None:
    assert packed(sample) == packed(sample)


def test_sockets_are_left_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        assert packed(tmp_path) == tarwriter.END


def test_attributes_that_mean_something_to_this_machine_stay_here(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    os.setxattr(path, "user.overlay.opaque", b"y")
    os.setxattr(path, "user.containers.override_stat", b"33:44:0o100640")
    if ROOT:
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    [entry] = TarReader(iter([packed(tmp_path)]))
    assert (entry.xattrs, entry.uid, entry.gid) == ({}, 33, 44)


def test_a_deep_tree_needs_no_recursion_and_one_deeper_than_tars_is_refused(tmp_path: Path) -> None:
    os.chdir(tmp_path)
    for _ in range(600):
        os.mkdir("deep")
        os.chdir("deep")
    assert len(list(TarReader(iter([packed(tmp_path)])))) == 600
    for _ in range(230):
        os.mkdir("deep")
        os.chdir("deep")
    os.chdir("/")
    with pytest.raises(LayerError, match="longer than 4096 bytes"):
        packed(tmp_path)


def test_a_tree_that_changes_while_it_is_packed_stays_in_bounds(tmp_path: Path) -> None:
    """ISOLATION 82: a directory swapped for a link to the host's, a file for a pipe, one that shrinks."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("SECRET")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d/key").write_text("harmless")
    (root / "f").write_bytes(b"x" * 5000)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "d", root / "d2")
            os.symlink(secret, root / "d")
            os.unlink(root / "d")
            os.rename(root / "d2", root / "d")
            (root / "g").unlink(missing_ok=True)
            os.mkfifo(root / "g")
            os.truncate(root / "f", 10)
            os.unlink(root / "g")
            (root / "g").symlink_to(secret / "key")
            os.truncate(root / "f", 5000)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            data = packed(root)
            assert b"SECRET" not in data
            list(TarReader(iter([data])))
    finally:
        stop.set()
        thread.join()


# --- headers ---


def test_numbers_that_ustar_has_no_room_for() -> None:
    entry = Entry(b"f", "file")
    entry.size, entry.uid, entry.gid, entry.mtime_ns = 1 << 40, 1 << 31, 8**7, 8**11 * 10**9
    with tarfile.open(fileobj=io.BytesIO(tarwriter.header(entry))) as found:
        info = found.firstmember
    assert info
    assert (info.size, info.uid, info.gid, info.mtime) == (1 << 40, 1 << 31, 8**7, 8**11)


def test_what_no_reader_takes_is_refused() -> None:
    for entry in (Entry(b"x" * 4097, "file"), Entry(b"d" * 4096, "dir")):
        with pytest.raises(LayerError, match="longer than"):
            tarwriter.header(entry)
    entry = Entry(b"x", "file")
    entry.xattrs = {b"user.%d" % number: bytes(60_000) for number in range(20)}
    with pytest.raises(LayerError, match="attributes take more"):
        tarwriter.header(entry)
