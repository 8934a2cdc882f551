"""What a writable layer changes, compared with what overlayfs itself shows before and after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jupyter_containers.image.apply import opaque_attribute
from jupyter_containers.image.upper import changes
from tests.rigs.abilities import must

_BELOW = "mkdir -p a/b empty gone/in; echo 1 >a/f; echo 2 >a/b/g; echo 3 >gone/x; echo 4 >kept; ln -s a link; echo 5 >gone/in/y"
_ABOVE = "mkdir -p top; echo 6 >top/z; echo 7 >a/f"
SCRIPTS = {
    "nothing": "true",
    "add, change, remove": "echo n >a/new; echo more >>a/b/g; rm kept link; mkdir n/; echo q >n/q",
    "a directory removed": "rm -r gone",
    "a directory made anew": "rm -r gone; mkdir gone; echo other >gone/x",
    "a directory becomes a file": "rm -r a; echo file >a",
    "a file becomes a directory": "rm kept; mkdir kept; echo w >kept/w",
    "only metadata": "chmod 700 a/b; chmod 600 top/z",
    "a tree made anew": "rm -r gone; mkdir -p gone/in; echo other >gone/in/z",
    "renamed": "mv kept moved; mv top/z a/z",
    "removed what was added": "echo x >made; rm made",
    "of the upper lower layer": "rm -r top; rm a/f",
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two lower layers, an upper one, and where they are merged; owned by who may mount."""
    must(os.geteuid() == 0, "root mounts the overlay that is compared with")
    found = {name: tmp_path / name for name in ("low", "high", "upper", "work", "merged")}
    for path in found.values():
        path.mkdir()
    subprocess.run(_BELOW, shell=True, cwd=found["low"], check=True)
    subprocess.run("mkdir a; " + _ABOVE, shell=True, cwd=found["high"], check=True)
    return found


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    rows = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        rows[str(path.relative_to(root))] = (status.st_mode, content)
    return rows


def in_overlay(folders: dict[str, Path], script: str) -> tuple[dict[str, tuple[object, ...]], ...]:
    """What is seen before and after *script* in the merged tree."""
    options = f"lowerdir={folders['high']}:{folders['low']},upperdir={folders['upper']},workdir={folders['work']}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, folders["merged"]], check=True)
    try:
        before = snapshot(folders["merged"])
        subprocess.run(script, shell=True, cwd=folders["merged"], check=True)
        return before, snapshot(folders["merged"])
    finally:
        subprocess.run(["umount", folders["merged"]], check=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_changes_are_what_overlayfs_shows(folders: dict[str, Path], name: str) -> None:
    before, after = in_overlay(folders, SCRIPTS[name])
    lower = [os.fsencode(folders["high"]), os.fsencode(folders["low"])]
    found = list(changes(os.fsencode(folders["upper"]), lower, opaque_attribute("root")))
    told = {(change.kind, os.fsdecode(change.path)) for change in found}
    assert len(told) == len(found)
    added = {path for kind, path in told if kind == "A"}
    removed = {path for kind, path in told if kind == "D"}
    changed = {path for kind, path in told if kind == "C"}
    assert added == set(after) - set(before) | {
        path for path in added if path in before and _hidden(path, before, after)
    }
    gone = set(before) - set(after)
    assert removed == {path for path in gone if not _hidden(path, before, after) and str(Path(path).parent) not in gone}
    differing = {path for path in set(before) & set(after) if before[path] != after[path]}
    assert differing <= changed | added
    assert [change.path for change in found if change.path.count(b"/") == 0] == sorted(
        change.path for change in found if change.path.count(b"/") == 0
    )


def _hidden(path: str, before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> bool:
    """Whether a folder above is no folder any more, or was none."""
    parents = [str(parent) for parent in Path(path).parents][:-1]
    return any(before.get(p, (0, None))[1] is not None or after.get(p, (0, None))[1] is not None for p in parents)
