"""Interleaved measuring (A B C A B C …) and the table of it: medians, spread, ratios to the floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

REST = 0.02


@dataclass
class Row:
    """One thing to measure.

    Attributes:
        name: as the table shows it.
        run: does it once; raises where it did not work.
        group: rows of one group are interleaved and compared with each other.
        every: run it in each ``every``-th round only (slow peers).
        budget: the most that ours may be of a peer, ``{peer's name: ratio}``.
        why_not: why it can't run here; the row is then only named.
        unit: ``ms``, or ``MB`` where *run* returns those instead of seconds.
        seconds: what was measured.
    """

    name: str
    run: Callable[[], object] = lambda: None
    group: str = "start"
    every: int = 1
    budget: dict[str, float] = field(default_factory=dict)
    why_not: str = ""
    unit: str = "ms"
    seconds: list[float] = field(default_factory=list)

    def once(self) -> None:
        """Run and note the time: what *run* returns, where it measured itself (a float), else how long it took."""
        start = time.perf_counter()
        own = self.run()
        self.seconds.append(own if isinstance(own, float) else time.perf_counter() - start)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile, seconds."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        quarters = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return quarters[0], quarters[2]


def measure(rows: Sequence[Row], rounds: int, warm_ups: int = 2, rest: float = REST) -> None:
    """Run every row in turn, *rounds* times after *warm_ups*; a row that fails says so and is left out.

    Before each run there is a *rest* of some seconds, the same for all: what the run before left to the kernel to tidy,
    and what ours prepares for its next start, is not put on the next row's bill. ("200 at once" shows what it costs.)
    """
    for number in range(-warm_ups, rounds):
        for row in rows:
            if row.why_not or number % row.every:
                continue
            time.sleep(rest)
            try:
                row.once()
            except Exception as error:  # noqa: BLE001 a peer that breaks must not end the others' run
                row.why_not = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            if number < 0:
                row.seconds.clear()


def table(rows: Sequence[Row], floor: str = "") -> str:
    """The rows as text; *floor* names the row that the last column compares with."""
    base = next((row.median for row in rows if row.name == floor and row.seconds), 0.0)
    lines = [f"{'':<46}{'median':>10}{'IQR':>18}{'runs':>6}{'× floor':>9}"]
    for row in rows:
        if row.why_not or not row.seconds:
            lines.append(f"{row.name:<46}  not run: {row.why_not or 'no round'}")
            continue
        low, high = row.spread
        ratio = f"{row.median / base:.2f}" if base else ""
        scale = 1e3 if row.unit == "ms" else 1
        spread = f"{low * scale:.2f}–{high * scale:.2f}"
        lines.append(f"{row.name:<46}{row.median * scale:>7.2f} {row.unit}{spread:>18}{len(row.seconds):>6}{ratio:>9}")
    return "\n".join(lines)


def verdicts(rows: Sequence[Row]) -> list[tuple[bool, str]]:
    """Whether each budget holds, with a sentence for it. Budgets against a row that did not run are left out."""
    named = {row.name: row for row in rows}
    found = []
    for row in rows:
        for peer_name, most in row.budget.items():
            peer = named.get(peer_name)
            if not row.seconds or row.why_not or peer is None or not peer.seconds or peer.why_not:
                continue
            ratio = row.median / peer.median
            say = f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}"
            found.append((ratio <= most, f"{row.name}: {say} × {peer_name} (budget {most:g})"))
    return found
