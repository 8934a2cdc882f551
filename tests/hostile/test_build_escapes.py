"""Contexts, images and archives that are made to get a COPY or ADD out of them: nothing of the host is read or named."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.build import fetch
from jupyter_containers.build.context import Context
from jupyter_containers.build.selection import Choice
from jupyter_containers.errors import ContainersError, InvalidArgument, LayerError, NotFound
from jupyter_containers.image.tarstream import TarReader
from tests.rigs import copies, trees

OWNERS = "root" if os.geteuid() == 0 else "rootless-single"


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host beside the context; nothing of it may be in a layer, and nothing may touch it."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "key").write_text("SECRET")
    (folder / "passwd").write_text("web:x:1:1::/:/bin/sh\n")
    before = _described(folder)
    yield folder
    assert _described(folder) == before


def _described(folder: Path) -> list[object]:
    paths = [folder, *sorted(folder.rglob("*"))]
    status = [path.lstat() for path in paths]
    kept = [(s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in status]
    return list(zip(paths, kept, strict=True))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "d").mkdir(parents=True)
    (folder / "d/f").write_text("harmless")
    (folder / "f").write_text("harmless")
    return folder


def layer(root: Path, *sources: str, to: str = "/x/", lower: tuple[Path, ...] = (), **fields: Any) -> bytes:
    data = copies.layer(root, sources, to, lower, OWNERS, **fields)
    assert b"SECRET" not in data
    return data


# --- out of the context ---


@pytest.mark.parametrize(
    "source", ["../host/key", "/../host/key", "d/../../host/key", "./../host", "../host/*", "[.][.]/host/key"]
)
def test_a_source_does_not_leave_the_context(context: Path, secret: Path, source: str) -> None:
    """ISOLATION 90: COPY ../, as moby's internals_test and buildah's copy-escape-glob have it."""
    with pytest.raises(NotFound):
        layer(context, source)
    with Context.directory(context) as opened, pytest.raises(NotFound):
        opened.digest(Choice((source,)))


@pytest.mark.parametrize(
    "target", ["{secret}/key", "../host/key", "../../../../../../..{secret}/key", "/proc/self/root{secret}/key"]
)
def test_a_link_in_the_context_leads_nowhere_else(context: Path, secret: Path, target: str) -> None:
    """ISOLATION 90: a link to a file of the host, as a source, on the way to one, and inside a directory."""
    (context / "link").symlink_to(target.format(secret=secret))
    (context / "way").symlink_to(target.format(secret=secret).rpartition("/")[0])
    for source in ("link", "way", "way/key", "way/*", "l*nk", "w*/key"):
        with pytest.raises(ContainersError):
            layer(context, source)
    assert trees.of_tar(layer(context, "."))["x/link"][0] == "symlink"


def test_a_magic_link_of_proc_is_followed_by_its_letters_alone(tmp_path: Path, secret: Path, context: Path) -> None:
    """ISOLATION 8 and 90: /proc/self/fd/N as a target is a name in the context."""
    (context / "link").symlink_to("/proc/self/fd/0/../key")
    with pytest.raises(NotFound):
        layer(context, "link")


def test_dockerignore_as_a_link_is_read_in_the_context(context: Path, secret: Path) -> None:
    """ISOLATION 90: .dockerignore as a symlink."""
    (context / ".dockerignore").symlink_to(secret / "key")
    (context / "Dockerfile").write_text("FROM scratch")
    with Context.directory(context) as opened:
        opened.dockerfile()
        assert opened.ignore.patterns == ()
        (context / ".dockerignore").unlink()
        (context / ".dockerignore").symlink_to("/d/patterns")
        (context / "d/patterns").write_text("f\n")
        opened.dockerfile()
        assert opened.ignore.patterns == ("f",)


def test_a_dockerfile_that_leads_out_is_not_read(context: Path, secret: Path) -> None:
    """ISOLATION 90: Dockerfile outside the context."""
    (context / "Dockerfile").symlink_to(secret / "key")
    with Context.directory(context) as opened, pytest.raises(NotFound, match="must not lead out of the context"):
        opened.dockerfile()
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to("../host/key")
    with Context.directory(context) as opened, pytest.raises(NotFound):
        opened.dockerfile()


@pytest.mark.parametrize("name", ["../host/key", "/../../host/key", "link"])
def test_a_tars_dockerfile_is_one_in_the_tar(tmp_path: Path, secret: Path, name: str) -> None:
    """ISOLATION 90: named by -f, in a context that came from elsewhere."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, f"{secret}/key"
        tar.addfile(entry)
    with Context.stream(io.BytesIO(out.getvalue()), tmp_path / "area") as opened, pytest.raises(NotFound):
        opened.dockerfile(name)


def _swaps(context: Path, secret: Path) -> Callable[[], None]:
    def swap() -> None:
        os.rename(context / "d", context / "d2")
        os.symlink(secret, context / "d")
        os.unlink(context / "f")
        os.symlink(secret / "key", context / "f")
        os.unlink(context / "d")
        os.rename(context / "d2", context / "d")
        os.unlink(context / "f")
        os.mkfifo(context / "f")
        os.unlink(context / "f")
        (context / "f").write_text("harmless")

    return swap


def test_a_context_that_changes_while_it_is_copied(context: Path, secret: Path) -> None:
    """ISOLATION 82: a directory swapped for a link to the host's, a file for a link and a pipe, while both are read."""
    (context / "d/key").write_text("harmless")
    stop, swap = threading.Event(), _swaps(context, secret)

    def work() -> None:
        while not stop.is_set():
            swap()

    thread = threading.Thread(target=work)
    thread.start()
    made = 0
    try:
        with Context.directory(context) as opened:
            for _ in range(200):
                if made == 20:
                    break
                try:
                    reading = opened.read(Choice((".",)))
                    data = layer(context, ".")
                    list(TarReader(iter([data])))
                    opened.unchanged(reading)
                    made += 1
                except ContainersError as error:
                    assert "ended with code" not in str(error)
    finally:
        stop.set()
        thread.join()
    assert made


# --- out of the image ---


@pytest.mark.parametrize(
    ("link", "to", "lands"),
    [
        ("/../../..{secret}", "/link/x", "{inside}/x"),
        ("../../../../..{secret}", "/link/x", "{inside}/x"),
        ("{secret}", "/link/", "{inside}/f"),
        ("/proc/self/cwd", "/link/x", "proc/self/cwd/x"),
        ("..", "/link/../../x", "x"),
    ],
)
def test_a_link_of_the_image_takes_a_destination_nowhere_else(
    context: Path, secret: Path, tmp_path: Path, link: str, to: str, lands: str
) -> None:
    """ISOLATION 85 and 91: destinations behind links of the image; WORKDIR as a link (CVE-2026-55686)."""
    lower = tmp_path / "lower"
    lower.mkdir()
    (lower / "link").symlink_to(link.format(secret=secret))
    wanted = lands.format(inside=str(secret)[1:])
    assert list(trees.of_tar(layer(context, "f", to=to, lower=(lower,))))[-1] == wanted
    assert list(trees.of_tar(layer(context, "f", to="x/", workdir="/link", lower=(lower,))))[-1].endswith("x/f")


def test_a_layer_directory_that_is_a_link_is_none(context: Path, secret: Path, tmp_path: Path) -> None:
    """ISOLATION 85: a directory of a lower layer swapped for a link to the host is not entered."""
    lower = tmp_path / "lower"
    lower.mkdir()
    (lower / "etc").symlink_to(secret)
    with pytest.raises(InvalidArgument, match="no user 'web'"):
        layer(context, "f", lower=(lower,), chown="web")


# --- archives ---


def _archive(context: Path, *members: tuple[str, str, str]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, target in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = (
                {"f": tarfile.REGTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "d": tarfile.DIRTYPE}[kind],
                target,
            )
            tar.addfile(entry)
    (context / "a.tar").write_bytes(out.getvalue())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("etc", "d", ""), ("way", "l", "/etc"), ("way/f", "f", "")], {"x", "x/way", "x/etc", "x/etc/f"}),
        ([("etc", "d", ""), ("way", "l", "../../../etc"), ("way/f", "f", "")], {"x", "x/way", "x/etc", "x/etc/f"}),
        ([("a", "l", "b"), ("b", "l", "/c"), ("c", "d", ""), ("a/f", "f", "")], {"x", "x/a", "x/b", "x/c", "x/c/f"}),
        ([("way", "l", "/etc"), ("way/passwd", "f", "")], None),
        ([("way", "l", "{secret}"), ("way/passwd", "f", "")], None),
        ([("a", "l", "a"), ("a/f", "f", "")], None),
        ([("h", "h", "/host/key")], None),
        ([("way", "l", "/"), ("h", "h", "way/../../host/key")], None),
    ],
)
def test_links_of_an_archive_stay_beneath_the_destination(
    context: Path, secret: Path, members: list[tuple[str, str, str]], expected: set[str] | None
) -> None:
    """ISOLATION 91 (CVE-2020-10696): docker unpacks in a chroot of the destination."""
    _archive(context, *((name, kind, to.format(secret=secret)) for name, kind, to in members))
    if expected is None:
        with pytest.raises(LayerError):
            layer(context, "a.tar", to="/x", unpack=True)
        return
    assert set(trees.of_tar(layer(context, "a.tar", to="/x", unpack=True))) == expected


def test_an_archive_added_into_a_linked_directory(context: Path, secret: Path, tmp_path: Path) -> None:
    """ISOLATION 91: buildah's conformance cases add-parent-symlink, -dangling and -clean."""
    lower = tmp_path / "lower"
    (lower / "x").mkdir(parents=True)
    (lower / "link").symlink_to(secret)
    (lower / "x/dir").symlink_to("/../etc")
    (lower / "x/etc").mkdir()
    (lower / "dangling").symlink_to("/var/nothing")
    _archive(context, ("dir/f", "f", ""))
    inside = str(secret)[1:]
    assert list(trees.of_tar(layer(context, "a.tar", to="/link", lower=(lower,), unpack=True)))[-1] == f"{inside}/dir/f"
    assert list(trees.of_tar(layer(context, "a.tar", to="/x", lower=(lower,), unpack=True))) == ["x/etc/f"]
    assert (
        list(trees.of_tar(layer(context, "a.tar", to="/dangling/y/", lower=(lower,), unpack=True)))[-1]
        == "var/nothing/y/dir/f"
    )


# --- URLs ---


@pytest.mark.parametrize(
    "url",
    [
        "git@host:--upload-pack=touch$IFS/tmp/x", "ssh://-oProxyCommand=touch%20x/r.git", "ssh://host/--upload-pack=x",
        "git://host/r.git#--upload-pack=x", "git://host/r.git?ref=-x", "git://host/r.git?ref=a:refs/heads/b",
        "https://-x/r.git", "https://host/r.git#a b", "git://host/r.git#..", "git://host/r.git?checksum=--exec",
        "git://ho\nst/r.git", "git://host/r.git#+main", "git@-host:x", "ext::sh -c id", "file:///etc/r.git",
    ],
)  # fmt: skip
def test_no_part_of_a_git_url_is_an_option(tmp_path: Path, url: str) -> None:
    """ISOLATION 92 (CVE-2019-13139)."""
    if not fetch.is_remote(url):
        return  # then it is a name in the context
    with pytest.raises(InvalidArgument), fetch.fetched(url, tmp_path):
        pass
