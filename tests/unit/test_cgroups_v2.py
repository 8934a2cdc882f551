"""Version 2 of control groups: with the real kernel what needs no controller, on a folder that plays one the rest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from errno import EBUSY, ENODATA, ENOENT
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernel_runtime import cgroup_files, cgroup_v2, cgroups
from kernel_runtime.cgroup_v2 import SUPERVISOR, V2Hierarchy
from kernel_runtime.cgroups import BASE_NAME
from kernel_runtime.errors import SetupError

MI = 1 << 20
FILES = (
    *("cgroup.procs", "cgroup.type", "cgroup.controllers", "cgroup.subtree_control", "cgroup.freeze", "cgroup.kill"),
    *("memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus", "cpuset.mems"),
)


# The real kernel: a version 2 tree may lack controllers (as in the hybrid set-up), but has kill, freeze and events.


def lacking(reason: str) -> None:
    """Skip the test on a laptop; on a machine that must be able to (JC_MUST_WORK), fail it."""
    (pytest.fail if os.environ.get("JC_MUST_WORK") else pytest.skip)(reason)


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Iterator[V2Hierarchy]:
    mount = next((m for m in cgroups.mounts("/proc/self") if m[0] == "cgroup2"), None)
    if mount is None or not os.access(mount[2], os.W_OK):
        lacking("needs a cgroup v2 tree that may be written to")
    assert mount is not None
    base = Path(mount[2], f"{BASE_NAME}-test{os.getpid()}")
    base.mkdir()
    hierarchy = V2Hierarchy(str(base), (), "p")
    yield hierarchy
    hierarchy.sweep(set())
    hierarchy.close()
    assert not base.exists()


def join(hierarchy: V2Hierarchy, id: str, work: Callable[[], object]) -> tuple[cgroups.Cgroup, int]:
    group = hierarchy.create(id, {})
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            cgroups.write(group.procs_files[0], "0")
            os.write(write, b"x")
            work()
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"x"
    os.close(read)
    return group, pid


def family() -> None:
    for _ in range(20):
        if os.fork() == 0:
            break
    signal.pause()


def test_kill_ends_all_members_and_destroy_waits(real: V2Hierarchy) -> None:
    group, pid = join(real, "many", family)
    (Path(group.path) / "inner").mkdir()
    group.kill()
    group.destroy()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not Path(group.path).exists()


def test_freeze_holds_and_thaw_lets_go(real: V2Hierarchy) -> None:
    group, pid = join(real, "ice", lambda: [None for _ in iter(int, 1)])
    group.freeze()
    before = group.stats()["cpu_seconds"]
    time.sleep(0.05)
    assert group.stats()["cpu_seconds"] == before
    group.thaw()
    finish = time.monotonic() + 5
    while group.stats()["cpu_seconds"] == before:
        assert time.monotonic() < finish
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_sweep_keeps_the_living(real: V2Hierarchy) -> None:
    other = V2Hierarchy(real.base, (), "q")
    _, kept = join(real, "kept", signal.pause)
    _, lost = join(real, "lost", signal.pause)
    foreign = other.create("f", {})
    assert real.sweep({"kept"}) == ["lost"]
    assert os.waitpid(kept, os.WNOHANG) == (0, 0) and Path(foreign.path).exists()
    foreign.destroy()
    os.waitpid(lost, 0)
    assert real.sweep([]) == ["kept"]
    os.waitpid(kept, 0)


def test_a_limit_without_its_controller_is_an_error_and_leaves_nothing(real: V2Hierarchy) -> None:
    with pytest.raises(SetupError, match=r"memory\.max: the memory controller is not available .*Delegate="):
        real.create("c", {"memory": {"limit": MI}})
    assert list(real._found()) == []


# A folder that plays the kernel: groups have their files from birth, and children the controllers of their parent.


class Tree:
    """A cgroup v2 tree of ordinary files.

    Groups in ``busy`` refuse controllers for their children, those in ``delegated`` carry systemd's mark, and no group
    has a file named in ``absent``.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.busy, self.delegated, self.absent = root, set[str](), set[str](), set[str]()
        self.make(root, "cpu cpuset io memory pids")
        (root / "cgroup.type").unlink()

    def make(self, path: Path, controllers: str) -> None:
        path.mkdir(exist_ok=True)
        for file in set(FILES) - self.absent:
            (path / file).write_text("")
        (path / "cgroup.controllers").write_text(controllers)

    def group(self, path: str, controllers: str) -> Path:
        for parent in reversed(Path(path).parents[:-1]):
            self.make(self.root / parent, controllers)
        self.make(self.root / path, controllers)
        return self.root / path

    def getxattr(self, path: str, name: str) -> bytes:
        if path in self.delegated and name == "user.delegate":
            return b"1"
        raise OSError(ENODATA, "No data available")

    def mkdir(self, path: str, mode: int = 0o755, exist_ok: bool = False) -> None:
        parent = Path(path).parent
        if Path(path).exists() and not exist_ok:
            raise FileExistsError(path)
        if Path(path).exists():
            return
        self.make(Path(path), (parent / "cgroup.subtree_control").read_text())

    def rmdir(self, path: str) -> None:
        for file in Path(path).iterdir():
            file.unlink()
        Path(path).rmdir()

    def write(self, path: str, value: str) -> None:
        file = Path(path)
        if file.name != "cgroup.subtree_control":
            if not file.exists():
                raise FileNotFoundError(ENOENT, "No such file or directory")
            file.write_text(value)
        elif str(file.parent) in self.busy:
            raise OSError(EBUSY, "Device or resource busy")
        else:
            file.write_text(f"{file.read_text()} {value.removeprefix('+')}".strip())


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = Tree(tmp_path / "cgroup")
    calls = {**vars(os), "mkdir": tree.mkdir, "makedirs": tree.mkdir, "rmdir": tree.rmdir, "getxattr": tree.getxattr}
    for module in (cgroups, cgroup_files, cgroup_v2):
        monkeypatch.setattr(module, "os", SimpleNamespace(**calls))
    for module in (cgroups, cgroup_files):
        monkeypatch.setattr(module, "write", tree.write)
    return tree


def look(tree: Tree, own: str, outside_uid: int = 0) -> cgroups.Hierarchy:
    """What find() chooses for a process in the group *own*, of root or of a user's namespace."""
    folder = tree.root.parent
    proc = folder / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "cgroup").write_text(f"0::{own}\n")
    (proc / "mountinfo").write_text(f"41 31 0:38 / {tree.root} rw - cgroup2 cgroup2 rw\n")
    (proc / "uid_map").write_text(f"0 {outside_uid} 65536\n")
    return cgroups.find("p", str(proc))


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("JC_MUST_WORK"),
    reason="plays uid 0, of the machine or of a user namespace",
)


@needs_root
def test_a_delegated_scope_is_divided_into_supervisor_and_containers(tree: Tree) -> None:
    scope = tree.group("user.slice/run.scope", "cpu memory pids")
    hierarchy = look(tree, "/user.slice/run.scope", outside_uid=1000)
    assert hierarchy.kind == "v2" and hierarchy.controllers == {"cpu", "memory", "pids"}
    assert (scope / SUPERVISOR / "cgroup.procs").read_text() == "0"
    assert (scope / "cgroup.subtree_control").read_text() == "memory pids cpu"
    assert "cpuset" in hierarchy.mend and "Delegate=" in hierarchy.mend
    group = hierarchy.create(
        "c", {"memory": {"limit": 64 * MI, "swap": 96 * MI}, "pids": {"limit": 9}, "cpu": {"shares": 1024}}
    )
    assert group.path == str(scope / f"{BASE_NAME}-1000" / "p-c") and group.procs_files == (
        f"{group.path}/cgroup.procs",
    )
    written = {
        file: Path(group.path, file).read_text() for file in ("memory.max", "memory.swap.max", "pids.max", "cpu.weight")
    }
    assert written == {
        "memory.max": str(64 * MI),
        "memory.swap.max": str(32 * MI),
        "pids.max": "9",
        "cpu.weight": "100",
    }


@needs_root
def test_a_launcher_that_already_sits_in_the_leaf_finds_the_same_place(tree: Tree) -> None:
    scope = tree.group("run.scope", "memory pids")
    first = look(tree, "/run.scope", outside_uid=1000)
    second = look(tree, f"/run.scope/{SUPERVISOR}", outside_uid=1000)
    assert isinstance(first, V2Hierarchy) and isinstance(second, V2Hierarchy) and first.base == second.base
    assert not (scope / SUPERVISOR / SUPERVISOR).exists()


@needs_root
def test_a_scope_with_other_processes_is_left_as_it_was_and_the_mend_is_told(tree: Tree) -> None:
    scope = tree.group("session.scope", "memory pids")
    tree.busy.add(str(scope))
    hierarchy = look(tree, "/session.scope", outside_uid=1000)
    assert hierarchy.kind == "none" and "other processes live in it" in hierarchy.why and "systemd-run" in hierarchy.why
    assert (scope / "cgroup.procs").read_text() == "0" and not (scope / SUPERVISOR).exists()


@needs_root
def test_root_uses_the_top_of_the_tree_unless_its_scope_was_delegated(tree: Tree) -> None:
    tree.group("system.slice/sshd.service", "memory pids")
    plain = look(tree, "/system.slice/sshd.service")
    assert isinstance(plain, V2Hierarchy) and plain.base == str(tree.root / BASE_NAME)
    scope = tree.group("system.slice/run.scope", "memory pids")
    tree.delegated.add(str(scope))
    own = look(tree, "/system.slice/run.scope")
    assert isinstance(own, V2Hierarchy) and own.base == str(scope / BASE_NAME)


@needs_root
def test_root_at_the_top_of_the_tree_does_not_move(tree: Tree) -> None:
    hierarchy = look(tree, "/")
    assert isinstance(hierarchy, V2Hierarchy) and hierarchy.base == str(tree.root / BASE_NAME)
    assert not (tree.root / SUPERVISOR).exists() and hierarchy.mend == ""


@needs_root
def test_without_memory_and_pids_the_tree_is_of_no_use(tree: Tree) -> None:
    tree.group("run.scope", "cpu")
    assert "neither the memory nor the pids controller" in look(tree, "/run.scope", outside_uid=1000).why


@needs_root
def test_numbers_and_events_are_read_and_absent_ones_left_out(tree: Tree) -> None:
    group = look(tree, "/").create("c", {})
    contents = {
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "memory.events": "low 0\noom 3\noom_kill 2\n",
        "pids.current": "3\n",
        "pids.events": "max 7\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    }
    for file, text in contents.items():
        Path(group.path, file).write_text(text)
    assert group.stats() == {"memory_current": 4096, "pids_current": 3, "cpu_seconds": 1.5}
    assert group.events() == {"oom_kill": 2, "pids_max": 7}


@needs_root
def test_a_kernel_without_swap_accounting_gets_a_notice_not_a_failure(tree: Tree) -> None:
    tree.absent.add("memory.swap.max")
    group = look(tree, "/").create("c", {"memory": {"limit": MI, "swap": 2 * MI}})
    assert "swap is not in force" in group.notice


@needs_root
def test_update_writes_only_what_it_is_given(tree: Tree) -> None:
    group = look(tree, "/").create("c", {"memory": {"limit": MI}, "pids": {"limit": 5}})
    group.update({"pids": {"limit": -1}})
    assert Path(group.path, "pids.max").read_text() == "max"
    assert Path(group.path, "memory.max").read_text() == str(MI)


@needs_root
def test_the_base_is_removed_with_the_last_group_and_made_again(tree: Tree) -> None:
    hierarchy = look(tree, "/")
    assert isinstance(hierarchy, V2Hierarchy)
    hierarchy.close()
    assert not Path(hierarchy.base).exists()
    assert Path(hierarchy.create("c", {"pids": {"limit": 1}}).path, "cgroup.procs").exists()
