"""A build as a tree of text: its stages, their steps, how each is doing. Pure.

::

    Building app:latest  2.3s  2/3 steps, 1 cached
    build  FROM debian
      ✓ COPY . .                                              cached
      ▶ RUN make                                                2.1s
          cc -c main.c
    stage-1  FROM debian
      · COPY --from=build /app /

What has no room is folded: first stages in which nothing runs, then steps, and at last such stages are left out.
Not here: the same as HTML (``build_html``).
"""

from __future__ import annotations

from collections.abc import Iterator

from .build import CACHED, CANCELED, DONE, FAILED, RUNNING, WAITING, BuildState, Stage, Step, duration
from .units import short_id

MARKS = {WAITING: "·", RUNNING: "▶", DONE: "✓", CACHED: "✓", FAILED: "✗", CANCELED: "–"}
TAIL = 6  # lines of a step that runs
FAILED_TAIL = 20  # lines of a step that failed
WIDTH = 100
_COLOURS = {WAITING: "2", RUNNING: "1", CACHED: "36", FAILED: "31", CANCELED: "33"}
_WHOLE, _STAGES, _STEPS, _RUNNING = range(4)  # what is folded; at last only stages in which something runs


def fitted(state: BuildState, width: int, room: int, colours: bool = False) -> list[str]:
    """The tree in at most *room* lines."""
    found: list[str] = []
    for folded in (_WHOLE, _STAGES, _STEPS, _RUNNING):
        found = lines(state, width, folded, colours)
        if len(found) <= room:
            break
    return found[:room]


def lines(state: BuildState, width: int = WIDTH, folded: int = _WHOLE, colours: bool = False) -> list[str]:
    """The tree, each line at most *width* columns wide."""
    found = [(state.outcome, heading(state))]
    for stage in state.stages.values():
        if folded < _RUNNING or _is_busy(stage):
            found += _stage(state, stage, width, folded)
    found += [("", f"⚠ {warning}") for warning in state.warnings]
    cut = [(status, line if len(line) <= width else line[: width - 1] + "…") for status, line in found]
    return [_painted(line, status) if colours else line for status, line in cut]


def heading(state: BuildState) -> str:
    """What is built, how long, how much of it."""
    word = {RUNNING: "Building", DONE: "Built", FAILED: "Failed:", CANCELED: "Stopped:"}[state.outcome]
    names = ", ".join(state.names) or ("an image" if state.outcome != DONE else "")
    parts = (f"{word} {names}".rstrip(), short_id(state.image), duration(state.lasted()), counts(state))
    return "  ".join(part for part in parts if part)


def counts(state: BuildState) -> str:
    """``3/4 steps, 1 cached``; empty where no step makes files."""
    steps = state.counted
    ended = sum(step.status in (DONE, CACHED) for step in steps)
    cached = sum(step.status == CACHED for step in steps)
    number = f"{len(steps)}" if ended == len(steps) else f"{ended}/{len(steps)}"
    text = f"{number} step{'s' * (len(steps) != 1)}" if steps else ""
    return f"{text}, {cached} cached" if cached else text


def _stage(state: BuildState, stage: Stage, width: int, folded: int) -> Iterator[tuple[str, str]]:
    head = f"{state.label(stage)}  {stage.base.text}".strip()
    steps = [step for step in stage.steps.values() if not step.is_base]
    if folded and not _is_busy(stage):
        yield "", f"{head}  ({_folded(steps)})"
        return
    yield "", head
    yield from _below(stage.base)
    for step in steps:
        if folded < _STEPS or step.status in (RUNNING, FAILED):
            yield step.status, _row(step, state.clock(), width)
            yield from _below(step)
    rest = [step for step in steps if step.status not in (RUNNING, FAILED)]
    if folded >= _STEPS and rest:
        yield "", f"  … {_folded(rest)}"


def _is_busy(stage: Stage) -> bool:
    """Whether something in it runs or has failed."""
    return any(step.status in (RUNNING, FAILED) for step in stage.steps.values())


def _folded(steps: list[Step]) -> str:
    waiting = sum(step.status == WAITING for step in steps)
    ended = len(steps) - waiting
    found = [f"✓ {ended} done"] * bool(ended) + [f"· {waiting} to do"] * bool(waiting)
    return ", ".join(found) or "no steps"


def _row(step: Step, now: float, width: int) -> str:
    """The mark, the instruction, and at the right how long it took or that it was cached."""
    right = CACHED if step.status == CACHED else ""
    if not right and step.makes_files and step.status != WAITING:
        right = duration(step.lasted(now))
    room = min(width, WIDTH) - len(right) - 5
    text = step.text if len(step.text) <= room else step.text[: max(0, room - 1)] + "…"
    return f"  {MARKS.get(step.status, '?')} {text:<{room}} {right}".rstrip()


def _below(step: Step) -> Iterator[tuple[str, str]]:
    """What a step says: of one that runs or failed the last lines, else why it failed; of a pull all that moves."""
    if step.status == RUNNING:
        yield from (("", f"      {part.text(WIDTH)}") for part in step.pull.rows.values())
    most = {RUNNING: TAIL, FAILED: FAILED_TAIL}.get(step.status, 0)
    if most:
        yield from (("", f"      {line}") for line in step.output.last(most))
    if step.status == FAILED and not step.output.count:
        yield FAILED, f"      {step.error}"


def _painted(line: str, status: str) -> str:
    colour = _COLOURS.get(status, "")
    return f"\x1b[{colour}m{line}\x1b[0m" if colour else line
