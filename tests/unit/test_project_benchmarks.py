"""The benchmarks measure what they say, and their peers' rows still run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.benchmarks import images, peers
from tests.benchmarks.measure import Row, measure, table, verdicts
from tests.rigs.abilities import must


def test_rows_are_interleaved_and_slow_ones_run_less_often() -> None:
    order: list[str] = []
    rows = [Row("a", lambda: order.append("a")), Row("b", lambda: order.append("b"), every=2)]
    measure(rows, rounds=4, warm_ups=0, rest=0)
    assert "".join(order) == "ab" + "a" + "ab" + "a"
    assert [len(row.seconds) for row in rows] == [4, 2]


def test_warm_ups_do_not_count_and_own_measurements_do() -> None:
    row = Row("own", lambda: 2.0)
    measure([row], rounds=3, warm_ups=5, rest=0)
    assert row.seconds == [2.0] * 3
    assert (row.median, row.spread) == (2.0, (2.0, 2.0))


def test_a_row_may_have_another_unit() -> None:
    row = Row("memory", lambda: 34.5, unit="MB")
    measure([row], rounds=2, warm_ups=0, rest=0)
    assert "  34.50 MB       34.50–34.50     2" in table([row])


def test_memory_is_flat_with_the_size_of_the_image(tmp_path: Path) -> None:
    """Loaded, unpacked and saved: an image five times as large takes not a tenth more."""
    small, large = (images._peak(tmp_path, size << 20)() for size in (32, 160))
    images.end(tmp_path)
    assert large < small * 1.1


def test_a_row_that_breaks_says_why_and_the_others_go_on() -> None:
    def break_down() -> None:
        raise RuntimeError("no such thing\nsecond line")

    rows = [Row("broken", break_down, budget={"fine": 1.0}), Row("fine", lambda: time.sleep(0.001))]
    measure(rows, rounds=2, warm_ups=0, rest=0)
    assert "not run: RuntimeError: no such thing" in table(rows, "fine")
    assert "second line" not in table(rows, "fine")
    assert not verdicts(rows)


def test_budgets_are_ratios_of_medians() -> None:
    rows = [Row("ours", seconds=[2, 3, 4], budget={"floor": 1.5, "slow": 0.025}), Row("floor", seconds=[2, 2, 2])]
    found = verdicts([*rows, Row("slow", seconds=[200, 300])])
    assert found == [
        (True, "ours: 1.50 × floor (budget 1.5)"),
        (True, "ours: 0.012 × slow (budget 0.025)"),
    ]


def test_the_peers_run_here(busybox_root: Path, tmp_path: Path) -> None:
    rows = peers.starts(busybox_root, tmp_path, "left out")
    measure(rows, rounds=2, warm_ups=0, rest=0)
    wanted = [peers.FLOOR, peers.BWRAP] + ([peers.RUNC] if os.geteuid() == 0 else [])
    for row in rows:
        must(row.name not in wanted or not row.why_not, f"{row.name}: {row.why_not}")
    assert rows[-1].why_not == "left out"


@pytest.mark.slow
def test_a_real_docker_is_there_to_compare_with(dockerd: Path) -> None:
    command = ["docker", "-H", f"unix://{dockerd}", "run", "--rm", "busybox:test", "id", "-u"]
    assert peers.spawn(command) == "0\n"
