"""Who may import whom, written once as data. A lower row never imports a higher one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.imports import Import, imports, modules, resolve
from tests.rigs.users import CHECKOUT

# From the bottom up: a module imports from its own row and from those above it in this table.
KERNEL_RUNTIME = (
    "errors",
    "spec state protocol logs rungs syscalls syscall_table kinds",
    "idmap mounts cgroups cgroup_files cgroup_v1 cgroup_v2 capabilities seccomp seccomp_profile bpf network bridge egress"
    " init probe devices console sysctls trees users reaper reading waiting",
    "stage sandbox programs merged",
    "orders",
    "rehearsal",
    "monitor children execs joined streams",
    "first",
    "prepared ready",
    "places sweep launcher",
    "service client conversation",
    "commands runc",
    "__main__",
)
JUPYTER_CONTAINERS = (
    "errors events options config result line text",
    "image",
    "run build",
    "engine",
    "cli",
    "magics widgets server provisioner",
    "__main__",
)
# Callers in processes with threads use these; nothing that forks or unshares may come along.
CALLERS_SIDE = {"kernel_runtime.client": {"conversation", "errors", "kinds", "protocol", "state", "waiting"}}
ADAPTER = "jupyter_containers.run.runtime"
EDGE_LIBRARIES = {"IPython", "ipykernel", "ipywidgets", "traitlets", "tornado", "jupyter_server", "jupyter_client"}
EDGES = {"cli", "magics", "widgets", "server", "provisioner"}
# Each costs the launcher's start more than it gives; pyroute2 comes later, in functions.
TOO_HEAVY = set(
    "argparse asyncio concurrent email http logging multiprocessing pathlib pyroute2 random shutil ssl subprocess"
    " tarfile tempfile threading traceback unittest urllib uuid xml zipfile".split()
)

MODULES = modules(CHECKOUT)
ALL = [found for name, path in MODULES.items() for found in imports(name, path)]


def _rows(table: tuple[str, ...]) -> dict[str, int]:
    return {name: number for number, row in enumerate(table) for name in row.split()}


ROWS = {"kernel_runtime": _rows(KERNEL_RUNTIME), "jupyter_containers": _rows(JUPYTER_CONTAINERS)}


def _part(module: str) -> str:
    """The word of the table that a module belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def _say(found: Import) -> str:
    return f"{found.importer}:{found.line} imports {found.target}"


def test_every_module_has_its_place_in_the_table() -> None:
    unknown = {module for module in MODULES if _part(module) and _part(module) not in ROWS[module.partition(".")[0]]}
    assert not unknown, "write them into the table at the top of this file"


@pytest.mark.parametrize("package", ROWS)
def test_imports_point_downwards(package: str) -> None:
    rows, wrong = ROWS[package], []
    for found in ALL:
        target = resolve(found.target, MODULES)
        ours = found.importer.startswith(f"{package}.") and target.startswith(package)
        if not ours or found.target in (package, f"{package}.__version__"):
            continue
        if rows[_part(found.importer)] < rows.get(_part(target), len(rows)):
            wrong.append(_say(found))
    assert not wrong


def test_only_the_adapter_knows_the_runtime() -> None:
    wrong = [
        _say(found)
        for found in ALL
        if found.target.startswith("kernel_runtime")
        and found.importer.startswith("jupyter_containers")
        and found.importer != ADAPTER
    ]
    assert not wrong


def test_the_runtime_knows_nothing_of_notebooks() -> None:
    allowed = {*sys.stdlib_module_names, "kernel_runtime"}
    wrong = [
        _say(found)
        for found in ALL
        if found.importer.startswith("kernel_runtime")
        and found.target.split(".")[0] not in allowed
        and not (found.target.startswith("pyroute2") and not found.at_top)
    ]
    assert not wrong


@pytest.mark.parametrize("module", CALLERS_SIDE)
def test_callers_get_nothing_that_forks(module: str) -> None:
    allowed = {module, *(f"kernel_runtime.{name}" for name in CALLERS_SIDE[module])}
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        targets = {resolve(found.target, MODULES) for found in ALL if found.importer == name}
        waiting += [target for target in targets if target.startswith("kernel_runtime.") and target not in seen]
    assert seen <= allowed


def test_one_file_has_ctypes() -> None:
    users = {found.importer for found in ALL if found.target.split(".")[0] in ("ctypes", "cffi")}
    assert users == {"kernel_runtime.syscalls"}


def test_only_the_edges_know_the_front_ends() -> None:
    wrong = [
        _say(found)
        for found in ALL
        if found.target.split(".")[0] in EDGE_LIBRARIES and _part(found.importer) not in EDGES | {""}
    ]
    assert not wrong


def _loaded_by(statement: str) -> set[str]:
    """Modules that a statement loads in an isolated Python, without the package's own."""
    code = f"import sys; before = set(sys.modules); sys.path.insert(0, {str(CHECKOUT)!r}); {statement}\n"
    code += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    return {name for name in done.stdout.split() if not name.startswith("kernel_runtime")}


@pytest.mark.parametrize("module", ["commands", "launcher", "service"])
def test_the_launcher_starts_with_few_modules(module: str) -> None:
    loaded = _loaded_by(f"import kernel_runtime.{module}")
    assert not {name for name in loaded if name.split(".")[0] in TOO_HEAVY}
    assert len(loaded) < 90


def test_the_package_itself_loads_nothing_heavy() -> None:
    loaded = _loaded_by("import jupyter_containers")
    assert not {name for name in loaded if name.startswith("jupyter_containers.")}
    assert "IPython" not in loaded


def test_relative_and_late_imports_are_seen(tmp_path: Path) -> None:
    source = "from . import a\nfrom .b import c\ndef f():\n    import d.e\nif TYPE_CHECKING:\n    import unseen\n"
    (tmp_path / "m.py").write_text(source)
    found = imports("p.q.m", tmp_path / "m.py")
    assert [(one.target, one.at_top) for one in found] == [("p.q.a", True), ("p.q.b.c", True), ("d.e", False)]
