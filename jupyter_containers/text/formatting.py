r"""``--format`` of listing verbs: ``table``, ``table TEMPLATE``, ``json``, ``raw`` or a template.

``\t`` and ``\n`` in a format stand for tab and newline, as in docker. Source: docker/cli ``command/formatter``.

Not here: the rows (``containers``, ``images``), inspect's ``--format`` (``inspection``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_containers.errors import InvalidArgument

from .neutral import several_lines
from .result import Table, Text
from .table import align
from .template import Fields, Template, TemplateError
from .template.values import to_json


@dataclass(frozen=True)
class Listing:
    """A kind of table.

    Args:
        type_name: what Go's errors call a row.
        headers: head line by field.
        default: the columns of ``table``.
        quiet: the template of ``-q``.
        raw: the template of ``raw``; "" where docker has none.
        methods: heads of fields with an argument.
    """

    type_name: str
    headers: Mapping[str, str]
    default: str
    quiet: str = "{{.ID}}"
    raw: str = ""
    methods: Mapping[str, Callable[..., str]] = field(default_factory=dict)

    def show(self, rows: Sequence[Fields], form: str = "", quiet: bool = False) -> Text:
        """*rows* as *form* says; "" is ``table``."""
        if quiet:
            form = self.quiet if form in ("", "table") or not form.startswith("table") else f"table {self.quiet}"
        form = unescaped(form.strip() or "table")
        if form == "json":
            return Text("".join(to_json(row) + "\n" for row in rows))
        if form == "raw" and self.raw:
            return Text(_lines(self.raw, rows))
        if form != "table" and not form.startswith("table "):
            return Text(_lines(form, rows))
        return self._table(rows, form.removeprefix("table").strip() or self.default)

    def _table(self, rows: Sequence[Fields], form: str) -> Table:
        template = parsed(form)
        heads = Fields(self.type_name, self.headers, self.methods)
        head = rendered(template, heads, header=True)
        lines = [head, *(rendered(template, row) for row in rows)]
        clean = [several_lines(line) for line in lines]
        cells = [line.split("\t") for line in clean]
        return Table(align("".join(line + "\n" for line in clean)), cells[0], cells[1:])


def unescaped(form: str) -> str:
    r"""*form* with ``\t`` and ``\n`` as the characters they stand for."""
    return form.replace("\\t", "\t").replace("\\n", "\n")


def parsed(form: str) -> Template:
    """*form* as a template; docker's words where it does not parse."""
    try:
        return Template(form)
    except TemplateError as error:
        raise InvalidArgument(f"failed to parse template: {error.what}", mend=error.mend) from None


def rendered(template: Template, row: Any, header: bool = False) -> str:
    """*template* filled in with a row; docker's words where it cannot be."""
    try:
        return template.render(row, header)
    except TemplateError as error:
        raise InvalidArgument(f"failed to execute template: {error.what}", mend=error.mend) from None


def _lines(form: str, rows: Sequence[Fields]) -> str:
    template = parsed(form)
    return "".join(rendered(template, row) + "\n" for row in rows)


def label_head(name: str) -> str:
    """The head of ``{{.Label "com.example.some-name"}}``: ``some name``."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")
