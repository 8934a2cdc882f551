"""BuildKit's own tables of the Dockerfile language, read in place (shared/conformance/README.md says where from)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_containers.build.parser import Node, parse
from jupyter_containers.build.source import Fault, Source
from jupyter_containers.build.words import Lexer
from jupyter_containers.errors import DockerfileError
from tests.rigs.abilities import must
from tests.rigs.users import CHECKOUT

# A checkout has shared/ beside it, a worktree one folder further up.
_PLACES = [os.environ.get("JC_CONFORMANCE", ""), CHECKOUT.parent / "shared/conformance",
           CHECKOUT.parent.parent / "shared/conformance"]  # fmt: skip
CONFORMANCE = next((Path(place) for place in _PLACES if place and Path(place, "dockerfile").is_dir()), None)
ENV = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"',
            "\\": "\\\\", "\0": "\\x00"}  # fmt: skip


def folder(name: str) -> Path:
    must(CONFORMANCE, "BuildKit's test data: set JC_CONFORMANCE to the folder that has dockerfile/")
    assert CONFORMANCE
    return CONFORMANCE / "dockerfile" / name


def cases(name: str) -> list[str]:
    return sorted(path.name for path in (CONFORMANCE / "dockerfile" / name).iterdir()) if CONFORMANCE else []


def quoted(text: str) -> str:
    """Go's ``%q`` for what the tables have."""
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def dump(node: Node) -> str:
    """A node as BuildKit's ``Node.Dump`` writes it."""
    flags = [f"[{' '.join(map(quoted, node.flags))}]"] if node.flags else []
    child = [f"({dump(node.child)})"] if node.child else []
    return " ".join([node.keyword.lower(), *flags, *map(quoted, node.arguments.words), *child])


def source(case: Path) -> Source:
    return Source((case / "Dockerfile").read_bytes().decode())


def test_the_tables_are_there() -> None:
    assert folder("parser").is_dir()
    assert len(cases("parser")) >= 30
    assert len(cases("parser-negative")) >= 4


@pytest.mark.parametrize("name", cases("parser"))
def test_a_file_parses_to_buildkits_nodes(name: str) -> None:
    _, nodes = parse(source(folder("parser") / name))
    assert [f"({dump(node)})" for node in nodes] == (folder("parser") / name / "result").read_text().splitlines()


@pytest.mark.parametrize("name", cases("parser-negative"))
def test_a_file_that_buildkit_refuses_is_refused(name: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(source(folder("parser-negative") / name))
    assert caught.value.line >= 1
    assert caught.value.excerpt


def test_every_row_of_the_table_of_expansions() -> None:
    wrong, count = [], 0
    for line in folder("envVarTest").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        platform, text, expected = (part.strip() for part in line.split("|"))
        if platform == "W":
            continue
        count += 1
        if (found := word(text)) != expected:
            wrong.append((text, expected, found))
    assert not wrong
    assert count > 220


def word(text: str) -> str:
    try:
        return Lexer().word(text, ENV)
    except Fault:
        return "error"


def test_every_row_of_the_table_of_words() -> None:
    env: dict[str, str] = {}
    wrong = []
    for line in folder("wordsTest").read_text().splitlines():
        if line.startswith("ENV "):
            name, _, value = line.removeprefix("ENV ").lstrip(" ").partition("=")
            env[name] = value
        elif line and not line.startswith("#"):
            text, _, expected = line.partition("|")
            found = split(text.strip(), env)
            wrong += [] if found == expected.lstrip(" ").split(",") else [(text, expected, found)]
    assert not wrong


def split(text: str, env: dict[str, str]) -> list[str]:
    try:
        return Lexer().split(text, env)
    except Fault:
        return ["error"]
