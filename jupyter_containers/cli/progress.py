"""Docker's progress messages on their way to a person: bars, lines, JSON, or a table in a notebook.

The forms are those of docker's ``jsonmessage``: with a terminal each layer has its line, which is drawn again; without
one only changes of status are printed. Texts come from registries, so controls are made harmless.
"""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from jupyter_containers.errors import InvalidArgument, suggest
from jupyter_containers.options import Context, Flag
from jupyter_containers.text.neutral import one_line
from jupyter_containers.text.units import human_size

if TYPE_CHECKING:
    from .out import Out

Event = dict[str, Any]
MODES = ("auto", "plain", "json")
_REDRAW = 0.1  # seconds


def _mode(word: str, _: Context) -> str:
    if word not in MODES:
        raise InvalidArgument(f"must be one of {', '.join(MODES)}", mend=suggest(word, MODES))
    return word


PROGRESS = Flag(
    "progress", "", "string", "progress", 'Set type of progress output ("auto", "plain", "json")', "", _mode
)


def shown(out: Out, mode: str = "auto", stream: IO[str] | None = None) -> Callable[[Event], None]:
    """What shows progress to whoever reads *out*; *stream* instead of standard output."""
    target = stream or sys.stdout
    if mode == "json":
        return lambda event: _line(target, json.dumps(event))
    if mode == "auto" and out.notebook and _in_kernel():
        return Cell()
    if mode == "auto" and target.isatty():
        return Bars(target)
    return Lines(target)


def _in_kernel() -> bool:
    """Whether a front end draws what is displayed; IPython in a terminal would print it again and again."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def _line(target: IO[str], text: str) -> None:
    target.write(text + "\n")
    target.flush()


def text_of(event: Event) -> str:
    """A message without its bar; "" where there is nothing to say."""
    if "stream" in event:
        return one_line(str(event["stream"]).rstrip("\n"))
    status, name = one_line(str(event.get("status", ""))), one_line(str(event.get("id") or ""))
    return f"{name}: {status}" if name and status else status


def bar(detail: Event) -> str:
    """Docker's bar: ``[=====>    ]  1.2MB/3.4MB``."""
    current, total = int(detail.get("current", 0)), int(detail.get("total", 0))
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    full = min(50, current * 50 // total)
    numbers = f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")
    return f"[{'=' * full}>{' ' * (50 - full)}] {numbers}"


class Lines:
    """Where nothing can be drawn again: changes of status, one a line."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target

    def __call__(self, event: Event) -> None:
        """Show a message."""
        if not event.get("progressDetail") and (text := text_of(event)):
            _line(self._target, text)


class Bars:
    """A terminal: a line for each layer, drawn again in its place."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._rows: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Show a message."""
        name, text = str(event.get("id") or ""), text_of(event)
        if not text:
            return
        if not name:
            self._rows.clear()
            _line(self._target, text)
            return
        if name not in self._rows:
            self._rows[name] = len(self._rows)
            self._target.write("\n")
        up = len(self._rows) - self._rows[name]
        line = f"{text} {bar(event.get('progressDetail') or {})}".rstrip()
        self._target.write(f"\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")
        self._target.flush()


class Cell:
    """A notebook: one display with a row for each layer, drawn again in its place; plain text where it has no HTML."""

    def __init__(self) -> None:
        from IPython.core.display_functions import display

        self._display: Callable[..., Any] = display
        self._rows: dict[str, Event] = {}
        self._told: list[str] = []
        self._handle: Any = None
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Show a message."""
        if not text_of(event):
            return
        name = str(event.get("id") or "")
        if name:
            self._rows[name] = event
        else:
            self._told.append(text_of(event))
        moving = bool(event.get("progressDetail"))
        if not moving or time.monotonic() - self._last > _REDRAW:
            self._last = time.monotonic()
            self._draw()

    def _draw(self) -> None:
        bundle = {"text/plain": "\n".join(self._texts()), "text/html": self._html()}
        if self._handle is None:
            self._handle = self._display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def _texts(self) -> list[str]:
        return [
            f"{text_of(row)} {bar(row.get('progressDetail') or {})}".rstrip() for row in self._rows.values()
        ] + self._told

    def _html(self) -> str:
        rows = "".join(_row(name, row) for name, row in self._rows.items())
        told = "".join(f"<div>{html.escape(line)}</div>" for line in self._told)
        return f"<table class='jc-progress'>{rows}</table>{told}"


def _row(name: str, event: Event) -> str:
    detail = event.get("progressDetail") or {}
    current, total = int(detail.get("current", 0)), int(detail.get("total", 0))
    meter = f"<progress value='{min(current, total)}' max='{total}'></progress> " if total else ""
    size = html.escape(human_size(current)) if current else ""
    status = html.escape(one_line(str(event.get("status", ""))))
    return f"<tr><td><code>{html.escape(one_line(name))}</code></td><td>{status}</td><td>{meter}{size}</td></tr>"
