"""Executes notebooks without a browser and prints cells and outputs as text: ``python show_notebook.py FILE…``.

For ``./dev demo`` and CI. The file is not changed. The exit code is 1 if a cell raised that was not expected to.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CELL_TIMEOUT = 600
_COLOURS = {"dim": "2", "bold": "1", "input": "36", "error": "31"}


def paint(text: str, colour: str) -> str:
    """In colour where a person looks at it."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if sys.stdout.isatty() else text


def say(text: str = "") -> None:
    """A line, at once."""
    print(text, flush=True)


def show_source(cell: Any, number: int) -> None:
    """A cell as a person reads it: prose wrapped, code numbered as in a notebook."""
    if cell.cell_type != "code":
        for line in cell.source.splitlines():
            say(paint(textwrap.fill(line, shutil.get_terminal_size().columns), "bold" if line[:1] == "#" else "dim"))
    else:
        label = f"In [{number}]: "
        lines = cell.source.splitlines()
        say(paint(label, "input") + lines[0])
        for line in lines[1:]:
            say(" " * len(label) + line)
    say()


def as_text(output: Any) -> str:
    """The text form of an output; an output that has none is named by its types."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return "\n".join(output.traceback)
    data = output.get("data", {})
    return str(data.get("text/plain") or data.get("text/markdown") or f"<{', '.join(data)}>")


def show_outputs(cell: Any) -> None:
    """What a code cell printed, returned and raised."""
    for output in cell.get("outputs", []):
        text = as_text(output).rstrip("\n")
        text = text if sys.stdout.isatty() else _ESCAPES.sub("", text)
        failed = output.output_type == "error" or output.get("name") == "stderr"
        for line in text.splitlines():
            say("    " + (paint(line, "error") if failed else line))
    if cell.get("outputs"):
        say()


def is_expected(cell: Any) -> bool:
    """Whether the notebook says that the cell may raise."""
    return "raises-exception" in cell.metadata.get("tags", [])


def run_cells(client: NotebookClient, notebook: Any) -> int:
    """Execute and print all cells; how many code cells there are, or minus the number of the one that failed."""
    number = 0
    for index, cell in enumerate(notebook.cells):
        number += cell.cell_type == "code"
        if not cell.source.strip():
            continue
        show_source(cell, number)
        try:
            client.execute_cell(cell, index)
        except CellExecutionError:
            if not is_expected(cell):
                show_outputs(cell)
                return -number
        show_outputs(cell)
    return number


def show(path: Path) -> bool:
    """Execute one notebook, printing as it goes; whether every cell did what it should."""
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(path.parent)}}
    start, number = time.monotonic(), 0
    with TemporaryDirectory() as sockets:
        # Sockets in a private folder instead of ports: nobody else on this machine can talk to the kernel.
        kernel: Any = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/k")
        client = NotebookClient(notebook, km=kernel, timeout=_CELL_TIMEOUT, resources=resources)
        client.owns_km = True  # it is to end the kernel that was made for it
        with client.setup_kernel():
            number = run_cells(client, notebook)
    if number < 0:
        say(paint(f"{path.name}: cell {-number} failed", "error"))
        return False
    say(paint(f"{path.name}: {number} cells in {time.monotonic() - start:.1f} s", "dim"))
    return True


def main() -> int:
    """Show every notebook named; the first that fails ends it."""
    return 0 if all(show(Path(name)) for name in sys.argv[1:]) else 1


if __name__ == "__main__":
    sys.exit(main())
