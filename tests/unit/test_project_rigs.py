"""The rigs themselves: users are who they should be, and the watch for leaks sees a leak."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rigs import engines, leaks
from tests.rigs.users import CallFailed, User, own_kind

ORDINARY = "subids" if own_kind() == "root" else own_kind()


def _who() -> list[object]:
    return [os.getuid(), os.getgroups(), str(Path.home()), os.environ["JUPYTER_CONTAINERS_HOME"]]


def test_a_function_runs_as_the_user(as_user: User) -> None:
    uid, groups, home, store = as_user.call(_who)
    assert uid == as_user.uid
    assert set(groups) <= {as_user.gid, *os.getgroups()}
    assert (home, store) == (str(as_user.home), str(as_user.store))


def _fail(text: str) -> None:
    raise ValueError(text)


def test_what_a_called_function_raises_comes_back(as_user: User) -> None:
    with pytest.raises(CallFailed, match="ValueError: of course"):
        as_user.call(_fail, "of course")


def test_a_user_can_use_the_packages(as_user: User) -> None:
    done = as_user.python("import jupyter_containers, kernel_runtime, IPython; print(jupyter_containers.__version__)")
    assert done.stdout.strip()


@pytest.mark.parametrize("as_user", [ORDINARY], indirect=True)
def test_user_namespaces_can_be_forbidden(as_user: User, without_user_namespaces: Callable[[User], User]) -> None:
    assert as_user.run("unshare", "--user", "true").returncode == 0
    walled = without_user_namespaces(as_user)
    refused = walled.run("unshare", "--user", "true", check=False)
    assert refused.returncode != 0
    assert "unshare failed" in refused.stderr
    assert int(walled.run("id", "-u").stdout) == as_user.uid
    assert "CapEff:\t0000000000000000" in walled.run("grep", "CapEff", "/proc/self/status").stdout


def test_a_process_left_behind_is_seen_even_if_it_left_its_parent(tmp_path: Path) -> None:
    before = leaks.settled([tmp_path])
    assert not leaks.left_behind(before, [tmp_path])
    (tmp_path / "left").touch()
    done = subprocess.run(["sh", "-c", "sleep 61 >/dev/null 2>&1 & echo $!"], check=True, capture_output=True)
    left = leaks.left_behind(before, [tmp_path], seconds=0.3)
    assert {"process sleep 61", f"file {tmp_path / 'left'}"} <= set(left)
    os.kill(int(done.stdout), 9)
    (tmp_path / "left").unlink()
    assert not leaks.left_behind(before, [tmp_path])


def test_a_descriptor_left_open_is_seen() -> None:
    before = leaks.settled()
    with Path("/dev/null").open():
        assert any("/dev/null" in line for line in leaks.left_behind(before, seconds=0.1))
    assert not leaks.left_behind(before)


def _run_busybox() -> tuple[int, str]:
    from jupyter_containers import from_env

    result = from_env().containers.run(engines.BUSYBOX, ["sh", "-c", "id -u; hostname > /x"], remove=True)
    return getattr(result, "exit_code", 0), str(getattr(result, "stdout", result))


def test_a_container_leaves_nothing_behind(as_user: User, leak_watch: None) -> None:
    engines.add_busybox(as_user)
    code, text = as_user.call(_run_busybox)
    assert code == 0
    assert "0" in text
