"""``stats`` over a fake engine, and its columns as docker's: expected texts are the output of dockerd 20.10."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fake import FakeContainer, FakeEngine

from jupyter_containers.cli import dispatch, run_verb
from jupyter_containers.cli import stats as stats_verb
from jupyter_containers.cli.out import Terminal
from jupyter_containers.errors import Conflict, InvalidArgument, NotFound
from jupyter_containers.options import RunOptions
from jupyter_containers.text import stats
from jupyter_containers.text.result import Table

MACHINE = 25276514304
HEAD = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS\n"


class Measured(FakeContainer):
    """A container whose cgroup says these numbers, one after the other; an error in the list is raised."""

    numbers: list[Any]

    def stats(self, stream: bool = False) -> dict[str, Any]:
        found = self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]
        if isinstance(found, Exception):
            raise found
        return dict(found)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setattr(stats_verb, "SECONDS", 0.01)
    engine = FakeEngine(tmp_path)
    monkeypatch.setattr(engine, "info", lambda: {"MemTotal": MACHINE}, raising=False)
    return engine


def add(engine: FakeEngine, name: str, *numbers: Any, running: bool = True) -> Measured:
    one = Measured(engine.containers, RunOptions("busybox", name=name), len(engine.containers.all) + 1)
    one.numbers = list(numbers)
    one.status = "running" if running else "exited"
    engine.containers.all.append(one)
    return one


def sample(at: float, running: bool = True, **found: float) -> stats.Sample:
    return stats.Sample(at, running, found)


def cells(before: stats.Sample, now: stats.Sample, memory: int = MACHINE) -> dict[str, str]:
    return stats.row("one", {"Id": "ab" * 32, "Name": "/one"}, before, now, memory, False).to_dict()


def test_cpu_time_is_counted_between_two_samples() -> None:
    assert cells(sample(10, cpu_seconds=1), sample(12, cpu_seconds=4))["CPUPerc"] == "150.00%"
    assert cells(sample(10, cpu_seconds=4), sample(12, cpu_seconds=1))["CPUPerc"] == "0.00%"  # started again
    assert cells(sample(10, cpu_seconds=4), sample(10, cpu_seconds=4))["CPUPerc"] == "--"  # only just there


def test_memory_is_of_the_limit_or_of_the_machine() -> None:
    limited = cells(sample(0), sample(1, memory_current=454656, memory_limit=67108864))
    assert (limited["MemUsage"], limited["MemPerc"]) == ("444KiB / 64MiB", "0.68%")
    free = cells(sample(0), sample(1, memory_current=331776))
    assert (free["MemUsage"], free["MemPerc"]) == ("324KiB / 23.54GiB", "0.00%")


def test_what_no_cgroup_tells_is_not_a_zero() -> None:
    shown = cells(sample(0), sample(1))
    assert [shown[name] for name in ("CPUPerc", "MemPerc", "PIDs")] == ["--"] * 3
    assert [shown[name] for name in ("MemUsage", "NetIO", "BlockIO")] == ["-- / --"] * 3


def test_the_table_is_dockers(engine: FakeEngine) -> None:
    add(engine, "done", {}, running=False)
    shown = run_verb(["stats", "--all"], engine)
    assert isinstance(shown, Table)
    row = "111111111111   done      0.00%     0B / 0B             0.00%     0B / 0B   0B / 0B     0\n"
    assert shown.text == HEAD + row


def test_only_running_containers_are_shown_newest_first(engine: FakeEngine) -> None:
    for name in ("one", "two"):
        add(engine, name, {"pids_current": 2})
    add(engine, "done", {}, running=False)
    form = ["--no-stream", "--format", "{{.Name}} {{.PIDs}}"]
    assert run_verb(["stats", *form], engine).text == "two 2\none 2\n"
    assert run_verb(["container", "stats", "-a", *form], engine).text == "done 0\ntwo 2\none 2\n"
    assert run_verb(["stats", *form, "one", "done"], engine).text == "one 2\ndone 0\n"


def test_json_and_whole_ids(engine: FakeEngine) -> None:
    add(engine, "one", {"pids_current": 1})
    found = json.loads(run_verb(["stats", "--no-trunc", "--json", "one"], engine).text)
    assert (found["ID"], found["Container"], found["PIDs"]) == ("1" * 64, "one", "1")
    assert sorted(found) == "BlockIO CPUPerc Container ID MemPerc MemUsage Name NetIO PIDs".split()


def test_a_container_that_ends_meanwhile_counts_as_stopped(engine: FakeEngine) -> None:
    add(engine, "one", {"pids_current": 1}, Conflict("the container is not running"))
    assert run_verb(["stats", "--format", "{{.Name}} {{.PIDs}}", "one"], engine).text == "one 0\n"


def test_unknown_names_and_fields_are_told(engine: FakeEngine) -> None:
    add(engine, "one", {})
    with pytest.raises(NotFound, match="No such container: nosuch"):
        run_verb(["stats", "--no-stream", "one", "nosuch"], engine)
    with pytest.raises(InvalidArgument, match=r"can't evaluate field Bogus in type \*container.statsContext"):
        run_verb(["stats", "--format", "{{.Bogus}}", "one"], engine)


def test_a_terminal_is_shown_it_anew_until_the_named_ones_have_ended(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_engine", lambda: engine)
    add(engine, "one", {"pids_current": 1}, {"pids_current": 2}, Conflict("it has ended"))
    assert dispatch.run(["stats", "--format", "{{.PIDs}}", "one"], "jupyter containers", Terminal()) == 0
    assert capsys.readouterr().out == "\033[2J\033[H2\n\033[2J\033[H0\n"


def test_pause_and_unpause_refuse_as_docker_does(engine: FakeEngine) -> None:
    one = add(engine, "one", {})
    for verb, state, text in (
        ("unpause", "running", "is not paused"),
        ("pause", "paused", "is already paused"),
        ("pause", "exited", "is not running"),
        ("unpause", "exited", "is not paused"),
    ):
        one.status = state
        with pytest.raises(Conflict, match=f"Container {one.id} {text}"):
            run_verb([verb, "one"], engine)
        assert one.status == state


def test_the_package_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jupyter_containers", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("nb-containers version ")
