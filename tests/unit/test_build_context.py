"""Contexts: what is read of them, what their digest notices and what not, and where their Dockerfile is."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from jupyter_containers.build.contents import Hashes
from jupyter_containers.build.context import Context
from jupyter_containers.build.selection import Choice
from jupyter_containers.errors import InvalidArchive, InvalidArgument, NotFound

ALL = Choice((".",))


def digest(path: Path, choice: Choice = ALL, hashes: Hashes | None = None) -> str:
    with Context.directory(path, hashes) as context:
        context.inline(b"")
        return context.digest(choice)


def fill(root: Path) -> Path:
    (root / "d/e").mkdir(parents=True)
    (root / "d/one").write_text("1")
    (root / "d/e/two").write_text("2")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("run")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return fill(tmp_path / "context")


# --- digests ---


def _append(path: Path) -> None:
    path.write_text(path.read_text() + "x")


def _rename(tree: Path) -> None:
    (tree / "d/one").rename(tree / "d/uno")


def _link(tree: Path) -> None:
    (tree / "d/three").unlink(missing_ok=True)
    (tree / "d/one").unlink()
    os.link(tree / "d/e/two", tree / "d/one")


def _retarget(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("d/one")


def _kind(tree: Path) -> None:
    (tree / "d/one").unlink()
    (tree / "d/one").mkdir()


def _same_stat(tree: Path) -> None:
    """Another content of the same length, with the old mtime."""
    status = (tree / "d/one").stat()
    (tree / "d/one").write_text("7")
    os.utime(tree / "d/one", ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: _append(tree / "d/one"),
    "content alone": _same_stat,
    "a name": _rename,
    "a mode": lambda tree: (tree / "d/one").chmod(0o600),
    "a directory's mode": lambda tree: (tree / "d").chmod(0o700),
    "one more": lambda tree: (tree / "new").touch(),
    "one more directory": lambda tree: (tree / "d/new").mkdir(),
    "one less": lambda tree: (tree / "d/e/two").unlink(),
    "a link's target": _retarget,
    "a kind": _kind,
    "an attribute": lambda tree: os.setxattr(tree / "d/one", "user.note", b"x"),
    "a directory's attribute": lambda tree: os.setxattr(tree / "d", "user.note", b"x"),
    "a hard link": _link,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_notices(tree: Path, change: str, tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "hashes")
    if change == "a hard link":
        (tree / "d/one").write_text("2")
    before = digest(tree, hashes=hashes)
    CHANGES[change](tree)
    assert digest(tree, hashes=hashes) != before
    assert digest(tree) == digest(tree, hashes=hashes)


IGNORED: dict[str, Callable[[Path], object]] = {
    "times": lambda tree: [os.utime(path, (5, 5), follow_symlinks=False) for path in (tree, *tree.rglob("*"))],
    "its own mode": lambda tree: tree.chmod(0o700),
    "attributes that no layer keeps": lambda tree: os.setxattr(tree / "d/one", "user.overlay.x", b"x"),
    "where it is": lambda tree: tree.rename(tree.with_name("elsewhere")) and (tree.with_name("elsewhere")).rename(tree),
}


@pytest.mark.parametrize("change", IGNORED)
def test_the_digest_does_not_notice(tree: Path, change: str) -> None:
    before = digest(tree)
    IGNORED[change](tree)
    assert digest(tree) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_digest_does_not_notice_owners(tree: Path) -> None:
    before = digest(tree)
    for path in tree.rglob("*"):
        os.chown(path, 5, 6, follow_symlinks=False)
    assert digest(tree) == before


FILES = some.dictionaries(
    some.text("abc.é", min_size=1, max_size=3).filter(lambda name: name not in (".", "..")),
    some.tuples(some.binary(max_size=8), some.sampled_from([0o644, 0o600, 0o755]), some.booleans()),
    max_size=6,
)


def _make(root: Path, files: dict[str, tuple[bytes, int, bool]], names: list[str]) -> Path:
    root.mkdir()
    for name in names:
        data, mode, is_link = files[name]
        if is_link:
            (root / name).symlink_to(os.fsdecode(data.hex() or "x"))
        else:
            (root / name).write_bytes(data)
            (root / name).chmod(mode)
    return root


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(one=FILES, other=FILES, random=some.randoms())
def test_two_contexts_have_one_digest_if_and_only_if_they_hold_the_same(
    tmp_path: Path, one: dict[str, tuple[bytes, int, bool]], other: dict[str, tuple[bytes, int, bool]], random: object
) -> None:
    def described(files: dict[str, tuple[bytes, int, bool]]) -> object:
        return {
            name: (data.hex() or "x", "link") if is_link else (data, mode)
            for name, (data, mode, is_link) in files.items()
        }

    shuffled = list(one)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    roots = [
        _make(tmp_path / "1", one, list(one)), _make(tmp_path / "2", one, shuffled), _make(tmp_path / "3", other, list(other)),
    ]  # fmt: skip
    try:
        for path in roots[1].iterdir():
            os.utime(path, (7, 7), follow_symlinks=False)
        digests = [digest(root) for root in roots]
    finally:
        for root in roots:
            shutil.rmtree(root)
    assert digests[0] == digests[1]
    assert (digests[0] == digests[2]) == (described(one) == described(other))


def test_sources_and_their_names_count(tree: Path) -> None:
    choices = [("d",), ("d/e",), ("run",), ("link",), ("run", "link"), ("link", "run"), ("d/*",), ("d/one", "d/e")]
    digests = [digest(tree, Choice(sources)) for sources in choices]
    assert len(set(digests[:-1])) == len(choices) - 1


# --- what is remembered ---


def test_an_unchanged_file_is_not_read_again(tree: Path, tmp_path: Path) -> None:
    for path in tree.rglob("*"):
        os.utime(path, follow_symlinks=False)
    time.sleep(0.05)
    first = digest(tree, hashes=Hashes(tmp_path / "hashes"))
    hashes = Hashes(tmp_path / "hashes")
    assert len(hashes.known) == 6
    for known in hashes.known:
        hashes.known[known] = "remembered"
    assert digest(tree, hashes=hashes) != first


def test_a_file_just_changed_is_not_trusted(tree: Path) -> None:
    """Git's racy rule: it may change again within one tick of the clock and look the same."""
    hashes = Hashes()
    seen = set()
    for number in range(10):
        (tree / "d/one").write_text(str(number))
        seen.add(digest(tree, hashes=hashes))
    assert len(seen) == 10
    assert not [key for key in hashes.known if key.endswith(" d/one")]


def test_a_damaged_memory_is_an_empty_one(tree: Path, tmp_path: Path) -> None:
    for text in (b"", b"\xff", b"[]", b'{"version": 1, "files": 3}', b'{"version": 0, "files": {}}'):
        (tmp_path / "hashes").write_bytes(text)
        assert digest(tree, hashes=Hashes(tmp_path / "hashes")) == digest(tree)


def test_a_memory_that_cannot_be_written_is_no_error(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert digest(tree, hashes=Hashes(tmp_path / "file/hashes")) == digest(tree)


def test_a_change_after_reading_is_noticed(tree: Path) -> None:
    with Context.directory(tree) as context:
        reading = context.read(Choice(("d",)))
        assert context.unchanged(reading)
        (tree / "run").write_text("elsewhere")
        assert context.unchanged(reading)
        (tree / "d/new").touch()
        assert not context.unchanged(reading)
        (tree / "d/new").unlink()
        reading = context.read(Choice(("d",)))
        _same_stat(tree)
        assert not context.unchanged(reading)
        shutil.rmtree(tree / "d")
        assert not context.unchanged(reading)


def test_an_unchanged_context_of_20000_files_costs_stats_only(tmp_path: Path) -> None:
    """150 ms are the budget here; three times that is allowed to a busy machine, and a read of each is far more."""
    for folder in range(100):
        (tmp_path / f"c/{folder}").mkdir(parents=True)
        for number in range(200):
            (tmp_path / f"c/{folder}/{number}").write_text("x")
    time.sleep(0.05)
    digest(tmp_path / "c", hashes=Hashes(tmp_path / "hashes"))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        digest(tmp_path / "c", hashes=Hashes(tmp_path / "hashes"))
        times.append(time.perf_counter() - began)
    assert min(times) < 0.45


# --- Dockerfile and .dockerignore ---


def test_the_dockerfiles_own_ignore_file_counts_first(tree: Path, tmp_path: Path) -> None:
    (tree / "Dockerfile").write_text("FROM scratch")
    (tree / ".dockerignore").write_text("d\n")
    with Context.directory(tree) as context:
        assert context.dockerfile() == ("Dockerfile", b"FROM scratch")
        assert context.ignore.patterns == ("d",)
        (tree / "Dockerfile.dockerignore").write_text("run\n")
        context.dockerfile()
        assert (context.ignore.patterns, context.ignore.where) == (("run",), "Dockerfile.dockerignore")
        (tmp_path / "out.df").write_text("FROM x")
        assert context.dockerfile(tmp_path / "out.df").data == b"FROM x"
        assert context.ignore.patterns == ("d",)
        (tmp_path / "out.df.dockerignore").write_text("link")
        context.dockerfile(tmp_path / "out.df")
        assert context.ignore.patterns == ("link",)
        context.inline(b"")
        assert context.ignore.patterns == ("d",)


def test_a_small_letter_does_as_well(tree: Path) -> None:
    (tree / "dockerfile").write_text("FROM y")
    with Context.directory(tree) as context:
        assert context.dockerfile().name == "dockerfile"


def test_what_is_no_dockerfile(tree: Path, tmp_path: Path) -> None:
    with Context.directory(tree) as context:
        with pytest.raises(NotFound, match="Dockerfile: no such Dockerfile in the build context"):
            context.dockerfile()
        with pytest.raises(NotFound, match="no such Dockerfile"):
            context.dockerfile(tmp_path / "none")
        with pytest.raises(InvalidArgument, match="no ordinary file"):
            context.dockerfile(tree / "d")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidArgument, match="no ordinary file"):
            context.dockerfile(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(bytes(5 << 20))
        with pytest.raises(InvalidArgument, match="larger than"):
            context.dockerfile(tmp_path / "large")
    with pytest.raises(NotFound, match="no such build context"):
        Context.directory(tmp_path / "none")
    with pytest.raises(InvalidArgument, match="not a build context"):
        Context.directory(tree / "run")


# --- streams ---


def _tar(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.gid = len(data), 1234, 5678
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("packed", [lambda data: data, gzip.compress, bz2.compress])
def test_a_tar_is_a_context_until_it_is_closed(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    data = packed(_tar(("sub/Dockerfile", b"FROM z"), ("x/y", b"1"), (".dockerignore", b"sub\n")))
    mask = os.umask(0o077)
    try:
        with Context.stream(io.BytesIO(data), tmp_path / "area") as context:
            assert context.dockerfile("sub/Dockerfile").data == b"FROM z"
            assert context.text is None
            reading = context.read(ALL)
            assert [one.name for one in reading.selected] == ["", ".dockerignore", "x", "x/y"]
            assert [oct(one.status.st_mode) for one in reading.selected][2:] == ["0o40755", "0o100644"]
            with pytest.raises(NotFound):
                context.dockerfile("../../etc/passwd")
    finally:
        os.umask(mask)
    assert list((tmp_path / "area").iterdir()) == []


def test_a_dockerfile_alone_has_an_empty_context(tmp_path: Path) -> None:
    with Context.stream(io.BytesIO(b"FROM scratch\n"), tmp_path) as context:
        assert context.dockerfile() == ("-", b"FROM scratch\n")
        assert [one.name for one in context.read(ALL).selected] == [""]
    with pytest.raises(InvalidArgument, match="larger than"):
        Context.stream(io.BytesIO(b"x" * (5 << 20)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (_tar(("../x", b"")), "leaves the root"),
        (_tar(("a/.wh.x", b"")), "would remove something"),
        (_tar(("a", b"x" * 2000))[:1000], "ends in the middle"),
        (gzip.compress(_tar(("a", b"")))[:20], "ends too early"),
    ],
)
def test_a_bad_tar_is_refused_and_leaves_nothing(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(InvalidArchive, match=text):
        Context.stream(io.BytesIO(data), tmp_path)
    assert list(tmp_path.iterdir()) == []
