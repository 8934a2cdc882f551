"""Which stages a build needs, and which of them needs which. Pure.

Stages that the target does not need are not built, as BuildKit does and docker's old builder does not. A name after
``FROM`` or ``--from`` is that of an earlier stage, otherwise an image's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_containers.build import scope
from jupyter_containers.build.dockerfile import Dockerfile, Stage
from jupyter_containers.build.instructions import Copy, From, Instruction, Run
from jupyter_containers.errors import InvalidArgument, suggest

SCRATCH = "scratch"


@dataclass(frozen=True)
class StagePlan:
    """One stage that is needed.

    Attributes:
        stage: as parsed. base: its ``FROM``, expanded.
        below: the index of the stage that it begins with; None for an image.
        needs: indexes of all stages that it needs.
    """

    stage: Stage
    base: From
    below: int | None
    needs: frozenset[int]

    @property
    def shown(self) -> str:
        """Its name, or its number."""
        return self.stage.name or f"stage-{self.stage.index}"


@dataclass(frozen=True)
class Plan:
    """A build before it begins: the stages that are needed by index, in the order of the file, and the last one."""

    stages: Mapping[int, StagePlan]
    target: int


def plan(dockerfile: Dockerfile, args: Mapping[str, str], target: str = "") -> Plan:
    """What has to be built.

    Args:
        args: the global arguments, see :func:`scope.global_args`.
        target: name or number of a stage; the last one where empty.

    Raises:
        InvalidArgument: there is no such stage, with the nearest name.
        DockerfileError: the name of a base is malformed.
    """
    last = _target(dockerfile, target).index
    found: dict[int, StagePlan] = {}
    todo = [last]
    while todo:
        index = todo.pop()
        if index not in found:
            found[index] = stage_plan(dockerfile, dockerfile.stages[index], args)
            todo += found[index].needs
    return Plan(dict(sorted(found.items())), last)


def stage_plan(dockerfile: Dockerfile, stage: Stage, args: Mapping[str, str]) -> StagePlan:
    """One stage, with what it needs."""
    base = scope.base(stage.base, args, dockerfile.directives.escape)
    below = earlier(dockerfile, base.base, stage.index, by_number=False)
    needs = {below} | {earlier(dockerfile, name, stage.index) for one in stage.instructions for name in sources(one)}
    return StagePlan(stage, base, below, frozenset(index for index in needs if index is not None))


def earlier(dockerfile: Dockerfile, name: str, before: int, by_number: bool = True) -> int | None:
    """The index of the stage *name* among those before *before*; None where it must be an image."""
    if name.isdecimal() and not by_number:
        return None
    stage = dockerfile.stage(name)
    return stage.index if stage and stage.index < before else None


def sources(instruction: Instruction) -> list[str]:
    """The stages or images that an instruction reads from."""
    if isinstance(instruction, Copy):
        return [instruction.from_] if instruction.from_ else []
    if isinstance(instruction, Run):
        return [mount.from_ for mount in instruction.mounts if mount.from_]
    return []


def _target(dockerfile: Dockerfile, name: str) -> Stage:
    if not name:
        return dockerfile.stages[-1]
    if (stage := dockerfile.stage(name)) is None:
        known = [stage.name for stage in dockerfile.stages if stage.name]
        mend = suggest(name, known) or (
            f"Its stages: {', '.join(known)}." if known else "None of its stages has a name."
        )
        raise InvalidArgument(f"target stage {name!r:.80} could not be found", dockerfile.source.name, mend)
    return stage
