"""Capabilities: names, Docker's arithmetic of add and drop, and the real sets of a forked child."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_runtime import capabilities, syscalls
from kernel_runtime.errors import SetupError, SpecError

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("JC_MUST_WORK"), reason="needs root")
HEADER = Path("/usr/include/linux/capability.h")


def in_child(work: Callable[[], Any]) -> Any:
    """What *work* returned in a forked child, through JSON; its exception's text where it raised."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 - the child must always answer and never return
            answer = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(data)


def status() -> dict[str, int]:
    text = Path("/proc/self/status").read_text()
    return {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s*(\w+)$", text, re.M)}


def test_there_are_41_capabilities_and_docker_leaves_14() -> None:
    assert len(capabilities.NAMES) == len(capabilities.NUMBERS) == 41
    assert len(set(capabilities.DEFAULT)) == 14
    assert capabilities.parse(capabilities.DEFAULT) == 0xA80425FB  # what /proc/1/status shows in a Docker container


@pytest.mark.skipif(not HEADER.exists(), reason="needs the kernel's headers")
def test_numbers_are_the_kernels() -> None:
    defined = re.findall(r"^#define (CAP_\w+)\s+(\d+)\b", HEADER.read_text(), re.M)
    assert {name: int(number) for name, number in defined} == capabilities.NUMBERS


@pytest.mark.parametrize("name", ["CAP_NET_ADMIN", "net_admin", "Net_Admin", "cap_net_admin"])
def test_a_name_is_known_in_every_spelling(name: str) -> None:
    assert capabilities.parse([name]) == 1 << 12


def test_names_and_masks_are_inverse() -> None:
    assert capabilities.names_of(capabilities.parse(capabilities.NAMES)) == capabilities.NAMES
    assert capabilities.names_of(1 << 45) == ("CAP_45",)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("NET_ADMN", "CAP_NET_ADMIN"), ("sys_admin_", "CAP_SYS_ADMIN"), ("ALLL", "ALL")]
)
def test_a_wrong_name_is_an_error_with_a_suggestion(wrong: str, meant: str) -> None:
    with pytest.raises(SpecError, match=rf"{wrong}.*Did you mean {meant}\?"):
        capabilities.parse([wrong])


def test_a_name_like_no_other_points_to_the_manual() -> None:
    with pytest.raises(SpecError, match=r"capabilities\(7\)"):
        capabilities.with_changes(add=["xyzzy"])


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(capabilities.DEFAULT)),
        (("net_admin",), (), {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        ((), ("CHOWN", "CAP_KILL"), set(capabilities.DEFAULT) - {"CAP_CHOWN", "CAP_KILL"}),
        (("ALL",), ("mknod",), set(capabilities.NAMES) - {"CAP_MKNOD"}),
        (("all",), ("ALL",), set(capabilities.NAMES)),
        (("CHOWN",), ("all",), {"CAP_CHOWN"}),
        ((), ("ALL",), set()),
        (("chown",), ("chown",), set(capabilities.DEFAULT)),
    ],
)
def test_add_and_drop_follow_docker(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    changed = capabilities.with_changes(add, drop)
    assert set(changed) == expected
    assert list(changed) == sorted(changed, key=capabilities.NUMBERS.__getitem__)


@needs_root
def test_the_bounding_set_keeps_only_what_is_named() -> None:
    def work() -> dict[str, int]:
        capabilities.drop_bounding(capabilities.DEFAULT)
        return status()

    assert in_child(work)["CapBnd"] == capabilities.parse(capabilities.DEFAULT)


@needs_root
def test_inheritable_and_ambient_are_set_and_dropping_clears_ambient() -> None:
    def work() -> list[dict[str, int]]:
        permitted = capabilities.parse(["CHOWN", "KILL", "SETPCAP"])
        capabilities.set_inheritable_and_ambient(permitted, ["CHOWN", "KILL"], ["KILL"])
        first = status()
        capabilities.drop_bounding(["CHOWN"])
        return [first, status()]

    first, second = in_child(work)
    assert first["CapPrm"] == first["CapEff"] == 1 << 0 | 1 << 5 | 1 << 8
    assert (first["CapInh"], first["CapAmb"]) == (1 << 0 | 1 << 5, 1 << 5)
    assert (second["CapBnd"], second["CapAmb"]) == (1 << 0, 0)


@needs_root
def test_available_is_what_is_permitted_and_bounded() -> None:
    def work() -> int:
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, 0)
        return capabilities.available()

    state = status()
    assert in_child(work) == state["CapPrm"] & state["CapBnd"] & ~1


@needs_root
def test_asking_for_what_is_not_held_names_it_and_the_mend() -> None:
    def work() -> None:
        syscalls.capset(1, 1, 0)
        capabilities.set_inheritable_and_ambient(capabilities.parse(["CHOWN", "SYS_ADMIN"]), [], [])

    answer = in_child(work)
    assert answer.startswith(SetupError.__name__)
    assert "CAP_SYS_ADMIN" in answer and "CHOWN" not in answer and "--cap-drop" in answer


@needs_root
def test_without_setpcap_the_failure_names_the_capability() -> None:
    def work() -> None:
        syscalls.capset(0, 0, 0)
        capabilities.drop_bounding([])

    assert "drop capability from the bounding set CAP_CHOWN" in in_child(work)
