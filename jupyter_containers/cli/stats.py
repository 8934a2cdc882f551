"""``stats``: what containers use now. A terminal shows it anew every second; a cell, and ``--no-stream``, once.

Not here: how a row is worked out (``text.stats``), where the numbers come from (the engine).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import Conflict, NotFound
from jupyter_containers.options import Flag
from jupyter_containers.text import stats as stats_text
from jupyter_containers.text.containers import newest_first

from .common import FORMAT, JSON, NO_TRUNC, form
from .verb import Args, Spec

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.containers import Container
    from jupyter_containers.text.result import Text

    from .out import Out

SECONDS = 1.0
"""Between the two samples of a row, as docker's daemon takes them."""

_CLEAR = "\033[2J\033[H"


def stats(engine: Engine, args: Args, out: Out) -> int:
    """``docker stats``."""
    for word in args.words:
        engine.containers.get(word)  # an unknown name is told at once, and nothing is shown
    view = _View(engine, args)
    if args.no_stream or out.notebook:
        out.show(view.next())
        return 0
    while True:
        shown = view.next()
        out.write(_CLEAR)
        out.show(shown)
        if args.words and not view.running:
            return 0


class _View:
    """Tables, each from the sample before it and a new one."""

    def __init__(self, engine: Engine, args: Args) -> None:
        self._engine, self._args = engine, args
        self._memory = int(engine.info()["MemTotal"])
        self._before = self._look()
        self.running = True

    def next(self) -> Text:
        """The next table; waits the time between two samples."""
        time.sleep(SECONDS)
        now = self._look()
        rows = [
            stats_text.row(asked, attrs, self._since(attrs["Id"], sample), sample, self._memory, self._whole)
            for asked, attrs, sample in now
        ]
        self.running = any(sample.running for _, _, sample in now)
        self._before = now
        return stats_text.LISTING.show(rows, form(self._args))

    @property
    def _whole(self) -> bool:
        return bool(self._args.no_trunc)

    def _since(self, name: str, fallback: stats_text.Sample) -> stats_text.Sample:
        return next((sample for _, attrs, sample in self._before if attrs["Id"] == name), fallback)

    def _look(self) -> list[tuple[str, dict[str, Any], stats_text.Sample]]:
        return [(asked, one.attrs, _sample(one)) for asked, one in self._containers()]

    def _containers(self) -> Sequence[tuple[str, Container]]:
        listed = self._engine.containers
        if not self._args.words:
            every = bool(self._args.all)
            found = newest_first(listed.list(all=True))
            return [(one.id, one) for one in found if every or one.status in ("running", "paused")]
        named = []
        for word in self._args.words:
            try:
                named.append((word, listed.get(word)))
            except NotFound:  # removed meanwhile (--rm)
                continue
        return named


def _sample(container: Container) -> stats_text.Sample:
    if container.status not in ("running", "paused"):
        return stats_text.Sample(time.monotonic(), False)
    try:
        return stats_text.Sample(time.monotonic(), True, container.stats())
    except (Conflict, NotFound):  # it ended between the two questions
        return stats_text.Sample(time.monotonic(), False)


SPECS = {
    "stats": Spec(
        stats,
        (
            Flag("all", "a", "", "all", "Show all containers (default shows just running)"),
            FORMAT,
            JSON,
            Flag("no-stream", "", "", "no_stream", "Disable streaming stats and only pull the first result"),
            NO_TRUNC,
        ),
        0,
        None,
    )
}
