"""A build as HTML: a notebook's live display, and what stays in the notebook. Pure.

Instructions and output come from strangers: all is escaped, nothing is fetched, there is no script. It folds by
``<details>``, takes its colours from the front end (light or dark), and is whole without them, as in an exported page.
While the build runs only the end of what running steps print is in it; at its end what all of them printed, folded.
Not here: the same as text (``build_tree``).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .build import CACHED, CANCELED, DONE, FAILED, RUNNING, WAITING, BuildState, Stage, Step, duration
from .build_tree import FAILED_TAIL, MARKS, TAIL, counts
from .units import short_id

_CODE = "font-family:var(--jp-code-font-family, monospace);font-size:var(--jp-code-font-size, 13px)"
_DIM = "opacity:.65"
_ROW = "display:flex;gap:.6em;align-items:baseline;line-height:1.55"
_TEXT = f"flex:1;min-width:0;white-space:pre-wrap;overflow-wrap:anywhere;{_CODE}"
_BLOCK = "margin:0 0 0 1.6em;padding-left:.8em;border-left:2px solid var(--jp-border-color1, currentColor)"
_PRE = f"{_BLOCK};margin-bottom:.3em;white-space:pre-wrap;overflow-wrap:anywhere;max-height:24em;overflow:auto;{_CODE}"
_COLOURS = {
    RUNNING: "var(--jp-brand-color1, currentColor)",
    DONE: "var(--jp-success-color1, currentColor)",
    CACHED: "var(--jp-success-color1, currentColor)",
    FAILED: "var(--jp-error-color1, currentColor)",
    CANCELED: "var(--jp-warn-color1, currentColor)",
}
_OUTCOMES = {RUNNING: "Building", DONE: "Built", FAILED: "Failed", CANCELED: "Stopped"}


def html(state: BuildState) -> str:
    """The whole build."""
    stages = "".join(_stage(state, stage) for stage in state.stages.values())
    warnings = "".join(
        f"<div style='{_ROW}'><span style='color:var(--jp-warn-color1, currentColor)'>⚠</span>"
        f"<span>{_safe(warning)}</span></div>"
        for warning in state.warnings
    )
    return f"<div class='jc-build' role='status'>{_heading(state)}{stages}{warnings}</div>"


def _heading(state: BuildState) -> str:
    word = _coloured(f"{MARKS[state.outcome]} {_OUTCOMES[state.outcome]}", state.outcome)
    names = f"<b>{_safe(', '.join(state.names))}</b>" if state.names else ""
    image = f"<code>{_safe(short_id(state.image))}</code>" if state.image else ""
    rest = " · ".join(part for part in (duration(state.lasted()), counts(state)) if part)
    parts = (f"<b>{word}</b>", names, image, f"<span style='{_DIM}'>{rest}</span>")
    return f"<div style='{_ROW}'>{''.join(part for part in parts if part)}</div>"


def _stage(state: BuildState, stage: Stage) -> str:
    """Its head, and its steps beneath it."""
    steps = [step for step in stage.steps.values() if not step.is_base]
    name = state.label(stage)
    head = (f"<b>{_safe(name)}</b> " if name else "") + f"<span style='{_CODE}'>{_safe(stage.base.text)}</span>"
    if stage.base.status == FAILED:
        head = f"{_mark(FAILED)} {head}"
    body = _below(state, stage.base) + "".join(_step(state, step) for step in steps)
    if not body:
        return f"<div>{head}</div>"
    return f"<details open><summary>{head}</summary><div style='padding-left:1em'>{body}</div></details>"


def _step(state: BuildState, step: Step) -> str:
    """One row; where a step printed something this folds out of it."""
    dim = f";{_DIM}" if step.status in (WAITING, CANCELED) or not step.makes_files else ""
    row = (
        f"{_mark(step.status)}<span style='{_TEXT}{dim}'>{_safe(step.text)}</span>"
        f"<span style='{_DIM};white-space:nowrap'>{_right(state, step)}</span>"
    )
    below = _below(state, step)
    if not below:
        return f"<div style='{_ROW}'>{row}</div>"
    is_open = " open" if step.status in (RUNNING, FAILED) else ""
    return f"<details{is_open}><summary style='{_ROW};cursor:pointer'>{row}</summary>{below}</details>"


def _right(state: BuildState, step: Step) -> str:
    """How much a step printed, how long it took or that it was cached."""
    number = step.output.count
    said = f"{number} line{'s' * (number != 1)}" if number and step.has_ended else ""
    took = duration(step.lasted(state.clock())) if step.makes_files and step.status != WAITING else ""
    return " · ".join(part for part in (said, CACHED if step.status == CACHED else took) if part)


def _below(state: BuildState, step: Step) -> str:
    """What a step pulls and prints; where it failed without a word, why."""
    found = ""
    if step.status == RUNNING and step.pull.parts:
        found += f"<div style='{_BLOCK}'>{step.pull._repr_html_()}</div>"
    found += _output(step, _most(state, step))
    if step.status == FAILED and not step.output.count:
        found += f"<div style='{_BLOCK}'>{_coloured(_safe(step.error), FAILED)}</div>"
    return found


def _most(state: BuildState, step: Step) -> int:
    """How many lines of a step are shown now: a display that is drawn ten times a second must be small."""
    if state.outcome != RUNNING:
        return step.output.count
    return {RUNNING: TAIL, FAILED: FAILED_TAIL}.get(step.status, 0)


def _output(step: Step, most: int) -> str:
    lines: Sequence[str] = step.output.last(most) if most else ()
    if not lines:
        return ""
    above = f"<span style='{_DIM}'>… {step.output.dropped} lines before</span>\n"
    head = above if step.output.dropped and most > len(lines) else ""
    return f"<pre style='{_PRE}'>{head}{_safe(chr(10).join(lines))}</pre>"


def _mark(status: str) -> str:
    said = _safe(status)
    return _coloured(f"<span title='{said}' aria-label='{said}'>{MARKS.get(status, '?')}</span>", status)


def _coloured(inner: str, status: str) -> str:
    colour = _COLOURS.get(status)
    return f"<span style='color:{colour}'>{inner}</span>" if colour else inner


def _safe(text: str) -> str:
    return escape(text.encode("utf-8", "backslashreplace").decode(), quote=True)
