"""Columns as Go's text/tabwriter makes them, with docker's settings (cells at least 10 wide, 3 apart).

A cell is ended by a tab; the text after the last tab of a line is no cell. A column is a run of lines that all have
that cell, so lines with fewer tabs end it. Source: the package's documentation, pkg.go.dev/text/tabwriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MINIMUM, PADDING = 10, 3


def align(text: str, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """*text* with its tabs replaced by as many spaces as the columns need."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, range(len(lines)), minimum, padding)
    return "\n".join(_line(cells, wide) for cells, wide in zip(lines, widths, strict=True))


def columns(rows: Iterable[Sequence[str]], minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """Rows of cells as lines of a table, each ended by a newline."""
    return align("".join("\t".join(row) + "\n" for row in rows), minimum, padding)


def _measure(lines: list[list[str]], widths: list[list[int]], block: range, minimum: int, padding: int) -> None:
    column = len(widths[block.start]) if block else 0
    start = None
    for index in (*block, block.stop):
        inside = index in block and column < len(lines[index]) - 1
        if inside and start is None:
            start = index
        elif not inside and start is not None:
            _close(lines, widths, range(start, index), minimum, padding)
            start = None


def _close(lines: list[list[str]], widths: list[list[int]], block: range, minimum: int, padding: int) -> None:
    column = len(widths[block.start])
    width = max(minimum, *(len(lines[index][column]) + padding for index in block))
    for index in block:
        widths[index].append(width)
    _measure(lines, widths, block, minimum, padding)


def _line(cells: list[str], widths: list[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + cells[-1]
