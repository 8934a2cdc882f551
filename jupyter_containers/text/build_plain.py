"""A build as lines for a log: the form of BuildKit's ``--progress plain``. Pure.

::

    #2 [build 2/3] RUN make
    #2 0.132 cc -c main.c
    #2 DONE 0.2s

One step has the floor; the lines of others wait until it has ended or has said nothing for a while, and ``#2 ...`` then
tells that it goes on. Instructions that only change the configuration are not told, as in BuildKit. Source: BuildKit
``util/progress/progressui/printer.go``. Not here: bars and trees (``build_tree``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .build import CACHED, CANCELED, DONE, FAILED, BuildState, Event, Step
from .build_output import Line
from .build_tree import FAILED_TAIL

_SILENCE, _PATIENCE = 1.0, 5.0  # seconds after which another step gets the floor, and does so in any case


class Plain:
    """The lines of one build.

    Args:
        state: is kept up to date by :meth:`add`.
    """

    def __init__(self, state: BuildState) -> None:
        self.state = state
        self._numbers: dict[str, int] = {}
        self._waiting: dict[str, list[str]] = {}  # what steps have to say, in the order of their coming
        self._floor, self._spoke, self._since = "", 0.0, 0.0

    def add(self, event: Event) -> list[str]:
        """Take an event in; the lines to print now."""
        step, new = self.state.add(event)
        if step is not None and (step.makes_files or step.status == FAILED):
            said = self._waiting.setdefault(step.id, [])
            said += [_stamped(line) for line in new]
            said += _ending(step) if event.get("type") == "step" else []
        if self.state.outcome == DONE:
            return [*self._all(), *self._exported()]
        return list(self._flow())

    def end(self, stopped: bool) -> list[str]:
        """The build has ended without an image; the last lines."""
        running = [step for step in self.state.all_steps() if step.status == "running"]
        self.state.end(stopped)
        for step in running:
            self._waiting.setdefault(step.id, []).extend(_ending(step))
        return [*self._all(), *failure(self.state), *self._warnings()]

    # --- who has the floor ---

    def _flow(self) -> Iterator[str]:
        while self._waiting:
            if self._floor not in self._waiting or (self._must_yield() and len(self._waiting) > 1):
                yield from self._pass_on()
            said = self._waiting[self._floor]
            yield from self._speak(said)
            if not self._has_ended(self._floor):
                return

    def _must_yield(self) -> bool:
        """Whether the step that has the floor must let the next one speak."""
        now = self.state.clock()
        return now - self._spoke > _SILENCE or now - self._since > _PATIENCE

    def _pass_on(self) -> Iterator[str]:
        """Give the floor to the step that has waited longest."""
        if self._floor in self._waiting:
            yield f"#{self._numbers[self._floor]} ..."
            self._waiting[self._floor] = self._waiting.pop(self._floor)
        if self._numbers:
            yield ""
        self._floor = next(iter(self._waiting))
        self._spoke = self._since = self.state.clock()
        number = self._numbers.setdefault(self._floor, len(self._numbers) + 1)
        yield f"#{number} {self._title(self._floor)}"

    def _speak(self, said: list[str]) -> Iterator[str]:
        if said:
            self._spoke = self.state.clock()
        number = self._numbers[self._floor]
        yield from (f"#{number} {line}" for line in said)
        said.clear()
        if self._has_ended(self._floor):
            del self._waiting[self._floor]

    def _all(self) -> Iterator[str]:
        """Whatever waits, one step after the other."""
        while self._waiting:
            if self._floor not in self._waiting:
                yield from self._pass_on()
            yield from self._speak(self._waiting[self._floor])
            self._waiting.pop(self._floor, None)

    def _step(self, name: str) -> Step:
        return self.state.stages[int(name.partition(".")[0])].steps[name]

    def _has_ended(self, name: str) -> bool:
        return self._step(name).has_ended

    def _title(self, name: str) -> str:
        return self.state.title(self._step(name))

    # --- the end ---

    def _exported(self) -> Iterator[str]:
        yield ""
        number = f"#{len(self._numbers) + 1}"
        yield f"{number} exporting to image"
        yield f"{number} writing image {self.state.image} done"
        yield from (f"{number} naming to {name} done" for name in self.state.names)
        yield f"{number} DONE {self.state.seconds:.1f}s"
        yield from self._warnings()

    def _warnings(self) -> Iterator[str]:
        found = self.state.warnings
        if found:
            yield from ("", f" {len(found)} warning{'s' * (len(found) != 1)} found:")
            yield from (f" - {warning}" for warning in found)


def failure(state: BuildState) -> list[str]:
    """The step that failed and the last lines of it, as BuildKit repeats them at the end."""
    step = state.failed
    if step is None or not step.output.count:
        return []
    return ["------", f" > {state.title(step)}:", *step.output.last(FAILED_TAIL), "------"]


def _stamped(line: Line) -> str:
    return f"{f'{line.at:.3f}'[:5]} {line.text}".rstrip()


_ENDINGS: dict[str, Callable[[Step], str]] = {
    DONE: lambda step: f"DONE {step.seconds:.1f}s",
    CACHED: lambda _: "CACHED",
    CANCELED: lambda _: "CANCELED",
    FAILED: lambda step: f"ERROR: {step.error}",
}


def _ending(step: Step) -> list[str]:
    return [_ENDINGS[step.status](step)] if step.status in _ENDINGS else []
