"""Version 1 of control groups, with the real kernel: limits strike and are counted, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_runtime import cgroup_v1, cgroups
from kernel_runtime.cgroup_v1 import V1Cgroup, V1Hierarchy
from kernel_runtime.cgroups import Cgroup
from kernel_runtime.errors import SetupError

MI = 1 << 20
PREFIX = f"test{os.getpid()}"


def lacking(reason: str) -> None:
    """Skip the test on a laptop; on a machine that must be able to (JC_MUST_WORK), fail it."""
    (pytest.fail if os.environ.get("JC_MUST_WORK") else pytest.skip)(reason)


@pytest.fixture
def hierarchy() -> Iterator[V1Hierarchy]:
    found = cgroup_v1.find(PREFIX) if os.geteuid() == 0 else "needs root"
    if isinstance(found, str):
        lacking(found)
    assert isinstance(found, V1Hierarchy)
    yield found
    found.sweep(set())
    assert not [path for base in found.bases.values() for path in Path(base).glob(f"{PREFIX}*")]
    found.close()


def start(group: Cgroup, work: Callable[[], object]) -> int:
    """A child that joins *group*, tells so, and works; its exit status is 1 if the work raised."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            for file in group.procs_files:
                cgroups.write(file, "0")
            os.write(write, b"x")
            work()
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"x"
    os.close(read)
    return pid


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def use_processor(seconds: float) -> None:
    """Until this process itself has had so much, however busy the machine is."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def spin(seconds: float) -> None:
    finish = time.monotonic() + seconds
    while time.monotonic() < finish:
        pass


def fork_sleepers(count: int) -> None:
    for _ in range(count):
        if os.fork() == 0:
            time.sleep(60)
    time.sleep(60)


def wait_for(condition: Callable[[], object]) -> None:
    finish = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < finish, "it did not come about"
        time.sleep(0.005)


def test_a_memory_hog_is_killed_and_counted(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("hog", {"memory": {"limit": 32 * MI, "swap": 32 * MI}})
    assert group.stats()["memory_limit"] == 32 * MI
    assert status(start(group, lambda: b"x" * (128 * MI))) == -signal.SIGKILL
    assert group.events()["oom_kill"] == 1
    assert 16 * MI < group.stats()["memory_peak"] <= 32 * MI


def test_a_fork_bomb_hits_the_process_limit_and_is_counted(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("bomb", {"pids": {"limit": 5}})
    pid = start(group, lambda: fork_sleepers(50))
    assert status(pid) == 1  # fork raised BlockingIOError
    assert group.events()["pids_max"] >= 1
    assert group.stats()["pids_current"] == 4
    group.kill()
    group.destroy()


def test_a_quota_throttles(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("slow", {"cpu": {"quota": 10000, "period": 50000}})
    assert status(start(group, lambda: spin(0.5))) == 0
    assert 0.03 < group.stats()["cpu_seconds"] < 0.25  # a fifth of 0.5 s, and some slack


def test_times_and_peaks_are_known_without_any_limit(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("plain", {})
    assert status(start(group, lambda: use_processor(0.05))) == 0
    stats = group.stats()
    assert stats["cpu_seconds"] >= 0.03 and stats["memory_peak"] > 0 and "memory_limit" not in stats
    assert group.events() == {"oom_kill": 0, "pids_max": 0}


def test_a_frozen_group_stands_still_and_goes_on(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("ice", {})
    assert not any("freezer" in file for file in group.procs_files)
    pid = start(group, lambda: spin(60))
    group.freeze()
    before = group.stats()["cpu_seconds"]
    time.sleep(0.05)
    assert group.stats()["cpu_seconds"] == before
    group.thaw()
    wait_for(lambda: group.stats()["cpu_seconds"] > before)
    assert any("freezer" in file for file in group.procs_files)  # who joins from now on can be frozen as well
    end(pid)


def test_a_frozen_group_can_be_killed(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("icekill", {})
    pid = start(group, lambda: time.sleep(60))
    group.freeze()
    group.kill()
    assert status(pid) == -signal.SIGKILL
    group.destroy()


def test_kill_reaches_all_and_destroy_waits_for_their_end(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("many", {})
    pid = start(group, lambda: fork_sleepers(30))
    wait_for(lambda: group.stats()["pids_current"] == 31)
    group.kill()
    group.destroy()
    assert status(pid) == -signal.SIGKILL
    assert not Path(group.path).exists()
    group.destroy()  # a second time does nothing


def hop(finish: float) -> None:
    """One process that is always another: it forks and ends, so that a list of pids is old when it is read."""
    os.setsid()
    while time.monotonic() < finish:
        if os.fork():
            os._exit(0)


def spread(finish: float) -> None:
    """As many as the limit allows, each of which tries to be two."""
    while time.monotonic() < finish:
        try:
            os.fork()
        except OSError:
            time.sleep(0.001)


@pytest.mark.parametrize("missing", [(), ("pids",), ("pids", "freezer")])
@pytest.mark.parametrize("bomb", [hop, spread])
def test_a_fork_bomb_is_killed_in_time(
    hierarchy: V1Hierarchy, bomb: Callable[[float], None], missing: tuple[str, ...]
) -> None:
    group = hierarchy.create("bomb", {"pids": {"limit": 60}})
    bases = {name: base for name, base in hierarchy.bases.items() if name not in missing}
    known = V1Cgroup("bomb", V1Hierarchy(bases, {}, PREFIX), {"memory": group.path})
    starters = [start(group, lambda: bomb(time.monotonic() + 20)) for _ in range(4)]
    time.sleep(0.2)
    begun = time.monotonic()
    (known if missing else group).kill()
    assert time.monotonic() - begun < cgroups.PATIENCE + 0.5
    assert cgroups.members(group.path) == []
    group.destroy()
    for pid in starters:
        os.waitpid(pid, 0)


@pytest.mark.parametrize("bomb", [hop, spread])
def test_a_frozen_fork_bomb_is_ended_by_what_its_monitor_recorded(
    hierarchy: V1Hierarchy, bomb: Callable[[float], None]
) -> None:
    group = hierarchy.create("icebomb", {"pids": {"limit": 60}})
    starters = [start(group, lambda: bomb(time.monotonic() + 20)) for _ in range(4)]
    time.sleep(0.2)
    group.freeze()
    cgroups.discard(group.procs_files)
    assert list(hierarchy._found()) == []
    for pid in starters:
        os.waitpid(pid, 0)


def test_a_group_that_will_not_go_holds_no_sweep_up(hierarchy: V1Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn, other = hierarchy.create("a", {}), hierarchy.create("b", {})
    pid = start(stubborn, lambda: time.sleep(60))
    with monkeypatch.context() as patch:
        patch.setattr(V1Cgroup, "kill", lambda group: None)  # as a process that sleeps on a dead disk
        patch.setattr(V1Cgroup.destroy, "__defaults__", (0.01,))
        assert hierarchy.sweep(set()) == ["b"]
    assert not Path(other.path).exists()
    end(pid)


def test_discard_and_sweep_end_a_fork_bomb(hierarchy: V1Hierarchy) -> None:
    for clean in (lambda group: cgroups.discard(group.procs_files), lambda group: hierarchy.sweep(set())):
        group = hierarchy.create("bomb", {"pids": {"limit": 60}})
        starters = [start(group, lambda: bomb(time.monotonic() + 20)) for bomb in (hop, spread)]
        time.sleep(0.2)
        clean(group)
        assert list(hierarchy._found()) == []
        for pid in starters:
            os.waitpid(pid, 0)


def test_destroy_of_a_living_group_says_who_lives(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("alive", {})
    pid = start(group, lambda: time.sleep(60))
    with pytest.raises(SetupError, match=rf"processes still live in it \({pid}\)\. Kill them"):
        group.destroy(0.01)
    end(pid)


def test_groups_inside_a_group_go_with_it(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("outer", {})
    inner = Path(group.path, "inner", "innermost")
    inner.mkdir(parents=True)
    join = inner / "cgroup.procs"

    def move_inside() -> None:
        join.write_text("0")
        signal.pause()

    pid = start(group, move_inside)
    wait_for(join.read_text)
    group.kill()
    group.destroy()
    assert status(pid) == -signal.SIGKILL and not Path(group.path).exists()


def test_limits_can_be_changed_while_it_runs(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("change", {"memory": {"limit": 32 * MI, "swap": 32 * MI}, "pids": {"limit": 5}})
    pid = start(group, lambda: time.sleep(60))
    group.update(
        {"memory": {"limit": 64 * MI, "swap": 64 * MI}, "pids": {"limit": -1}, "cpu": {"shares": 512, "cpus": "0"}}
    )
    assert group.stats()["memory_limit"] == 64 * MI
    for controller, file, value in (
        ("pids", "pids.max", "max"),
        ("cpu", "cpu.shares", "512"),
        ("cpuset", "cpuset.cpus", "0"),
    ):
        folder = Path(hierarchy.bases[controller], f"{PREFIX}-change")
        assert (folder / file).read_text().strip() == value
        assert (folder / "cgroup.procs").read_text().split() == [str(pid)]
    group.update({"memory": {"limit": 32 * MI, "swap": 32 * MI}})
    assert group.stats()["memory_limit"] == 32 * MI
    end(pid)


def test_a_refused_limit_names_file_and_value_and_leaves_nothing(hierarchy: V1Hierarchy) -> None:
    with pytest.raises(SetupError, match=r"cpuset\.cpus: the kernel refuses '4000'"):
        hierarchy.create("bad", {"cpu": {"cpus": "4000"}})
    assert list(hierarchy._found()) == []


def test_a_limit_without_its_controller_is_an_error_with_a_mend(hierarchy: V1Hierarchy) -> None:
    poor = V1Hierarchy({"pids": hierarchy.bases["pids"]}, {"cpu": "/cpu: Permission denied"}, PREFIX)
    for resources in ({"cpu": {"quota": 1000}}, {"memory": {"limit": MI}}):
        with pytest.raises(SetupError, match="Start as root"):
            poor.create("poor", resources)
    with pytest.raises(SetupError, match="Permission denied"):
        poor.create("poor", {"cpu": {"quota": 1000}})
    with pytest.raises(SetupError, match="v1"):
        poor.create("poor", {"unified": {"memory.high": "1"}})
    assert poor.create("rich", {"pids": {"limit": 3}}).stats() == {"pids_current": 0, "pids_peak": 0}


def test_controllers_that_share_a_tree_share_the_folder(hierarchy: V1Hierarchy, tmp_path: Path) -> None:
    both = tmp_path / "cpu,cpuacct"
    both.mkdir()
    shared = V1Hierarchy({"cpu": str(both), "cpuacct": str(both)}, {}, "")
    group = V1Cgroup("c", shared)
    assert group.enter("cpuacct") == group.enter("cpu") == f"{both}/c"
    assert group.procs_files == (f"{both}/c/cgroup.procs",)


def test_an_empty_leftover_of_the_same_name_is_replaced(hierarchy: V1Hierarchy) -> None:
    first = hierarchy.create("twin", {"pids": {"limit": 3}})
    second = hierarchy.create("twin", {})
    assert second.path == first.path
    assert Path(hierarchy.bases["pids"], f"{PREFIX}-twin", "pids.max").read_text().strip() == "max"


def test_a_second_group_of_a_living_name_is_refused_and_harms_nobody(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("twin", {})
    pid = start(group, lambda: time.sleep(60))
    with pytest.raises(SetupError, match="processes still live in it"):
        hierarchy.create("twin", {})
    assert group.stats()["pids_current"] == 1
    end(pid)


def test_sweep_removes_what_nobody_owns_and_only_with_our_prefix(hierarchy: V1Hierarchy) -> None:
    neighbour = V1Hierarchy(hierarchy.bases, {}, f"{PREFIX}x")
    alive, dead, foreign = hierarchy.create("alive", {}), hierarchy.create("dead", {}), neighbour.create("f", {})
    pids = [start(group, lambda: time.sleep(60)) for group in (alive, dead, foreign)]
    assert hierarchy.sweep({"alive"}) == ["dead"]
    assert status(pids[1]) == -signal.SIGKILL
    assert os.waitpid(pids[0], os.WNOHANG) == os.waitpid(pids[2], os.WNOHANG) == (0, 0)
    end(pids[0], pids[2])
    assert neighbour.sweep(set()) == ["f"]


def test_discard_ends_a_group_from_what_its_monitor_recorded(hierarchy: V1Hierarchy) -> None:
    group = hierarchy.create("recorded", {})
    pid = start(group, lambda: time.sleep(60))
    cgroups.discard(group.procs_files)
    assert status(pid) == -signal.SIGKILL
    assert list(hierarchy._found()) == []


def test_a_base_that_went_away_is_made_again(hierarchy: V1Hierarchy) -> None:
    hierarchy.close()
    group = hierarchy.create("again", {"pids": {"limit": 2}, "cpu": {"cpus": "0"}})
    assert Path(group.path).is_dir()


def test_find_here_chooses_v1_below_our_own_group(hierarchy: V1Hierarchy) -> None:
    found = cgroups.find(PREFIX)
    if found.kind == "v2":
        pytest.skip("this machine has cgroup v2 with controllers")
    own = cgroups.own_paths("/proc/self")["memory"].rstrip("/")
    assert isinstance(found, V1Hierarchy) and found.bases["memory"].endswith(f"{own}/{cgroups.BASE_NAME}")
