"""The state of long work, made of docker's progress messages, and how it looks as text and HTML. Pure.

A message is ``{"status", "id", "progressDetail": {"current", "total"}}`` for something that moves, with an empty
``progressDetail`` for a step of it, without one for a line (``latest: Pulling from …``), as ``{"stream"}`` is. Names
in them come from registries and archives: control characters are escaped, HTML is. Not here: when and where it is
drawn (``cli.progress``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

from .neutral import one_line, several_lines
from .units import human_size

Event = Mapping[str, Any]

# What a row ends with; after "Download complete" a layer is still extracted.
_DONE = ("pull complete", "already exists", "saved", "loaded", "pushed", "mounted from")
_BAR = 50  # docker's
_NARROW = 110  # columns below which docker draws no bar


@dataclass
class Row:
    """One thing that moves, a layer mostly.

    Attributes:
        current, total: bytes; *total* 0 where nobody knows.
    """

    name: str
    status: str = ""
    current: int = 0
    total: int = 0

    @property
    def is_done(self) -> bool:
        """Whether its last status says that it has arrived."""
        status = self.status.lower()
        return status.startswith(_DONE) or status.endswith("already exists")

    @property
    def share(self) -> float:
        """0 to 1; 0 where the total is not known and it still moves."""
        if self.is_done:
            return 1.0
        return min(1.0, self.current / self.total) if self.total > 0 else 0.0

    @property
    def label(self) -> str:
        """What stands before the status."""
        return f"{self.name}: " if self.name else ""

    def text(self, width: int) -> str:
        """``9c7a54a9a43c: Extracting [=====>    ]  1.2MB/3.4MB`` in at most *width* columns."""
        line = f"{self.label}{self.status} {self._moved(width)}".rstrip()
        return line if len(line) <= width else line[: max(0, width - 1)] + "…"

    def _moved(self, width: int) -> str:
        if self.is_done or not self.current:
            return ""
        if self.total < self.current:
            return f"{human_size(self.current):>8}"
        filled = int(self.share * 100) // 2
        bar = f"[{'=' * filled}>{' ' * (_BAR - filled)}] " if width > _NARROW else ""
        return f"{bar}{human_size(self.current):>8}/{human_size(self.total)}"

    def numbers(self) -> str:
        """Bytes for people; "" where nothing was told."""
        if not self.current and not self.total:
            return ""
        return f"{human_size(self.current)} / {human_size(self.total)}" if self.total else human_size(self.current)


@dataclass
class Progress:
    """Rows by name, and among them, in the order of their coming, the lines that were told."""

    rows: dict[str, Row] = field(default_factory=dict)
    parts: list[Row | str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """What was told apart from rows."""
        return [part for part in self.parts if isinstance(part, str)]

    def add(self, event: Event) -> tuple[Row | None, str]:
        """Take a message in: the row that it is about, or the line that it tells; "" for nothing (``aux``)."""
        if "stream" in event or "error" in event:
            return None, self._line(str(event.get("stream") or event.get("error")))
        status, name = one_line(str(event.get("status", ""))), one_line(str(event.get("id", "")))
        detail = event.get("progressDetail") or {}
        if not status:
            return None, ""
        if "progressDetail" not in event or not (name or detail):
            return None, self._line(f"{name}: {status}" if name else status)
        row = self.rows.get(name or status)
        if row is None:
            row = self.rows[name or status] = Row(name)
            self.parts.append(row)
        if status != row.status and not detail:
            row.current = row.current if row.total else 0
        row.status = status
        row.current, row.total = _number(detail, "current", row.current), _number(detail, "total", row.total)
        return row, ""

    def _line(self, text: str) -> str:
        line = several_lines(text).removesuffix("\n")
        self.parts.append(line)
        return line

    def __str__(self) -> str:
        """Each row's last state, and the lines."""
        return "\n".join(part if isinstance(part, str) else part.text(_NARROW) for part in self.parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """A table of bars; colours are the front end's own, in its light and its dark theme."""
        text = ""
        for is_line, parts in groupby(self.parts, lambda part: isinstance(part, str)):
            inner = "".join(_html_part(part) for part in parts)
            text += inner if is_line else f"<table style='border-collapse:collapse'>{inner}</table>"
        return f"<div class='jc-progress' role='status'>{text}</div>"


def plain(event: Event, row: Row | None, line: str) -> str:
    """What a message adds to a log: steps and lines, no counting (as docker where there is no terminal)."""
    if row is None:
        return line
    detail = event.get("progressDetail") or {}
    return "" if detail.get("current") else f"{row.label}{row.status}"


def _number(detail: Mapping[str, Any], name: str, before: int) -> int:
    value = detail.get(name)
    return int(value) if isinstance(value, (int, float)) else before


def _html_part(row: Row | str) -> str:
    if isinstance(row, str):
        return f"<div>{escape(row)}</div>"
    percent = round(row.share * 100)
    colour = "var(--jp-success-color1, currentColor)" if row.is_done else "var(--jp-brand-color1, currentColor)"
    bar = (
        "<div style='width:16em;height:.7em;border:1px solid var(--jp-border-color1, currentColor);border-radius:3px'"
        f" role='progressbar' aria-valuemin='0' aria-valuemax='100' aria-valuenow='{percent}'"
        f" aria-label='{escape(row.name, quote=True)}'>"
        f"<div style='width:{percent}%;height:100%;background:{colour};opacity:.8'></div></div>"
    )
    cells = (f"<code>{escape(row.name)}</code>", escape(row.status), bar, escape(row.numbers()))
    return "<tr>" + "".join(f"<td style='text-align:left;padding:0 .6em'>{cell}</td>" for cell in cells) + "</tr>"
