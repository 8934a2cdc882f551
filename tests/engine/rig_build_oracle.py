"""The rig of the comparison with docker's builds: cases read from files, and what docker makes of them.

A file ``dockerfiles/TOPIC.cases`` holds many cases. Each begins with ``=== NAME``; then come, in any order,

``$ COMMAND``         a line of shell that makes the context (all of them run in one ``sh -e``)
``options: WORDS``    options of ``docker build``
``differs: REASON``   docker's old builder and BuildKit differ here, and we follow BuildKit
``expect: JSON``      what ours must be then: ``{"config": {KEY: value}, "tree": {PATH: [first columns of its row]},
                      "error": TEXT}``, all optional; null: there must be none

and the Dockerfile up to the next case. The docker here has only the old builder (``DOCKER_BUILDKIT=0``).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engine.rig_builds import unpacked
from tests.rigs import dockerd as docker_rig
from tests.rigs.trees import Tree

FOLDER = Path(__file__).resolve().parent / "dockerfiles"
_SECONDS = 120
_OPTIONS = {"--build-arg": "args", "--label": "labels", "--target": "target", "-f": "dockerfile"}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        topic, name: the file it is in, and what it says.
        context: shell script. options: docker's words. dockerfile: text.
        differs: why docker's old builder does something else; empty where it must not. expect: see above.
    """

    topic: str
    name: str
    dockerfile: str
    context: str = ""
    options: tuple[str, ...] = ()
    differs: str = ""
    expect: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.topic}: {self.name}"

    @property
    def ours(self) -> dict[str, Any]:
        """The options as keywords of ``BuildOptions``."""
        found: dict[str, Any] = {}
        words = iter(self.options)
        for word in words:
            name, value = _OPTIONS[word], next(words)
            if name in ("args", "labels"):
                key, equals, text = value.partition("=")
                given = {key: text} if equals else {key: os.environ[key]} if key in os.environ else {}
                found[name] = found.get(name, {}) | given
            else:
                found[name] = value
        return found


@dataclass(frozen=True)
class Theirs:
    """What docker made: an image's configuration and files, or its last words."""

    config: dict[str, Any] = field(default_factory=dict)
    tree: Tree = field(default_factory=dict)
    error: str = ""


def cases() -> list[Case]:
    """All cases, in the order of files and lines."""
    return [case for path in sorted(FOLDER.glob("*.cases")) for case in read(path)]


def read(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    _, *parts = f"\n{path.read_text()}".split("\n=== ")
    for part in parts:
        name, *lines = part.splitlines()
        head: dict[str, list[str]] = {"$ ": [], "options: ": [], "differs: ": [], "expect: ": []}
        while kind := next((word for word in head if lines[0].startswith(word)), ""):
            head[kind].append(lines.pop(0).removeprefix(kind))
        yield Case(
            topic=path.stem, name=name, dockerfile="\n".join(lines).rstrip("\n") + "\n", context="\n".join(head["$ "]),
            options=tuple(word for line in head["options: "] for word in shlex.split(line)),
            differs=" ".join(head["differs: "]), expect=json.loads(" ".join(head["expect: "]) or "{}"),
        )  # fmt: skip


def docker_build(socket: Path, case: Case, context: Path) -> Theirs:
    """What docker's old builder makes of a case, its context made in *context*; images stay, for other cases' cache."""
    context.mkdir()
    subprocess.run(["sh", "-ec", case.context], cwd=context, check=True, capture_output=True)
    (context / "Dockerfile").write_text(case.dockerfile)
    command = ["docker", "-H", f"unix://{socket}", "build", "--network=none", "-q", "--force-rm"]
    options = [str(context / word) if before == "-f" else word for before, word in _pairs(case.options)]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        [*command, *options, str(context)], env=environment, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        return Theirs(error=done.stderr.decode().strip().splitlines()[-1])
    image = done.stdout.decode().split()[-1]
    archive = subprocess.run(
        ["docker", "-H", f"unix://{socket}", "save", image], capture_output=True, timeout=_SECONDS, check=True
    ).stdout
    return Theirs(*unpacked(archive))


def load(socket: Path, archive: Path) -> None:
    """Have docker's base be the very image that ours begin with."""
    docker_rig.docker(socket, "load", "-q", "-i", str(archive))


def _pairs(words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return zip(("", *words), words, strict=False)
