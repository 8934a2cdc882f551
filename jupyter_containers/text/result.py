"""What a verb answers: plain text for a terminal, the same as HTML for a notebook.

HTML is escaped throughout: names and labels come from images. Not here: what is in it (``containers``, ``images``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .neutral import several_lines


@dataclass(frozen=True)
class Text:
    """Lines as they are."""

    text: str

    def __post_init__(self) -> None:
        """Escape control characters."""
        object.__setattr__(self, "text", several_lines(self.text))

    def __str__(self) -> str:
        """The text."""
        return self.text

    def __repr__(self) -> str:
        """The text, without the last newline."""
        return self.text.removesuffix("\n")

    def _repr_html_(self) -> str:
        return _pre(self.text)


@dataclass(frozen=True, repr=False)
class Table(Text):
    """A table.

    Args:
        text: docker's columns.
        header: the head line's cells.
        rows: the cells of each row.
    """

    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{_escaped(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{_escaped(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table class='jc-table'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Json(Text):
    """JSON data, shown indented by four as docker does; *data* is the value."""

    text: str = ""
    data: Any = field(default=None)

    def __post_init__(self) -> None:
        """Write *data* out."""
        object.__setattr__(self, "text", self.text or indented(self.data) + "\n")


def indented(data: Any) -> str:
    """*data* as ``docker inspect`` prints it."""
    import json

    from .template.values import escaped

    # docker does not escape < > & here (SetEscapeHTML(false)), only what could steer a terminal
    text = json.dumps(data, ensure_ascii=False, indent=4)
    marks = {"\\u003c": "<", "\\u003e": ">", "\\u0026": "&"}
    shown = escaped(text)
    for code, mark in marks.items():
        shown = shown.replace(code, mark)
    return shown


def _pre(text: str) -> str:
    return f"<pre>{_escaped(text)}</pre>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(several_lines(text))
