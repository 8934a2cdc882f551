"""Long work on its way to a reader: a block at the bottom of a terminal, one display of a notebook, JSON for programs.

Not here: what is drawn (``progress`` for images that come and go, ``buildview`` for builds).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from jupyter_containers.errors import InvalidArgument, suggest
from jupyter_containers.options import Flag

from .out import Out

MODES = ("auto", "tty", "plain", "json", "quiet")
PROGRESS = Flag(
    "progress", "", "string", "progress", "Set type of progress output (auto, tty, plain, json, quiet) (default auto)"
)
PAUSE = 0.1  # seconds between two drawings

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


class Drawing:
    """Takes messages, one at a time; draws nothing itself."""

    def take(self, event: Event) -> None:
        """One message."""

    def fail(self, error: BaseException) -> None:
        """The work ended with *error*, which the caller tells."""

    def finish(self) -> None:
        """The work has ended."""


class Json(Drawing):
    """The messages, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, event: Event) -> None:
        """One message."""
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()

    def fail(self, error: BaseException) -> None:
        """Docker's last object."""
        self.take({"errorDetail": {"message": str(error)}, "error": str(error)})


class Block:
    """Lines at the bottom of a terminal that are drawn anew; what is settled stays above them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._drawn = stream, 0

    def draw(self, settled: Sequence[str], moving: Sequence[str]) -> None:
        """Add lines above, and draw the block, whose lines must be no wider than :attr:`size` has columns."""
        text = f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""
        text += "".join(f"{line}\n" for line in (*settled, *moving))
        self._stream.write(text)
        self._stream.flush()
        self._drawn = len(moving)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):  # --progress tty into a pipe
            return 120, 24
        return (size.columns or 120), (size.lines or 24)


class Display:
    """One display of a cell; its last state stays in the notebook."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, shown: object) -> None:
        """Show an object in place of the last one."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)


def kind(out: Out, mode: str, stream: TextIO) -> str:
    """How to show work: ``display``, ``tty``, ``plain``, ``json`` or ``quiet``.

    Raises:
        InvalidArgument: no such mode.
    """
    if mode not in ("", *MODES):
        mend = suggest(mode, MODES) or f"It is one of: {', '.join(MODES)}."
        raise InvalidArgument(f"unknown progress type {mode!r}", "--progress", mend)
    if mode in ("json", "plain", "quiet"):
        return mode
    if out.notebook and _in_kernel():
        return "display"
    return "tty" if mode == "tty" or stream.isatty() else "plain"


def drawing(kinds: Mapping[str, Callable[[TextIO], Drawing]], out: Out, mode: str, stream: TextIO) -> Drawing:
    """The drawing of *kinds* that fits; one that draws nothing where it must be quiet."""
    make = kinds.get(kind(out, mode, stream))
    return make(stream) if make else Drawing()


def _in_kernel() -> bool:
    """Whether a front end draws what is displayed; IPython in a terminal would print it again and again."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
