"""How a verb shows a build: a live tree in a terminal and in a notebook, BuildKit's lines elsewhere, JSON on demand.

As with docker, progress goes to standard error, so that ``-q`` and ``--progress json`` have standard output for
themselves. Not here: what it looks like (``text.build``), what a build tells (``build.events``).
"""

from __future__ import annotations

import contextvars
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event as Flag
from threading import Lock, Thread
from typing import TextIO

from jupyter_containers.errors import ContainersError
from jupyter_containers.text.build import BuildState
from jupyter_containers.text.build_plain import Plain, failure
from jupyter_containers.text.build_tree import fitted, lines

from .drawing import PAUSE, Block, Display, Drawing, Event, Json, OnEvent, drawing
from .out import Out

_CELL_PAUSE = 0.25  # seconds between two drawings in a notebook: each is a message with all of the tree


@contextmanager
def shown(out: Out, names: Sequence[str], mode: str = "") -> Iterator[OnEvent]:
    """What to give to a build as ``on_event``; what was drawn is finished when the block ends.

    Args:
        names: of the image to come. mode: one of ``drawing.MODES``; "" is ``auto``.

    Raises:
        InvalidArgument: no such mode.
    """
    state = BuildState(names)
    stream = sys.stdout if out.notebook or mode == "json" else sys.stderr
    found = drawing({name: partial(make, state) for name, make in _KINDS.items()}, out, mode, stream)
    try:
        yield found.take
    except (ContainersError, KeyboardInterrupt) as error:
        found.fail(error)
        raise
    finally:
        found.finish()


class _Json(Json):
    """The events, and at last an error in the same form."""

    def __init__(self, _state: BuildState, stream: TextIO) -> None:
        super().__init__(stream)

    def fail(self, error: BaseException) -> None:
        """The error as one more event."""
        told = error.to_dict() if isinstance(error, ContainersError) else {"kind": "Stopped", "what": "stopped"}
        self.take({"type": "error", **told})


class _Lines(Drawing):
    """BuildKit's plain form."""

    def __init__(self, state: BuildState, stream: TextIO) -> None:
        self._plain, self._stream = Plain(state), stream

    def take(self, event: Event) -> None:
        self._print(self._plain.add(event))

    def fail(self, error: BaseException) -> None:
        self._print(self._plain.end(isinstance(error, KeyboardInterrupt)))

    def _print(self, found: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in found)
        if text:
            self._stream.write(text)
            self._stream.flush()


class _Quiet(Drawing):
    """Nothing; but where a step failed, what it printed."""

    def __init__(self, state: BuildState, stream: TextIO) -> None:
        self._state, self._stream = state, stream

    def take(self, event: Event) -> None:
        self._state.add(event)

    def fail(self, error: BaseException) -> None:
        self._state.end(isinstance(error, KeyboardInterrupt))
        self._stream.write("".join(f"{line}\n" for line in failure(self._state)))


class _Live(Drawing):
    """Draws by a thread of its own: a step that says nothing takes its time all the same, and nobody waits for us."""

    pause = PAUSE

    def __init__(self, state: BuildState) -> None:
        self._state, self._lock, self._ended = state, Lock(), Flag()
        work = contextvars.copy_context().run  # a kernel knows by the context which cell a display belongs to
        self._thread = Thread(target=work, args=(self._go_on,), name="build-view", daemon=True)
        self._thread.start()

    def take(self, event: Event) -> None:
        with self._lock:
            self._state.add(event)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self._state.end(isinstance(error, KeyboardInterrupt))

    def finish(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._state.stages:
            self._draw(last=True)

    def _go_on(self) -> None:
        while not self._ended.wait(self.pause):
            with self._lock:
                if self._state.stages:
                    self._draw(last=False)

    def _draw(self, last: bool) -> None:
        raise NotImplementedError


class _Tree(_Live):
    """The tree at the bottom of the terminal, as much of it as there is room for; at the end all of it."""

    def __init__(self, state: BuildState, stream: TextIO) -> None:
        self._block, self._colours = Block(stream), "NO_COLOR" not in os.environ  # https://no-color.org
        super().__init__(state)

    def _draw(self, last: bool) -> None:
        columns, height = self._block.size
        if last:
            self._block.draw(lines(self._state, columns - 1, colours=self._colours), [])
        else:
            self._block.draw([], fitted(self._state, columns - 1, height - 1, self._colours))


class _Cell(_Live):
    """One display of the cell, updated."""

    pause = _CELL_PAUSE

    def __init__(self, state: BuildState, _stream: TextIO) -> None:
        self._display = Display()
        super().__init__(state)

    def _draw(self, last: bool) -> None:
        self._display.draw(self._state)


_KINDS: dict[str, Callable[[BuildState, TextIO], Drawing]] = {
    "json": _Json,
    "plain": _Lines,
    "quiet": _Quiet,
    "tty": _Tree,
    "display": _Cell,
}
