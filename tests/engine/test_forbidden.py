"""Where user namespaces are forbidden (Binder, hardened machines): one clear line with the mend, never less isolation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.test_cells import cells
from tests.rigs import engines
from tests.rigs.engines import ours
from tests.rigs.users import User

ORDINARY = pytest.mark.parametrize("as_user", ["subids", "nosubids"], indirect=True)
RUN = ("--network", "none", "host", "true")

# As a container's seccomp profile forbids it: Docker's default answers EPERM without CAP_SYS_ADMIN.
FILTER = """
import os, sys
from kernel_runtime import seccomp, syscalls
rule = {"names": ["unshare", "setns", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.seccomp_set_filter(seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def by_seccomp(user: User) -> User:
    return replace(user, prefix=(sys.executable, "-c", FILTER))


@pytest.fixture(params=["sysctl", "seccomp"])
def walled(as_user: User, request: pytest.FixtureRequest, without_user_namespaces: Callable[[User], User]) -> User:
    """An ordinary user who may make no namespace, with a store of its own."""
    user = (without_user_namespaces if request.param == "sysctl" else by_seccomp)(as_user)
    return user.with_store(f"walled-{request.param}")


def says_what_to_do(text: str) -> None:
    assert "create user namespace: this machine" in text, text
    assert "As root: sysctl user.max_user_namespaces=15000" in text or "seccomp profile" in text, text
    assert "`%container doctor` tells of every rung" in text, text
    assert "No space left" not in text and "launcher.log" not in text, text


@ORDINARY
def test_a_run_is_refused_in_one_line(walled: User) -> None:
    before = set((walled.base / "run").rglob("*.sock"))
    for words in (("run", "--rm", *RUN), ("run", "-d", *RUN), ("create", *RUN)):
        done = ours(walled, *words)
        assert done.returncode == (125 if words[0] == "run" else 1), done
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        says_what_to_do(line)
    left = [path for path in walled.store.rglob("*") if path.name not in ("containers", "names")]
    assert not left
    assert set((walled.base / "run").rglob("*.sock")) <= before


@ORDINARY
def test_a_cell_is_refused_by_a_short_card(walled: User) -> None:
    for answer in walled.call(cells, "%%container\ntrue", "%%container --in x\ntrue"):
        says_what_to_do(answer["card"])
        assert len(answer["card"].splitlines()) == 2


@ORDINARY
def test_doctor_explains_every_rung(walled: User) -> None:
    done = ours(walled, "doctor")
    assert done.returncode == 1
    assert done.stderr == ""
    for rung in ("root", "rootless", "rootless-single"):
        assert f"✗ {rung}" in done.stdout
    assert done.stdout.count("why not: ") == done.stdout.count("mend: ") == 3
    assert done.stdout.splitlines()[-1].startswith("No container can run here: isolate a container on this machine")
    assert ours(walled, "ps", "-a").returncode == 0
    assert ours(walled, "version").returncode == 0


# -- never weaker than asked -----------------------------------------------------------------------------------


def with_minimum(minimum: str, warm: bool) -> dict[str, Any]:
    """Run a container with a minimum, by a launcher that somebody else started for less where *warm*."""
    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError

    if warm:
        from_env().containers.run("host", ["true"], remove=True, network="none")
    engine = from_env(minimum_isolation=minimum)
    try:
        engine.containers.run("host", ["true"], remove=True, network="none")
    except ContainersError as error:
        report = engine.doctor()
        left = [container.name for container in from_env().containers.list(all=True)]
        return {"kind": type(error).__name__, "text": str(error), "rung": report["rung"], "left": left}
    return {"kind": "", "text": "", "rung": engine.runtime.rung, "left": []}


@pytest.mark.parametrize("warm", [False, True])
@ORDINARY
def test_nothing_weaker_than_the_minimum_is_used(as_user: User, warm: bool) -> None:
    engines.warm(as_user)
    user = as_user if warm else as_user.with_store("minimum")
    better = {"subids": "root", "nosubids": "rootless"}[user.kind]
    refused = user.call(with_minimum, better, warm)
    assert refused["kind"] == "IsolationUnavailable", refused
    assert f"isolate at least as {better}: this machine allows only {user.rung}" in refused["text"]
    assert "doctor" in refused["text"]
    assert (refused["rung"], refused["left"]) == ("", [])
    fine = user.call(with_minimum, user.rung, False)
    assert (fine["kind"], fine["rung"]) == ("", user.rung), fine
    if not warm:
        user.python("from jupyter_containers import from_env; from_env().runtime.quit()")


@ORDINARY
def test_a_minimum_that_is_no_rung_is_told(as_user: User) -> None:
    refused = as_user.with_store("typo").call(with_minimum, "rootles", False)
    assert refused["kind"] == "InvalidArgument", refused
    assert "there is no such rung. Write root, rootless, rootless-single" in refused["text"]
