"""Which files a COPY's sources select, on real directories."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from jupyter_containers.build.patterns import Ignore
from jupyter_containers.build.selection import Choice, select
from jupyter_containers.errors import InvalidArgument, NotFound

FILES = "a.txt b.md dir/x.txt dir/y.md dir/sub/z.txt dir/sub/deep/w other/x.txt home1 home2 [0].txt"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in FILES.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "empty").mkdir()
    (root / "link").symlink_to("a.txt")
    (root / "dirlink").symlink_to("dir")
    (root / "dir/out").symlink_to("../../../etc/passwd")
    (root / "absolute").symlink_to("/dir/x.txt")
    (root / "dangling").symlink_to("nowhere")
    return root


def chosen(
    root: Path, *sources: str, ignore: str = "", exclude: tuple[str, ...] = (), **fields: bool
) -> dict[str, str]:
    """Names relative to the destination, and where they come from."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = select(fd, Choice(sources, exclude, **fields), Ignore.parse(ignore.encode()))
    finally:
        os.close(fd)
    return {one.name: one.path for one in found}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("a.txt", {"a.txt": "a.txt"}),
        ("/a.txt ./b.md", {"a.txt": "a.txt", "b.md": "b.md"}),
        ("../../a.txt", {"a.txt": "a.txt"}),
        ("dir/sub", {"": "dir/sub", "z.txt": "dir/sub/z.txt", "deep": "dir/sub/deep", "deep/w": "dir/sub/deep/w"}),
        ("empty/", {"": "empty"}),
        ("link", {"link": "a.txt"}),
        ("absolute", {"absolute": "dir/x.txt"}),
        ("dirlink/x.txt", {"x.txt": "dir/x.txt"}),
        ("dirlink/sub/z.*", {"z.txt": "dir/sub/z.txt"}),
        ("*.txt", {"a.txt": "a.txt", "[0].txt": "[0].txt"}),
        ("[[]0].txt", {"[0].txt": "[0].txt"}),
        ("*/x.txt", {"x.txt": "other/x.txt"}),
        ("hom* nothing*", {"home1": "home1", "home2": "home2"}),
        ("dir/../a.txt", {"a.txt": "a.txt"}),
    ],
)
def test_sources_select(tree: Path, sources: str, expected: dict[str, str]) -> None:
    assert chosen(tree, *sources.split()) == expected


def test_a_directory_stands_for_what_is_in_it_and_its_links_stay_links(tree: Path) -> None:
    found = chosen(tree, "dir")
    assert set(found) == {"", "x.txt", "y.md", "sub", "sub/z.txt", "sub/deep", "sub/deep/w", "out"}


def test_literal_sources_are_no_patterns(tree: Path) -> None:
    assert chosen(tree, "[0].txt", literal=True) == {"[0].txt": "[0].txt"}


@pytest.mark.parametrize(
    ("ignore", "expected"),
    [
        ("*.txt", {"y.md", "sub", "sub/z.txt", "sub/deep", "sub/deep/w", "x.txt", "out"}),
        ("**/*.txt", {"y.md", "sub", "sub/deep", "sub/deep/w", "out"}),
        ("dir/sub", {"x.txt", "y.md", "out"}),
        ("dir/sub\n!dir/sub/deep/w", {"x.txt", "y.md", "out", "sub", "sub/deep", "sub/deep/w"}),
        ("dir\n!dir/x.txt", {"x.txt"}),
    ],
)
def test_what_dockerignore_hides_is_not_there(tree: Path, ignore: str, expected: set[str]) -> None:
    assert set(chosen(tree, "dir", ignore=ignore)) == expected | {""}


def test_excluded_files_are_left_out_by_their_names_in_the_source(tree: Path) -> None:
    assert set(chosen(tree, "dir", exclude=("*.md", "sub"))) == {"", "x.txt", "out"}
    assert set(chosen(tree, "dir", exclude=("**/*.txt", "!sub/z.txt"))) >= {"sub/z.txt"}
    assert set(chosen(tree, "*.txt", "*.md", exclude=("*.txt",))) == {"b.md"}
    assert set(chosen(tree, "dir", exclude=("*",))) == {""}
    assert chosen(tree, "a.txt", exclude=("*",)) == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dir/x.txt", {"", "dir", "dir/x.txt"}),
        ("dir/./sub/z.txt", {"", "sub", "sub/z.txt"}),
        ("dir/sub/.", {"", "dir", "dir/sub", "dir/sub/z.txt", "dir/sub/deep", "dir/sub/deep/w"}),
        ("./dir/s*", {"", "dir", "dir/sub", "dir/sub/z.txt", "dir/sub/deep", "dir/sub/deep/w"}),
        ("*/./x.txt", {"", "x.txt"}),
        ("**/w", {"", "dir", "dir/sub", "dir/sub/deep", "dir/sub/deep/w"}),
    ],
)
def test_parents_keeps_directories_from_the_pivot_on(tree: Path, source: str, expected: set[str]) -> None:
    assert set(chosen(tree, source, parents=True)) == expected


@pytest.mark.parametrize(
    ("source", "fields", "text"),
    [
        ("a.tx", {}, "a.tx: not found in the build context. Did you mean a.txt?"),
        ("dir/sab/z.txt", {}, "Did you mean dir/sub?"),
        ("dangling", {}, "not found"),
        ("nothing*", {}, "not found"),
        ("dir/missing", {"parents": True}, "not found"),
        ("dir/out", {}, "not found"),
        ("a.txt", {"ignore": "*.txt"}, r"\.dockerignore leaves it out"),
        ("dir/x.txt", {"ignore": "dir"}, "!dir/x.txt"),
        ("a.txt/", {"ignore": "a*"}, "leaves it out"),
    ],
)
def test_a_source_that_selects_nothing_says_why(tree: Path, source: str, fields: dict[str, bool], text: str) -> None:
    with pytest.raises(NotFound, match=text):
        chosen(tree, source, **fields)  # type: ignore[arg-type]


def test_errors_name_the_source(tree: Path) -> None:
    (tree / "loop").symlink_to("loop")
    with pytest.raises(InvalidArgument, match="loop"):
        chosen(tree, "loop")
    with pytest.raises(InvalidArgument, match=r"\[x"):
        chosen(tree, "[x")


def test_sockets_are_left_out_and_pipes_are_not(tree: Path) -> None:
    os.mkfifo(tree / "empty/pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "empty/socket"))
        assert set(chosen(tree, "empty")) == {"", "pipe"}


def test_names_that_are_not_utf8_come_back_as_they_are(tree: Path) -> None:
    (tree / os.fsdecode(b"empty/\xff\xfe")).touch()
    assert os.fsdecode(b"\xff\xfe") in chosen(tree, "empty")


def test_the_selection_loads_little_and_leaves_no_descriptor(tree: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    chosen(tree, ".")
    with pytest.raises(NotFound):
        chosen(tree, "nothing")
    assert len(os.listdir("/proc/self/fd")) == before


def test_ignored_directories_are_not_walked(tree: Path) -> None:
    for number in range(200):
        (tree / f"node_modules/p{number}").mkdir(parents=True)
    seen: list[str] = []
    sys.addaudithook(lambda event, words: seen.append(event) if event == "os.scandir" and watching else None)
    watching = True
    chosen(tree, ".", ignore="node_modules\n!src/x\n")
    watching = False
    assert len(seen) < 20
