"""Where a verb's output goes: a terminal, or the cell of a notebook.

A verb only sees :class:`Out`; the two differ in how a table is shown and whose descriptors a container may use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_containers.text.result import Text


class Out:
    """What verbs write to. *base_dir* is where their relative paths start."""

    notebook = False
    body = ""  # of a cell that is more than its line
    ask: Callable[[], str] | None = None  # for a line of a container's input, where its stdin is not ours to hand on

    def __init__(self, base_dir: str = "") -> None:
        self.base_dir = str(Path(base_dir or ".").absolute())

    def show(self, result: Text) -> None:
        """The answer of a verb."""
        self.write(result.text)

    def give(self, value: object) -> None:
        """An object that a verb made, for who can use one: a cell."""

    def write(self, text: str) -> None:
        """Text on standard output."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def warn(self, text: str) -> None:
        """One line on standard error."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def output(self, name: str, data: str) -> None:
        """What a container printed, on ``stdout`` or ``stderr``."""
        stream = sys.stderr if name == "stderr" else sys.stdout
        stream.write(data)
        stream.flush()

    def raw(self, name: str, data: bytes) -> None:
        """Bytes of a log; what is no UTF-8 shows as replacement characters."""
        self.output(name, data.decode("utf-8", "replace"))

    def asks(self, question: str) -> bool:
        """A yes or no question; no where nobody can answer."""
        try:
            return input(question).strip().lower() in ("y", "yes")
        except (EOFError, RuntimeError, NotImplementedError):  # no stdin; a kernel whose front end takes no input
            return False


class Terminal(Out):
    """A terminal, a pipe or a file: descriptors 0, 1 and 2."""

    def raw(self, name: str, data: bytes) -> None:
        """Bytes of a log, unchanged."""
        sys.stdout.flush()
        view = memoryview(data)
        while view:
            view = view[os.write(2 if name == "stderr" else 1, view) :]


class Notebook(Out):
    """The output of a cell."""

    notebook = True

    def __init__(self, base_dir: str = "", ask: Callable[[], str] | None = None, body: str = "") -> None:
        super().__init__(base_dir)
        self.ask, self.body = ask, body
        self._results: list[Text] = []
        self._given: object = None

    def show(self, result: Text) -> None:
        """Kept for the cell's value."""
        self._results.append(result)

    def give(self, value: object) -> None:
        """The cell's value, where there is no answer."""
        self._given = value

    def result(self) -> Any:
        """What the cell displays: the one answer, else the object that was made, or nothing."""
        for earlier in self._results[:-1]:
            self.write(earlier.text)
        return self._results[-1] if self._results else self._given
