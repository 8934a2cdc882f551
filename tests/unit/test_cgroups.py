"""What both versions of control groups share: reading OCI limits, finding a hierarchy, and doing without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_runtime import cgroup_v1, cgroup_v2, cgroups
from kernel_runtime.cgroups import Limits
from kernel_runtime.errors import SetupError, SpecError

MI = 1 << 20


def test_limits_are_read_from_oci_resources() -> None:
    resources = {
        "memory": {"limit": 64 * MI, "swap": -1, "reservation": 0},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1"},
        "pids": {"limit": 100},
        "devices": [{"allow": False, "access": "rwm"}],
    }
    limits = Limits.read(resources)
    assert limits == Limits(memory=64 * MI, swap=-1, shares=512, quota=50000, period=100000, cpus="0-1", pids=100)
    assert Limits.read({}) == Limits() == Limits.read({"memory": None, "cpu": {}})


@pytest.mark.parametrize(
    ("resources", "place"),
    [
        ({"memory": {"limit": "64m"}}, "linux.resources.memory.limit"),
        ({"memory": {"limit": True}}, "linux.resources.memory.limit"),
        ({"memory": {"limit": -2}}, "linux.resources.memory.limit"),
        ({"memory": {"disableOOMKiller": True}}, "linux.resources.memory.disableOOMKiller"),
        ({"memory": 3}, "linux.resources.memory"),
        ({"cpu": {"cpus": "a;b"}}, "linux.resources.cpu.cpus"),
        ({"pids": {"limit": 1.5}}, "linux.resources.pids.limit"),
        ({"blockIO": {"weight": 10}}, "linux.resources.blockIO"),
        ({"unified": {"../cgroup.procs": "1"}}, "linux.resources.unified"),
        ({"unified": {"cgroup.procs": "1"}}, "linux.resources.unified.cgroup.procs"),
        ({"unified": {"memory.high": 1}}, "linux.resources.unified.memory.high"),
    ],
)
def test_malformed_resources_are_errors_with_their_place(resources: dict[str, Any], place: str) -> None:
    with pytest.raises(SpecError, match=place.replace(".", r"\.")):
        Limits.read(resources)


def test_v1_files_for_every_limit() -> None:
    limits = Limits(64, 32, 128, 512, 50000, 100000, 10, 1, "0", "0", 7)
    assert cgroup_v1.writes(limits) == [
        ("memory", "memory.limit_in_bytes", "64"),
        ("memory", "memory.memsw.limit_in_bytes", "128"),
        ("memory", "memory.soft_limit_in_bytes", "32"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.idle", "1"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_burst_us", "10"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "7"),
    ]
    assert cgroup_v1.writes(Limits(memory=-1, pids=-1)) == [
        ("memory", "memory.limit_in_bytes", "-1"),
        ("pids", "pids.max", "max"),
    ]
    assert cgroup_v1.writes(Limits()) == []


def test_v2_files_for_every_limit() -> None:
    limits = Limits(64, 32, 128, 1024, 50000, None, 10, 1, "0", "0", 7, {"memory.high": "60"})
    assert cgroup_v2.writes(limits) == [
        ("memory", "memory.max", "64"),
        ("memory", "memory.swap.max", "64"),
        ("memory", "memory.low", "32"),
        ("cpu", "cpu.weight", "100"),
        ("cpu", "cpu.idle", "1"),
        ("cpu", "cpu.max", "50000 100000"),
        ("cpu", "cpu.max.burst", "10"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "7"),
        ("memory", "memory.high", "60"),
    ]
    assert cgroup_v2.writes(Limits(memory=-1, swap=-1, quota=-1, pids=-1)) == [
        ("memory", "memory.max", "max"),
        ("memory", "memory.swap.max", "max"),
        ("cpu", "cpu.max", "max 100000"),
        ("pids", "pids.max", "max"),
    ]
    assert cgroup_v2.writes(Limits()) == []


@pytest.mark.parametrize("limits", [Limits(swap=64), Limits(memory=64, swap=32), Limits(memory=-1, swap=32)])
def test_v2_refuses_a_swap_limit_that_makes_no_sense(limits: Limits) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\.memory\.swap"):
        cgroup_v2.writes(limits)


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (2, 1), (3, 2), (1024, 100), (512, 59), (2048, 174), (262144, 10000), (1 << 20, 10000)],
)
def test_shares_become_weights_as_in_runc(shares: int, weight: int) -> None:
    assert cgroup_v2.weight_of_shares(shares) == weight


def test_weights_grow_with_shares() -> None:
    weights = [cgroup_v2.weight_of_shares(1 << power) for power in range(1, 19)]
    assert weights == sorted(weights) and weights[0] == 1 and weights[-1] == 10000


def test_without_cgroups_rlimits_stand_in_and_say_so() -> None:
    rules, notice = cgroups.rlimit_fallback(
        {"memory": {"limit": 64 * MI}, "pids": {"limit": 9}, "cpu": {"quota": 5000}}
    )
    assert rules == [("RLIMIT_AS", 64 * MI, 64 * MI), ("RLIMIT_NPROC", 9, 9)]
    for word in ("No cgroup", "each process", "user", "not in force"):
        assert word in notice
    assert cgroups.rlimit_fallback({}) == cgroups.rlimit_fallback({"pids": {"limit": -1}}) == ([], "")


def test_a_machine_without_cgroups_gets_a_hierarchy_that_is_none(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, cgroup="", mountinfo="")
    hierarchy = cgroups.find("p", str(proc))
    assert (
        hierarchy.kind == "none" and "v2" in hierarchy.why and "v1" in hierarchy.why and "systemd-run" in hierarchy.mend
    )
    group = hierarchy.create("c", {"memory": {"limit": MI}})
    assert group.path == "" and group.procs_files == () and group.stats() == {} and group.events() == {}
    assert group.rlimits == (("RLIMIT_AS", MI, MI),) and "No cgroup" in group.notice
    group.kill()
    group.destroy()
    assert hierarchy.sweep(set()) == []
    hierarchy.close()
    for refused in (group.freeze, lambda: group.update({})):
        with pytest.raises(SetupError, match="systemd-run"):
            refused()


def test_own_directory_is_found_below_binds_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    mount = str(tmp_path)
    assert cgroups.own_directory("/", mount, "/b") == f"{mount}/b"
    assert cgroups.own_directory("/docker/x", mount, "/docker/x/b") == f"{mount}/b"
    assert cgroups.own_directory("/docker/x", mount, "/docker/x") == mount
    assert cgroups.own_directory("/docker/x", mount, "/") == mount  # a cgroup namespace hides the way
    assert cgroups.own_directory("/", mount, "/gone") == mount


def test_mountinfo_is_read_with_its_escapes(tmp_path: Path) -> None:
    line = r"32 31 0:29 / /sys/fs/a\040b rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
    proc = fake_proc(
        tmp_path, cgroup="3:cpu,cpuacct:/x\n0::/y:z\n", mountinfo=line + "\n23 1 0:2 / / rw - ext4 /dev/a rw\n"
    )
    assert list(cgroups.mounts(str(proc))) == [("cgroup", "/", "/sys/fs/a b", frozenset({"rw", "cpu", "cpuacct"}))]
    assert cgroups.own_paths(str(proc)) == {"cpu": "/x", "cpuacct": "/x", "": "/y:z"}


def test_discard_touches_only_folders_of_ours(tmp_path: Path) -> None:
    ours, other = tmp_path / "jupyter-containers-1000" / "p-a", tmp_path / "system.slice" / "p-a"
    for folder in (ours, other):
        folder.mkdir(parents=True)
    cgroups.discard([f"{ours}/cgroup.procs", f"{other}/cgroup.procs", "cgroup.procs"])
    assert not ours.exists() and other.exists()


def fake_proc(folder: Path, cgroup: str, mountinfo: str, uid_map: str = "0 0 4294967295\n") -> Path:
    for name, text in (("cgroup", cgroup), ("mountinfo", mountinfo), ("uid_map", uid_map)):
        (folder / name).write_text(text)
    return folder
