"""Patterns as Go's filepath.Match and moby's patternmatcher have them; their own tables, and what we refuse."""

from __future__ import annotations

import time

import pytest

from jupyter_containers.build.patterns import Ignore, clean, has_wildcards, matcher
from jupyter_containers.errors import InvalidArgument

# pattern, name, whether it fits: as the tests of Go's path/filepath have them.
MATCHES = [
    ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True), ("a*", "abc", True),
    ("a*b*c*d*e*", "axbxcxdxe", True), ("a*b*c*d*e*", "axbxcxdxexxx", True), ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False), ("ab[c]", "abc", True), ("ab[b-d]", "abc", True), ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False), ("ab[^b-d]", "abc", False), ("ab[^e-g]", "abc", True), ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False), ("a?b", "a☺b", True), ("a[^a]b", "a☺b", True), ("a???b", "a☺b", False),
    ("a[^a][^a][^a]b", "a☺b", False), ("[a-ζ]*", "α", True), ("*[a-ζ]", "A", False), ("[\\]a]", "]", True),
    ("[\\-]", "-", True), ("[x\\-]", "x", True), ("[x\\-]", "-", True), ("[x\\-]", "z", False), ("[\\-x]", "x", True),
    ("[\\-x]", "a", False), ("*x", "xxx", True), ("[[]0]", "[0]", True), ("[!a]", "!", True), ("{a}", "{a}", True),
    ("a\nb*", "a\nbc", True), ("", "", True),
]  # fmt: skip
MALFORMED = ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[b-a]", "[a", "[\\"]
# As patternmatcher's TestMatches has them.
IGNORED = [
    ("**", "file", True), ("**/", "file", True), ("**", "dir/file", True), ("**/", "dir/file", True),
    ("**/**", "dir/file", True), ("dir/**", "dir/file", True), ("dir/**", "dir/dir2/file", True), ("**/dir", "dir", True),
    ("**/dir", "dir/file", True), ("**/dir2/*", "dir/dir2/file", True), ("**/dir2/**", "dir/dir2/dir3/file", True),
    ("**file", "file", True), ("**file", "dir/file", True), ("**/file", "dir/file", True), ("**file", "dir/dir/file", True),
    ("**/file*", "dir/dir/file.txt", True), ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True), ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False), ("**/*.txt", "file.txt", True), ("**/**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True), ("a**/*.txt", "a/dir/dir/file.txt", True), ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True), ("a/*.txt**", "a/file.txt", True), ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True), ("a[^b-d]e", "aze", True), (".*", ".foo", True), (".*", "foo", False),
    ("abc.def", "abcdef", False), ("abc.def", "abcZdef", False), ("abc?def", "abcZdef", True), ("a\\\\", "a\\", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True), ("abc/**", "abc", False), ("abc/**", "abc/def/ghi", True),
    ("**/.foo", "bar.foo", False), ("a(b)c/def", "a(b)c/def", True), ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", True), ("docs/", "docs/a", True),
    ("./docs", "docs/a", True), ("/docs", "docs/a", True), ("x/../docs", "docs", True), (".", "docs", False),
    ("/", "docs", False), ("..", "docs", False), ("*b*d**", "abcd/e", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "name", "fits"), MATCHES)
def test_a_copy_pattern_fits_what_filepath_match_says(pattern: str, name: str, fits: bool) -> None:
    assert bool(matcher(pattern).fullmatch(name)) is fits


@pytest.mark.parametrize("pattern", MALFORMED)
def test_a_malformed_pattern_is_an_error_that_names_it(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="not a pattern") as caught:
        matcher(pattern)
    assert repr(pattern) in str(caught.value)
    with pytest.raises(InvalidArgument, match=r"ignored\.txt"):
        Ignore([pattern], "ignored.txt")


@pytest.mark.parametrize(("pattern", "name", "ignored"), IGNORED)
def test_an_ignored_name_is_one_that_patternmatcher_ignores(pattern: str, name: str, ignored: bool) -> None:
    assert Ignore.parse(pattern.encode()).walked(name)[0] is ignored


@pytest.mark.parametrize(
    ("patterns", "name", "ignored"),
    [
        ("docs\n!docs/README.md", "docs/README.md", False),
        ("docs/*\n!docs/README.md", "docs/a", True),
        ("!a.go\n*.go", "a.go", True),
        ("*.go\n!a.go", "a.go", False),
        ("**\n!util/docker/web", "util/docker/web/foo", False),
        ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", True),
        ("\ufeff# a comment\n\n  a  \n! a/b ", "a/b", False),
        (" # no comment", "# no comment", True),
        ("*\n!/src", "src/deep/x", False),
        ("*\r\n!x\r\n", "x", False),
    ],
)
def test_the_last_pattern_that_fits_decides(patterns: str, name: str, ignored: bool) -> None:
    assert Ignore.parse(patterns.encode()).walked(name)[0] is ignored


def test_an_exclamation_mark_alone_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match=r"x\.dockerignore: a `!` needs a pattern"):
        Ignore.parse(b"!\n", "x.dockerignore")


def test_what_may_come_back_is_known_without_walking() -> None:
    ignore = Ignore(["*", "!src/*.py", "!**/keep", "!a/b"])
    assert ignore.may_return("src")
    assert ignore.may_return("anything")  # keep may be in it
    ignore = Ignore(["node_modules", "!src/x"])
    assert not ignore.may_return("node_modules")
    assert ignore.may_return("src")


def test_many_stars_take_no_time() -> None:
    began = time.monotonic()
    assert not matcher("*a" * 30 + "b").fullmatch("a" * 4000)
    assert not Ignore(["*a" * 30 + "b"]).walked("a" * 4000)[0]
    assert time.monotonic() - began < 2


def test_names_are_cleaned_as_go_cleans_them() -> None:
    for path, expected in {
        "": ".",
        "a/./b//c/": "a/b/c",
        "../../a": "../../a",
        "/../a": "/a",
        "a/../..": "..",
        "/": "/",
    }.items():
        assert clean(path) == expected
    assert [has_wildcards(name) for name in ("a*", "a?", "[a", "a\\*", "a]", "\\")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
