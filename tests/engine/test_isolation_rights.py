"""ISOLATION A, what a process in a container may do: capabilities, seccomp, users and groups, terminals, settings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_isolation import PASSWD, PROBE, SUID, Box, Entry, root_tar

DOCKER_CAPABILITIES = 0xA80425FB  # the 14 of moby daemon/pkg/oci/caps


def _status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_a11_a_joining_process_shows_nothing(box: Box) -> None:
    """CVE-2016-9962: a watcher inside opens descriptors, program, memory and environment of every process that joins.

    It may see that there is one; each of its attempts on the runtime's process must fail.
    """
    with box.running(box.python(), *PROBE, "watch") as container:
        while "watching" not in box.logs(container):
            pass
        for _ in range(8):
            assert box.execute(container, "true").code == 0
        attempts = [line.split() for line in box.logs(container).splitlines() if line != "watching"]
    assert all(outcome != "ok" for _, outcome in attempts), attempts


def test_a11_the_init_of_ours_shows_nothing(box: Box) -> None:
    """With ``--init`` PID 1 is a process of the runtime for good: neither its memory nor its environment can be read."""
    found = box.probe("first", init=True)
    assert "kernel_runtime" in found.pop("cmdline")
    assert set(found.values()) <= {"EACCES", "EPERM"}, found


def _capabilities(status: dict[str, str]) -> dict[str, int]:
    return {name: int(value, 16) for name, value in status.items() if name.startswith("Cap")}


def _are_dockers(sets: dict[str, int]) -> bool:
    defaults = {sets[name] for name in ("CapBnd", "CapPrm", "CapEff")} == {DOCKER_CAPABILITIES}
    return defaults and sets["CapInh"] == sets["CapAmb"] == 0


def test_a12_capabilities_are_dockers_default(facts: dict[str, Any]) -> None:
    """CVE-2022-24769, 27649-27652, 29162: 14 capabilities, none inheritable, none ambient."""
    assert _are_dockers(_capabilities(facts["status"]))


def test_a12_a14_those_that_join_get_the_same(box: Box) -> None:
    """CVE-2022-29162, runc seccomp.bats: ``exec`` gets the same capabilities and the same filter."""
    with box.running(box.plain(), "sleep", "60") as container:
        status = _status(box.execute(container, "cat", "/proc/self/status").out)
    assert _are_dockers(_capabilities(status))
    assert (status["Seccomp"], status["Seccomp_filters"]) == ("2", "1")


@pytest.mark.parametrize("user", ["alice", "1000:1000"])
def test_a12_another_user_has_no_capability(box: Box, user: str) -> None:
    """As Docker: ``--user`` leaves the bounding set alone and empties the others."""
    status = _status(box.sh("cat /proc/self/status", user=user).out)
    assert status["Uid"].split() == ["1000"] * 4
    sets = _capabilities(status)
    assert sets.pop("CapBnd") == DOCKER_CAPABILITIES
    assert set(sets.values()) == {0}


@pytest.mark.parametrize(("added", "left"), [([], 0), (["CAP_CHOWN"], 1), (["CAP_NET_ADMIN"], 1 << 12)])
def test_a12_dropped_capabilities_are_gone(box: Box, added: list[str], left: int) -> None:
    """``--cap-drop ALL`` leaves what ``--cap-add`` names."""
    sets = _capabilities(_status(box.sh("cat /proc/self/status", cap_drop=["ALL"], cap_add=added).out))
    assert {sets[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {left}


@pytest.mark.parametrize("forbidden", [False, True])
def test_a13_no_new_privileges(box: Box, forbidden: bool) -> None:
    """Runc capabilities.bats: with ``no-new-privileges`` a set-uid program of the image gains nothing, without it does.

    rootless-single: the only id there is bears alice's number, so set-uid never gains anything.
    """
    options = ["no-new-privileges"] if forbidden else []
    code = (
        "import os; print(os.geteuid(), [l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNew')][0])"
    )
    done = box.run(box.python(), SUID, "-I", "-S", "-B", "-c", code, user="alice", security_opt=options)
    gains = not forbidden and box.rung != "rootless-single"
    assert done.out.split() == ["0" if gains else "1000", "1" if forbidden else "0"], done


def test_a14_dangerous_system_calls_are_denied(facts: dict[str, Any]) -> None:
    """Moby profiles/seccomp/default.json, amicontained, bubblewrap test-seccomp.py: EPERM, and ENOSYS for clone3."""
    assert facts["status"]["Seccomp"] == "2"
    calls = dict(next(iter(facts["calls"].values())))
    assert calls.pop("getppid") == "ok"
    assert calls.pop("clone3") == "ENOSYS"
    assert len(calls) > 40
    assert set(calls.values()) == {"EPERM"}, {name: value for name, value in calls.items() if value != "EPERM"}


def test_a15_the_filter_covers_the_other_numbers(facts: dict[str, Any]) -> None:
    """Crun test_seccomp.py: the i386 table by ``int 0x80`` and the x32 numbers are denied alike.

    Where this kernel has no such table the answer is ENOSYS from everything, or a signal; never success.
    """
    for name, found in list(facts["calls"].items())[1:]:
        calls = dict(found)
        works = calls.pop("getppid") == "ok"
        allowed = {"EPERM", "ENOSYS"} if works else {"EPERM", "ENOSYS", "died -11"}
        assert set(calls.values()) <= allowed, (name, calls)
        assert not works or calls["keyctl"] == calls["unshare user"] == calls["clone user"] == "EPERM"


def test_a16_it_has_a_session_of_its_own(facts: dict[str, Any]) -> None:
    """CVE-2017-5226: without ``-t`` there is no controlling terminal (/dev/tty: see A19)."""
    assert facts["processes"]["session"] == facts["processes"]["self"] == 1


def test_a16_nothing_is_typed_into_the_callers_terminal(box: Box) -> None:
    """CVE-2017-5226: a container on the caller's own terminal (``run`` without ``-t``) can't push bytes into it."""
    done = box.terminal("terminal")
    assert done["found"]["TIOCSTI"] in ("EIO", "EPERM", "ENOTTY"), done
    assert done["found"]["TIOCLINUX"] != "ok"
    assert done["found"]["TIOCSCTTY"] in ("EPERM", "EIO"), done
    assert done["waiting"] == 0


def test_a20_files_cannot_be_opened_by_handle(facts: dict[str, Any]) -> None:
    """CDK cap_dac_read_search.go ("shocker"): the call is denied, and CAP_DAC_READ_SEARCH not given."""
    for calls in facts["calls"].values():
        assert calls["open_by_handle_at"] in ("EPERM", "ENOSYS")
    assert not int(facts["status"]["CapBnd"], 16) >> 2 & 1


def test_a21_processes_of_the_host_are_out_of_reach(facts: dict[str, Any]) -> None:
    """CDK check_ptrace.go, bubblewrap test-run.sh: no host pid is seen, signalled, read or traced; /proc/1 is our own."""
    found = facts["processes"]
    assert found["pids"] == [found["self"]] == [1]
    assert found["parent of 1"] == "0"
    assert "probe_inside.py" in found["root of 1"]
    assert found["kill"]
    assert set(found["kill"]) == set(found["read memory"]) == {"ESRCH"}
    assert set(found["attach"]) <= {"ESRCH", "EPERM"}
    assert facts["namespaces"]["pid"] != os.readlink("/proc/self/ns/pid")


@pytest.mark.parametrize(("user", "more", "groups"), [
    ("root", [], "0"), ("alice", [], "50 1000"), ("1000", [], "50 1000"), ("alice:staff", [], "50"),
    ("2000", [], "0"), ("2000:3000", [], "3000"), ("alice", ["audio", "77"], "29 50 77 1000"),
])  # fmt: skip
def test_a26_supplementary_groups_are_the_images(box: Box, user: str, more: list[str], groups: str) -> None:
    """CVE-2023-25173, CVE-2022-2989, CVE-2022-36109: the user's first group and those of the image's /etc/group.

    rootless-single: a process without rights outside may not set groups at all (user_namespaces(7), "setgroups");
    it keeps its user's own, shown as 65534, which count only for files bound into the container. Here: none.
    """
    done = box.sh("cat /proc/self/status", user=user, group_add=more)
    wanted = [] if box.rung == "rootless-single" else groups.split()
    assert _status(done.out)["Groups"].split() == wanted, done


@pytest.mark.parametrize("user", [
    "-1", "4294967295", "4294967296", "99999999999999999999", "0x0", "1e3", "root:", "nobody-here", "٠", "²", "+0",
    "root:nobody-here", "1:nobody-here", "0:-1", " ", " 0", "root root", "a\nb", "..", "alice:4294967295", "%00",
])  # fmt: skip
def test_a27_odd_users_are_refused(box: Box, user: str) -> None:
    """Crun CVE-2026-30892, containerd CVE-2026-47262: no odd value of ``--user`` ends as root; the error names it."""
    done = box.sh("id -u", user=user)
    assert done.kind in ("InvalidArgument", "CannotStart"), done
    assert "look up" in done.text, done
    assert box.left() == []


def test_a27_a_number_is_an_id_and_never_a_name(box: Box) -> None:
    """CVE-2016-3697: the image's passwd has a user named 1001 with uid 0, its group file a group 1002 with gid 0."""
    assert b"\n1001:x:0:0:" in PASSWD
    assert box.sh("id -u; id -g", user="1001").lines == ["1001", "0"]
    done = box.sh("id -u; id -g", user="1001:1002")
    assert done.lines == ["1001", "1002"], done


@pytest.mark.parametrize(("name", "huge"), [
    ("long", b"x:x:" + b"9" * 5000 + b":0::/:\n" + b"a" * (8 << 20)), ("many", b"x:x:1:1::/:\n" * 700_000),
], ids=["long", "many"])  # fmt: skip
def test_a27_a_huge_passwd_is_bounded(box: Box, name: str, huge: bytes) -> None:
    """Containerd spec_opts_user_bounds_test.go: 8 MiB of passwd, numbers of 5000 digits, one endless line, many lines."""
    entries = [Entry(f"etc/{file}", huge, mode=0o644) for file in ("passwd", "group")]
    image = box.image(f"huge-{name}", root_tar(*entries))
    assert box.sh("id -u", image, user="alice").kind == "InvalidArgument"
    assert box.sh("grep -E '^[UG]id' /proc/self/status", image, user="7:8").out.split()[1::5] == ["7", "8"]
    if name == "long":
        assert box.sh("id -u", image, user="x").kind == "InvalidArgument"


HOST_SETTINGS = ["kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", "net/ipv4/../../kernel/core_pattern",
                 "fs.mqueue./../../kernel/core_pattern", "kernel/core_pattern", "/kernel/core_pattern", "net.", "kernel.hostname",
                 "fs.file-max", "user.max_user_namespaces", "kernel.sem/../core_pattern"]  # fmt: skip


@pytest.mark.parametrize("name", HOST_SETTINGS)
def test_a31_settings_of_the_host_are_refused(box: Box, name: str) -> None:
    """runtime-tools linux_sysctl, runc: only keys of the container's own namespaces, by whatever spelling."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    done = box.sh("echo started", sysctls={name: before.strip()})
    assert done.kind == "InvalidArgument", done
    assert name in done.text
    assert "namespaced" in done.text or "/" in name or name.endswith(".")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_a31_settings_of_its_own_namespaces_are_set(box: Box) -> None:
    """``--sysctl`` for net, ipc and mqueue; the host keeps its values."""
    before = Path("/proc/sys/kernel/shmmni").read_text()
    wanted = {"kernel.shmmni": "1234", "net.ipv4.ip_unprivileged_port_start": "42", "fs.mqueue.msg_max": "11"}
    paths = " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in wanted)
    done = box.sh(f"cat {paths}", sysctls=wanted)
    if box.rung != "root" and done.kind:  # an ipc setting of a namespace belongs to the host's root before Linux 5.18
        assert done.kind == "CannotStart"
        assert "set sysctl" in done.text
    else:
        assert done.lines == list(wanted.values()), done
    assert Path("/proc/sys/kernel/shmmni").read_text() == before
    assert box.sh("cat /proc/sys/net/ipv4/ip_forward", sysctls={"net.ipv4.ip_forward": "1"}).out == "1\n"


def test_a31_network_settings_need_a_network_of_ones_own(box: Box) -> None:
    """runc: ``net.*`` with ``--network host`` would be the host's."""
    path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    before = path.read_text()
    done = box.sh("echo started", sysctls={"net.ipv4.ip_unprivileged_port_start": before.strip()}, network="host")
    assert done.kind == "InvalidArgument"
    assert "network" in done.text
    assert path.read_text() == before


def test_a31_namespaces_are_its_own(facts: dict[str, Any]) -> None:
    """All but time (as Docker) are new."""
    host = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup")}
    assert not [name for name, value in host.items() if facts["namespaces"][name] == value]
    assert json.dumps(facts["namespaces"]).count("[") >= 8


def test_a31_the_user_namespace_is_the_rungs(box: Box, facts: dict[str, Any]) -> None:
    """root: the host's own; rootless: oneself and the subordinate ids; rootless-single: oneself."""
    lengths = facts["uid_map"][2::3]
    assert lengths[0] == (0xFFFFFFFF if box.rung == "root" else 1)
    assert len(lengths) == (2 if box.rung == "rootless" else 1)
