"""Carries out one stage: instruction by instruction, from state to state.

What only changes the configuration costs nothing. What makes files is looked up in the cache first, by a key of all
that it depends on: the files below (not how they came to be), the instruction once expanded, what it reads. So a
changed ``LABEL`` leaves later steps cached, and so does a step that was done again and gave the same. Not here: how
layers are made (``layering``, ``runs``, ``transfer``), which stages there are (``builder``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jupyter_containers.build import configure, scope
from jupyter_containers.build.cache import key_of
from jupyter_containers.build.dockerfile import trigger
from jupyter_containers.build.events import step_id
from jupyter_containers.build.expand import expand
from jupyter_containers.build.instructions import Arg, Instruction, Maintainer, Run, Transfer, Workdir
from jupyter_containers.build.plan import StagePlan
from jupyter_containers.build.source import located
from jupyter_containers.build.state import Layer, State
from jupyter_containers.errors import Conflict

if TYPE_CHECKING:
    from jupyter_containers.build.builder import Build

_ATTEMPTS = 3

Made = tuple[Layer | None, int]
Make = Callable[[], Made]


class Changed(Conflict):
    """A file was changed between being hashed and being copied: what was copied is not what the key says."""


@dataclass(frozen=True)
class Step:
    """An instruction that is about to make files, with what it may depend on.

    Attributes:
        id: its name in events. state: what is there before it.
        args: build arguments that are in scope and not hidden by ``ENV``.
    """

    id: str
    instruction: Instruction
    state: State
    args: Mapping[str, str]


class StageBuild:
    """One stage on its way."""

    def __init__(self, build: Build, plan: StagePlan, base: State) -> None:
        self._build, self._plan, self._state = build, plan, base.findable()
        self._args: dict[str, str] = {}
        self._past = configure.State()
        self._number = 0

    def run(self) -> State:
        """The state after its last instruction.

        Raises:
            DockerfileError: an instruction is wrong or failed, at its line.
            Cancelled: another stage failed.
        """
        triggers = self._triggers()
        if triggers:
            self._build.announce(self._plan, triggers)
        for text in triggers:
            self._do(trigger(text, self._plan.base.location, self._build.escape))
        for instruction in self._plan.stage.instructions:
            self._do(instruction)
        return self._state

    def _triggers(self) -> list[str]:
        """What the base wants done first; it is not handed down."""
        triggers = [str(text) for text in self._state.config.get("OnBuild") or []]
        if triggers:
            config = {key: value for key, value in self._state.config.items() if key != "OnBuild"}
            self._state = replace(self._state, config=config)
        return triggers

    def _do(self, instruction: Instruction) -> None:
        self._build.sandbox.running.check()
        self._number += 1
        self._build.wait_for(instruction, self._plan.stage.index)
        with self._build.events.step(self._id) as tell, located(instruction.location):
            if isinstance(instruction, Arg):
                self._declare(instruction)
                return
            wanted = expand(instruction, self._variables(), self._build.escape)
            step = Step(self._id, wanted, self._state, self._unhidden())
            if isinstance(wanted, Run):
                self._files(lambda: self._build.runs.prepare(step), tell)
            elif isinstance(wanted, Transfer):
                self._files(lambda: self._build.transfers.prepare(step), tell)
            else:
                self._configure(wanted, tell)
        self._past = self._past.after(instruction)

    @property
    def _id(self) -> str:
        return step_id(self._plan.stage.index, self._number)

    # --- variables ---

    def _variables(self) -> dict[str, str]:
        """What words are expanded with: ``ENV`` hides ``ARG``."""
        return {**self._args, **self._state.env}

    def _unhidden(self) -> dict[str, str]:
        env = self._state.env
        return {name: value for name, value in self._args.items() if name not in env}

    def _declare(self, instruction: Arg) -> None:
        build = self._build
        found = scope.declare(instruction, self._variables(), build.request.args, build.globals, build.escape)
        self._args |= {name: value for name, value in found.items() if value is not None}
        self._state = self._state.then(instruction.text)

    # --- the configuration ---

    def _configure(self, instruction: Instruction, tell: Callable[[str], None]) -> None:
        before = self._state
        if isinstance(instruction, Workdir):
            self._made(self._build.transfers.folder(self._step_of(instruction)), tell)
        config = configure.apply(dict(self._state.config), instruction, self._past)
        made_folder = self._state is not before  # and is in the history
        self._state = (
            replace(self._state, config=config) if made_folder else self._state.then(instruction.text, config=config)
        )
        if isinstance(instruction, Maintainer):
            self._state = replace(self._state, author=instruction.name)

    def _step_of(self, instruction: Instruction) -> Step:
        return Step(self._id, instruction, self._state, self._unhidden())

    # --- files ---

    def _files(self, prepare: Callable[[], Prepared], tell: Callable[[str], None]) -> None:
        """Carry out a step; once more, by what is there then, where somebody edits the context meanwhile."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(Changed):
                return self._made(prepare(), tell)
        return self._made(prepare(), tell)

    def _made(self, prepared: Prepared | None, tell: Callable[[str], None]) -> None:
        """The state with the layer of a step, from the cache or made now."""
        if prepared is None:
            return
        key = key_of(*prepared.key)
        result = self._build.result(key, prepared.created_by, self._state, prepared.make, lambda: tell("cached"))
        self._state = self._state.then(prepared.created_by, result.layer)


@dataclass(frozen=True)
class Prepared:
    """A step that makes files: what its result depends on, and how to get it.

    Attributes:
        key: JSON data, for :func:`cache.key_of`. make: the layer (None for none) and its bytes.
        created_by: for the history.
    """

    key: tuple[object, ...]
    make: Make
    created_by: str
