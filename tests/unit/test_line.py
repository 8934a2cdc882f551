"""The line of a magic: what is substituted, what stays as written, how it is split."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.line import continued, substitute, words

FOLDER = "/home/ada/my notes"
VARIABLES = {
    "tag": "3.12",
    "n": 5,
    "where": Path("/data"),
    "flags": "-e A=1 -e B=2",
    "quoted": "it's",
    "open": open,
    "os": os,
    "ünï": "ü",
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python:{tag}", ["python:3.12"]),
        ("python:$tag-slim", ["python:3.12-slim"]),
        ("python:${tag}_x", ["python:3.12_x"]),
        ("-e N=$n -v {where}:/d", ["-e", "N=5", "-v", "/data:/d"]),
        ("{flags} debian", ["-e", "A=1", "-e", "B=2", "debian"]),
        ('"{flags}" x', ["-e A=1 -e B=2", "x"]),
        ("{ünï}", ["ü"]),
        ("-v $PWD:/w", ["-v", "/home/ada/my notes:/w"]),
        ("-v ${PWD}/x:/w", ["-v", "/home/ada/my notes/x:/w"]),
        ("-v $(pwd):/w", ["-v", "/home/ada/my notes:/w"]),
        ("-v `pwd`/data:/w", ["-v", "/home/ada/my notes/data:/w"]),
        ('-v "$PWD":/w', ["-v", "/home/ada/my notes:/w"]),
        ("inspect -f {{.Id}} {{tag}}", ["inspect", "-f", "{{.Id}}", "{{tag}}"]),
        ("-f '{{range $k,$v := .x}}{{$tag}}{{end}}'", ["-f", "{{range $k,$v := .x}}{{$tag}}{{end}}"]),
        ("{tag + 1} {tag.x} {tag[0]} {tag!r} {}", ["{tag", "+", "1}", "{tag.x}", "{tag[0]}", "{tag!r}", "{}"]),
        ("$unknown {unknown} ${unknown} $1 $ {", ["$unknown", "{unknown}", "${unknown}", "$1", "$", "{"]),
        ("$(whoami) `date`", ["$(whoami)", "`date`"]),
        ("{open} $os", ["{open}", "$os"]),
        ("sh -c 'echo $HOME # no comment'", ["sh", "-c", "echo $HOME # no comment"]),
        ("a # b", ["a", "#", "b"]),
        ("\\$tag \\{tag}", ["$tag", "{tag}"]),
        ("sh -c 'echo $$tag $$other'", ["sh", "-c", "echo $tag $$other"]),
        ("{PWD}", ["{PWD}"]),
        ("a \\\n   b\\\n c", ["a", "b", "c"]),
        ("'a\nb'", ["a\nb"]),
        ("", []),
    ],
)
def test_a_line_becomes_words(line: str, expected: list[str]) -> None:
    assert words(line, VARIABLES, FOLDER) == expected


def test_a_variable_named_pwd_wins_over_the_folder() -> None:
    assert words("$PWD", {"PWD": "mine"}, FOLDER) == ["mine"]


def test_nothing_is_evaluated() -> None:
    class Trap:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

        def __str__(self) -> str:
            return "value"

    assert words("{trap} {trap.x}", {"trap": Trap()}, FOLDER) == ["value", "{trap.x}"]


def test_a_value_is_not_substituted_again() -> None:
    assert words("{a}", {"a": "{b}$b", "b": "no"}, FOLDER) == ["{b}$b"]


def test_an_open_quote_is_told_in_one_line() -> None:
    with pytest.raises(InvalidArgument, match="the line: No closing quotation"):
        words("-e A='b", {}, FOLDER)


def test_the_line_of_a_cell_goes_on_after_a_backslash() -> None:
    assert continued("-v a:/a \\", "  -e A=b \\\ndebian\necho hi\n") == ("-v a:/a  -e A=b  debian", "echo hi\n")
    assert continued("debian", "echo \\\nhi") == ("debian", "echo \\\nhi")
    assert continued("debian \\\\", "x") == ("debian \\\\", "x")


def test_a_substituted_line_can_be_shown() -> None:
    assert substitute("run -v $PWD:/x {tag}", VARIABLES, "/f") == "run -v /f:/x 3.12"


@given(st.text(st.characters(exclude_characters="$`{\\\0", exclude_categories=["Cs"])))
def test_a_line_without_marks_is_split_as_shlex_does(line: str) -> None:
    try:
        expected = shlex.split(line)
    except ValueError:
        return
    assert words(line, VARIABLES, FOLDER) == expected


@given(st.text(st.sampled_from("ab${}()`'\"\\ \n"), max_size=20))
def test_any_line_is_words_or_a_refusal(line: str) -> None:
    try:
        words(line, {"a": "1"}, FOLDER)
    except InvalidArgument as error:
        assert "quot" in error.what or "escape" in error.what
