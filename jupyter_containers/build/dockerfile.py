"""A Dockerfile as a whole: directives, global arguments and stages.

Pure: nothing is read and no base image is known. What depends on build arguments (the base's name) stays as written;
:mod:`jupyter_containers.build.scope` resolves it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_containers.build.instructions import Arg, From, Instruction
from jupyter_containers.build.parser import Directives
from jupyter_containers.build.source import Source


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
        if name.isdecimal():
            return self.stages[int(name)] if int(name) < len(self.stages) else None
        return next((stage for stage in self.stages if stage.name and stage.name == name.lower()), None)


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """The Dockerfile that *text* is; *name* is what errors call it.

    Raises:
        DockerfileError: with the line, and the nearest word where one is misspelt.
    """
    raise NotImplementedError
