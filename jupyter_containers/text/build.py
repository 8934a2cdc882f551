"""The state of a build, made of its events (``build.events``), and how it shows itself. Pure, but for a clock.

Words of Dockerfiles and of programs are not trusted: what is kept here has no control characters. Not here: its looks
(``build_tree``, ``build_html``, ``build_plain``), when and where it is drawn (``cli.building``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .build_output import Line, Output
from .neutral import one_line
from .progress import Progress

Event = Mapping[str, Any]

WAITING, RUNNING, DONE, CACHED, FAILED, CANCELED = "waiting", "running", "done", "cached", "failed", "canceled"
_MAKE_FILES = frozenset(["FROM", "RUN", "COPY", "ADD", "WORKDIR"])  # BuildKit counts and shows only these


@dataclass
class Step:
    """One instruction; that of a stage's number 0 is its ``FROM``.

    Attributes:
        begun: by the state's clock. seconds: how long it took, once it has ended.
        error: why it failed. pull: of the image that it needs.
    """

    id: str
    text: str
    status: str = WAITING
    begun: float = 0.0
    seconds: float = 0.0
    error: str = ""
    output: Output = field(default_factory=Output)
    pull: Progress = field(default_factory=Progress)

    @property
    def is_base(self) -> bool:
        """Whether it is the stage's ``FROM``."""
        return self.id.endswith(".0")

    @property
    def makes_files(self) -> bool:
        """Whether it may take time; other instructions only change the configuration."""
        return self.text.partition(" ")[0].upper() in _MAKE_FILES

    @property
    def has_ended(self) -> bool:
        """Whether no more comes of it."""
        return self.status not in (WAITING, RUNNING)

    def lasted(self, now: float) -> float:
        """Seconds until it ended, or until now."""
        return max(0.0, now - self.begun) if self.status == RUNNING else self.seconds


@dataclass
class Stage:
    """A stage: its steps in their order, its ``FROM`` first."""

    index: int
    name: str
    steps: dict[str, Step]

    @property
    def base(self) -> Step:
        """Its ``FROM``."""
        return next(iter(self.steps.values()))

    def place(self, step: Step) -> tuple[int, int]:
        """Which of the steps that may take time it is, from 1, and how many there are."""
        counted = [one.id for one in self.steps.values() if one.makes_files or one is step]
        return counted.index(step.id) + 1, len(counted)


@dataclass
class BuildState:
    """A build, as far as it has got.

    Attributes:
        names: that the image will have. clock: seconds; only differences count.
        outcome: ``running``, ``done``, ``failed`` or ``canceled``.
        image: its id, at the end. seconds: how long all took, at the end.
    """

    names: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    stages: dict[int, Stage] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    outcome: str = RUNNING
    image: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """The build begins."""
        self._begun = self.clock()
        self.names = [one_line(name) for name in self.names]

    # --- what came ---

    def add(self, event: Event) -> tuple[Step | None, list[Line]]:
        """Take an event in: the step that it is about, if any, and the lines that this has printed with it."""
        kind = str(event.get("type"))
        if kind in ("step", "output", "progress"):
            step = self._step(str(event["id"]))
            return step, _OF_A_STEP[kind](self, step, event)
        if kind == "stage":
            self._stage(event)
        elif kind == "warning":
            line = f" (line {event['line']})" if event.get("line") else ""
            self.warnings.append(one_line(str(event["text"])) + line)
        elif kind == "image":
            self.outcome, self.image, self.seconds = DONE, str(event["id"]), float(event["seconds"])
            self.names = [one_line(str(name)) for name in event["names"]]
        return None, []

    def end(self, stopped: bool) -> None:
        """It has ended without an image: it failed, or was *stopped*."""
        self.outcome, self.seconds = CANCELED if stopped else FAILED, self.lasted()
        for step in self.all_steps():
            if step.status == RUNNING:
                step.seconds = step.lasted(self.clock())
                step.status = CANCELED
                step.output.end(step.seconds)

    def _stage(self, event: Event) -> None:
        index, name = int(event["stage"]), one_line(str(event["name"]))
        before = self.stages[index].steps if index in self.stages else {}
        base = f"{index}.0"
        found = {base: before.get(base) or Step(base, one_line(f"FROM {event['base']}"))}
        for told in event["steps"]:
            found[told["id"]] = Step(str(told["id"]), one_line(" ".join(str(told["text"]).split())))
        self.stages[index] = Stage(index, name, found)
        self.stages = dict(sorted(self.stages.items()))

    def _step(self, name: str) -> Step:
        index = int(name.partition(".")[0])
        if index not in self.stages:
            self._stage({"stage": index, "name": f"stage-{index}", "base": "", "steps": []})
        return self.stages[index].steps.setdefault(name, Step(name, ""))

    def _went_on(self, step: Step, event: Event) -> list[Line]:
        step.status, step.seconds = str(event["status"]), float(event.get("seconds") or 0.0)
        step.error = one_line(str(event.get("error") or ""))
        if step.status == RUNNING:
            step.begun = self.clock()
            return []
        return step.output.end(step.seconds)

    def _printed(self, step: Step, event: Event) -> list[Line]:
        return step.output.add(str(event["stream"]), str(event["text"]), step.lasted(self.clock()))

    def _pulled(self, step: Step, event: Event) -> list[Line]:
        from .progress import plain

        text = plain(event["message"], *step.pull.add(event["message"]))
        return [Line(step.lasted(self.clock()), text)] if text else []

    # --- what is to be shown ---

    def lasted(self) -> float:
        """Seconds until it ended, or until now."""
        return self.seconds if self.outcome != RUNNING else self.clock() - self._begun

    def all_steps(self) -> Iterator[Step]:
        """Those of all stages."""
        for stage in self.stages.values():
            yield from stage.steps.values()

    @property
    def counted(self) -> list[Step]:
        """The steps that make files."""
        return [step for step in self.all_steps() if step.makes_files and not step.is_base]

    @property
    def failed(self) -> Step | None:
        """The step that is at fault."""
        return next((step for step in self.all_steps() if step.status == FAILED), None)

    def stage_of(self, step: Step) -> Stage:
        """The stage of a step."""
        return self.stages[int(step.id.partition(".")[0])]

    def label(self, stage: Stage) -> str:
        """The name of a stage; a single one without a name needs none."""
        return "" if len(self.stages) == 1 and stage.name == "stage-0" else stage.name

    def title(self, step: Step) -> str:
        """``[app 2/4] RUN make``, as BuildKit names a step."""
        stage = self.stage_of(step)
        number, of = stage.place(step)
        name = self.label(stage)
        return f"[{name} {number}/{of}] {step.text}" if name else f"[{number}/{of}] {step.text}"

    def __str__(self) -> str:
        """The tree of its stages."""
        from .build_tree import lines

        return "\n".join(lines(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .build_html import html

        return html(self)


_OF_A_STEP: Mapping[str, Callable[[BuildState, Step, Event], list[Line]]] = {
    "step": BuildState._went_on,
    "output": BuildState._printed,
    "progress": BuildState._pulled,
}


def duration(seconds: float) -> str:
    """As BuildKit shows it: ``0.2s``; from a minute on ``1m12s``.

    >>> duration(0.21), duration(72)
    ('0.2s', '1m12s')
    """
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
