"""A Dockerfile as a whole: directives, global arguments and stages.

Pure: nothing is read and no base image is known. What depends on build arguments (the base's name) stays as written;
:mod:`jupyter_containers.build.scope` resolves it. As BuildKit's ``instructions/parse.go``, but two stages of one name
are refused, as docker's own builder did: BuildKit takes the second one and warns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from jupyter_containers.build import parser
from jupyter_containers.build.instructions import Arg, From, Instruction
from jupyter_containers.build.interpret import interpret
from jupyter_containers.build.parser import Directives
from jupyter_containers.build.source import Location, Source


@dataclass(frozen=True)
class Stage:
    """``FROM`` and the instructions up to the next one.

    Args:
        index: its number, from 0: what ``--from=0`` means.
        name: in small letters; empty where it has none.
        base: its ``FROM``, unexpanded.
        instructions: what follows.
    """

    index: int
    name: str
    base: From
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """A file that parsed.

    Args:
        source: its text and name.
        directives: the parser directives.
        args: the ``ARG`` instructions before the first ``FROM``.
        stages: at least one; the last one is the default target.
    """

    source: Source
    directives: Directives
    args: tuple[Arg, ...]
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage | None:
        """The stage of a name, case-insensitive, or of a number; ``None`` where there is none."""
        if name.isascii() and name.isdecimal():
            number = int(name[:9])
            return self.stages[number] if number < len(self.stages) else None
        return next((stage for stage in self.stages if stage.name and stage.name == name.lower()), None)


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """The Dockerfile that *text* is; *name* is what errors call it.

    Raises:
        DockerfileError: with the line, and the nearest word where one is misspelt.
    """
    source = Source(text, name)
    directives, nodes = parser.parse(source)
    found = [interpret(node, directives.escape) for node in nodes]
    starts = [number for number, one in enumerate(found) if isinstance(one, From)]
    args = _global_args(found[: starts[0]] if starts else found)
    if not starts:
        mend = "Name the image to start from: FROM IMAGE, or FROM scratch."
        raise nodes[-1].location.error("the Dockerfile has no stage to build", mend=mend)
    return Dockerfile(source, directives, args, tuple(_stages(found, starts)))


def instruction(text: str, name: str = "--change", escape: str = "\\") -> Instruction:
    """The one instruction that *text* is.

    Raises:
        DockerfileError: it is malformed, none, or more than one.
    """
    _, nodes = parser.parse(Source(text, name))
    if len(nodes) > 1:
        raise nodes[1].location.error("only a single instruction can stand here", nodes[1].keyword)
    return interpret(nodes[0], escape)


def trigger(expression: str, location: Location, escape: str = "\\") -> Instruction:
    """The instruction that an ``ONBUILD`` of the base image carries.

    Args:
        expression: what the base's configuration has.
        location: the ``FROM`` of the stage that it is carried out in, which stands for it in errors.
        escape: the escape character that its words are expanded with.

    Raises:
        DockerfileError: it is no single instruction, or one that can't be a trigger.
    """
    found = instruction(expression, "ONBUILD", escape)
    if found.keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise location.error(f"{found.keyword} isn't allowed as an ONBUILD trigger of the base image")
    return replace(found, location=location)


def _global_args(found: list[Instruction]) -> tuple[Arg, ...]:
    """What comes before the first ``FROM``, which can only be ``ARG``."""
    for one in found:
        if not isinstance(one, Arg):
            mend = "Begin with FROM IMAGE; only ARG may stand before it."
            raise one.location.error(f"{one.keyword} comes before the first FROM", mend=mend)
    return tuple(one for one in found if isinstance(one, Arg))


def _stages(found: list[Instruction], starts: list[int]) -> Iterator[Stage]:
    names: dict[str, Location] = {}
    for index, (start, end) in enumerate(pairwise([*starts, len(found)])):
        base = found[start]
        assert isinstance(base, From)
        if base.name in names:
            mend = f"Line {names[base.name].first} has it; give this one another name."
            raise base.location.error(f"duplicate stage name {base.name!r}", base.text.split()[-1], mend)
        if base.name:
            names[base.name] = base.location
        yield Stage(index, base.name, base, tuple(found[start + 1 : end]))
