"""ISOLATION A, what a container's own process finds: one probe per kind of user, one test per check."""

from __future__ import annotations

import pytest

from tests.engine import inside
from tests.rigs import engines
from tests.rigs.users import CHECKOUT, User

DENIED = {"EPERM", "EACCES", "ENOSYS", "EROFS"}
DOCKER_CAPABILITIES = 0xA80425FB
_FOUND: dict[str, inside.Result] = {}


@pytest.fixture
def found(as_user: User) -> inside.Result:
    """What the probe found as this user; it runs once."""
    if as_user.kind not in _FOUND:
        engines.warm(as_user)
        source = (CHECKOUT / "tests/engine/probe.py").read_text()
        _FOUND[as_user.kind] = as_user.call(inside.probe, source)
    return _FOUND[as_user.kind]


def test_a01_what_tells_of_the_host_is_masked(found: inside.Result) -> None:
    """Moby oci/defaults.go; GHSA-6fw5-f8r9-fgfm: empty, denied or not there."""
    assert all(value in ("", [], "ENOENT", "EACCES", "EPERM") for value in found["masked"].values()), found["masked"]


def test_a02_kernel_settings_are_read_only(found: inside.Result) -> None:
    assert set(found["readonly"].values()) <= DENIED | {"ENOENT"}, found["readonly"]


def test_a09_only_the_standard_streams_are_open(found: inside.Result) -> None:
    """Runc create.bats "detect fd leak"; one more is the listing's own."""
    assert {number for number in found["descriptors"] if int(number) > 2} <= {"3"}, found["descriptors"]
    assert found["descriptors"]["0"] == "/dev/null"


def test_a10_the_programs_own_file_can_not_be_written(found: inside.Result) -> None:
    """CVE-2019-5736; here the program is the host's Python, seen through the ``host`` image."""
    assert found["exe_write"] in DENIED | {"ETXTBSY"}


def test_a12_the_capabilities_are_dockers(found: inside.Result) -> None:
    status = {name: int(found["status"][name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == DOCKER_CAPABILITIES
    assert status["CapInh"] == status["CapAmb"] == 0


def test_a14_dangerous_system_calls_are_denied(found: inside.Result) -> None:
    calls = {name: answer for name, answer in found["syscalls"].items() if name != "x32_getpid"}
    assert set(calls.values()) <= DENIED, calls
    assert calls["clone3"] == "ENOSYS"  # so that glibc falls back to clone, whose flags can be looked at
    assert found["syscalls"]["keyctl"] == "EPERM"
    assert found["unshare_user"] in DENIED
    assert found["clone_user"] in DENIED
    assert found["status"]["Seccomp"] == "2"


def test_a15_the_filter_covers_the_x32_numbers(found: inside.Result) -> None:
    assert found["syscalls"]["x32_getpid"] in DENIED | {"0"} or found["syscalls"]["x32_getpid"].startswith("killed")


def test_a16_nothing_can_be_typed_into_the_callers_terminal(found: inside.Result) -> None:
    """CVE-2017-5226: a session of its own, without a terminal."""
    assert found["tiocsti"] != "0"
    assert found["session"] == found["pid"] == 1


def test_a17_a18_cgroups_are_read_only(found: inside.Result) -> None:
    """CVE-2022-0492, CVE-2023-25809."""
    assert found["cgroup_write"] in DENIED | {"ENOENT"}
    assert set(found["cgroup_release"]) <= DENIED


def test_a19_a_block_device_that_it_makes_can_not_be_opened(found: inside.Result) -> None:
    """Everything is mounted nodev; where ownership is emulated, mknod does nothing."""
    assert found["device"] in DENIED | {"ENOENT"}


def test_a21_the_hosts_processes_are_not_there(found: inside.Result) -> None:
    assert found["pids"] == ["1"]
    assert found["kill"] in {"ESRCH", "EPERM"}
    assert found["ptrace"] in DENIED | {"ENOENT"}
    assert found["root_of_1"] == []


def test_a22_no_mount_is_shared_with_the_host(found: inside.Result) -> None:
    assert not [line for line in found["mounts"] if " shared:" in line]


def test_a23_abstract_sockets_of_the_host_are_out_of_reach(found: inside.Result) -> None:
    """CVE-2020-15257."""
    assert found["abstract"] == 0


def test_a24_a25_neither_sockets_nor_environment_of_the_host(found: inside.Result) -> None:
    assert not found["sockets"]
    assert not {"JUPYTER_TOKEN", "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST"} & set(found["environ"])


def test_a26_supplementary_groups_are_the_images(found: inside.Result, as_user: User) -> None:
    """On one id the kernel keeps the caller's own group, which setgroups may not drop there."""
    assert found["groups"] in ([], [0])


def test_a29_network_families_are_limited_and_the_network_is_its_own(found: inside.Result) -> None:
    assert found["af_alg"] in DENIED | {"EAFNOSUPPORT", "EINVAL"}
    assert found["af_vsock"] in DENIED | {"EAFNOSUPPORT", "EINVAL"}
    assert found["interfaces"] == ["lo"]


def test_the_user_namespace_is_the_rungs(found: inside.Result, as_user: User) -> None:
    rows = [found["uid_map"][start : start + 3] for start in range(0, len(found["uid_map"]), 3)]
    expected = {"root": "4294967295", "rootless": "1", "rootless-single": "1"}[as_user.rung]
    assert rows[0][2] == expected
    assert len(rows) == (2 if as_user.rung == "rootless" else 1)
