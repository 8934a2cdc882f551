"""ISOLATION A, images and options made to break out: the host stays untouched, the error is one clear sentence."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.engine import inside
from tests.rigs import engines
from tests.rigs.users import User

BUSYBOX = engines.BUSYBOX
SHELL = ["/bin/sh", "-c"]


@pytest.fixture
def user(as_user: User) -> User:
    """With the launcher running and ``busybox:test`` in the store."""
    engines.warm(as_user)
    return as_user


def run(as_whom: User, image: str, command: list[str], /, **options: Any) -> inside.Result:
    found: inside.Result = as_whom.call(inside.run, image, command, options)
    return found


def image(user: User, name: str, links: dict[str, str] | None = None, files: dict[str, str] | None = None,
          config: list[str] | None = None) -> str:  # fmt: skip
    user.call(inside.make_image, name, links or {}, files or {}, config or [])
    return f"{name}:test"


@pytest.mark.parametrize("path", ["dev/null", "dev/zero"])
def test_a03_a_link_in_place_of_a_device_masks_nothing_of_the_host(user: User, path: str) -> None:
    """CVE-2025-31133: masks are bound from the host's own /dev/null, before the image can name anything."""
    evil = image(user, f"evil-{path.replace('/', '-')}", {path: "/etc/hostname"})
    result = run(user, evil, [*SHELL, "cat /proc/kcore /proc/timer_list | wc -c; ls -l /dev/null"])
    assert result["code"] == 0
    assert result["stdout"].startswith("0\n")
    assert "crw-rw-rw-" in result["stdout"]


@pytest.mark.parametrize("folder", ["proc", "sys", "dev"])
def test_a04_a06_a_link_in_place_of_a_system_folder_is_refused(user: User, folder: str) -> None:
    """CVE-2019-19921, CVE-2026-41579."""
    result = run(user, image(user, f"evil-{folder}", {folder: "/tmp"}), ["true"])
    assert f"/{folder}" in result["error"]
    assert user.call(inside.containers) == []


def test_a05_the_console_is_the_terminal_itself(user: User) -> None:
    """CVE-2025-52565: /dev/console of the image leads nowhere."""
    evil = image(user, "evil-console", {"dev/console": "/etc/passwd"})
    result = run(user, evil, [*SHELL, "ls -l /dev/console 2>&1"], tty=True)
    assert "passwd" not in result["stdout"]


@pytest.mark.parametrize("path", ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/9"])
def test_a08_no_working_directory_leads_outside(user: User, path: str) -> None:
    """CVE-2024-21626."""
    result = run(user, BUSYBOX, [*SHELL, "pwd; ls ../../.."], workdir=path)
    assert result["code"] != 0 or "home" not in result["stdout"]


def test_a10_the_runtimes_program_is_out_of_reach(user: User) -> None:
    """CVE-2019-5736: ``#!/proc/self/exe`` re-executes us inside; our program is mounted read-only."""
    evil = image(user, "evil-exe", files={"bin/evil": "#!/proc/self/exe\n"})
    before = os.stat(os.path.realpath("/proc/self/exe")).st_mtime_ns
    result = run(user, evil, ["/bin/evil"])
    assert result["code"] != 0
    assert os.stat(os.path.realpath("/proc/self/exe")).st_mtime_ns == before


def test_a11_a_joining_process_shows_nothing_of_ours(user: User) -> None:
    """CVE-2016-9962: exec is undumpable until it is the program."""
    assert "home" not in user.call(_exec_and_look)


def _exec_and_look() -> str:
    from jupyter_containers import from_env

    spy = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || ls $p/root/ $p/fd 2>/dev/null; done; done"
    container = from_env().containers.run(BUSYBOX, ["/bin/sh", "-c", spy], detach=True, network="none")
    assert not isinstance(container, bytes)
    try:
        for _ in range(20):
            container.exec_run(["true"])
        logged = container.logs()
        assert isinstance(logged, bytes)
        return logged.decode()
    finally:
        container.remove(force=True)


def test_a13_no_new_privileges(user: User) -> None:
    show = [*SHELL, "grep NoNewPrivs /proc/self/status"]
    assert "\t1" in run(user, BUSYBOX, show, security_opt=["no-new-privileges"])["stdout"]
    assert "\t0" in run(user, BUSYBOX, show)["stdout"]


def test_a12_capabilities_can_be_dropped_and_added(user: User) -> None:
    show = [*SHELL, "grep CapEff /proc/self/status"]
    assert "0000000000000000" in run(user, BUSYBOX, show, cap_drop=["ALL"])["stdout"]
    only = run(user, BUSYBOX, show, cap_drop=["ALL"], cap_add=["CAP_NET_ADMIN"])
    assert "0000000000001000" in only["stdout"]


def test_a12_another_user_than_root_has_none(user: User) -> None:
    result = run(user, BUSYBOX, [*SHELL, "id -u; grep CapEff /proc/self/status"], user="1000:1000")
    assert result["stdout"].startswith("1000\n")
    assert "0000000000000000" in result["stdout"]


def test_a20_open_by_handle_is_denied_even_with_the_capability_missing(user: User) -> None:
    """The "shocker": CAP_DAC_READ_SEARCH is not among the fourteen, and the filter denies the call."""
    result = run(user, BUSYBOX, [*SHELL, "grep CapBnd /proc/self/status"])
    assert not int(result["stdout"].split()[1], 16) & 1 << 2


@pytest.mark.parametrize(
    "who", ["nobody-knows", "0x0", "-1", "4294967295", "99999999999", "root:", "1:nogroup-here", " 0"]
)
def test_a27_odd_users_are_refused(user: User, who: str) -> None:
    """Crun CVE-2026-30892: nothing odd falls back to root."""
    result = run(user, BUSYBOX, ["id"], user=who)
    assert result["error"], result
    assert user.call(inside.containers) == []


def test_a27_a_huge_passwd_is_bounded(user: User) -> None:
    """CVE-2026-47262."""
    evil = image(user, "evil-huge", files={"etc/passwd": "x:x:1:1::/:\n" * 700_000})
    result = run(user, evil, ["id", "-u"], user="0")
    assert result["code"] == 0


def test_a28_a_passwd_that_is_a_link_reads_nothing_of_the_host(user: User) -> None:
    """CVE-2024-9676: looked up inside the root, where the link ends."""
    evil = image(user, "evil-passwd", {"etc/passwd": "/../../../etc/passwd"})
    assert "look up user" in run(user, evil, ["id"], user="daemon")["error"]


@pytest.mark.parametrize("setting", ["kernel.core_pattern", "vm.swappiness", "kernel.hostname"])
def test_a31_settings_of_the_host_are_refused(user: User, setting: str) -> None:
    result = run(user, BUSYBOX, ["true"], sysctls={setting: "1"})
    assert setting in result["error"]
    assert "namespaced" in result["error"]


def test_a31_namespaced_settings_work(user: User) -> None:
    result = run(user, BUSYBOX, ["cat", "/proc/sys/net/ipv4/ip_forward"], sysctls={"net.ipv4.ip_forward": "1"})
    assert result["stdout"] == "1\n", result


def test_a31_network_settings_need_a_network_of_its_own(user: User) -> None:
    result = run(user, BUSYBOX, ["true"], sysctls={"net.ipv4.ip_forward": "1"}, network="host")
    assert "network" in result["error"]


def test_a32_a_read_only_root_really_is(user: User) -> None:
    script = "touch /x /etc/x /bin/x /proc/sys/x 2>&1; touch /tmp/y && echo tmp; touch /dev/shm/z && echo shm"
    tmp = [{"type": "tmpfs", "source": "", "target": "/tmp"}]
    result = run(user, BUSYBOX, [*SHELL, script], read_only=True, volumes=tmp)
    assert result["stdout"].count("Read-only file system") >= 3, result
    assert "tmp\nshm\n" in result["stdout"]


def test_a07_attributes_of_processes_can_not_be_redirected(user: User) -> None:
    """CVE-2019-19921, CVE-2025-52881: a tmpfs over /proc of the image is not ours; ours is checked to be no link."""
    evil = image(user, "evil-attr", {"proc": "/dev/shm"})
    assert run(user, evil, ["true"])["error"]


def test_a85_a_mount_destination_never_leads_outside(user: User) -> None:
    """CVE-2021-30465: links of the image are followed inside the root only."""
    target = str(user.base / "victim")
    user.call(inside.victim, f"{target}/file")
    evil = image(user, "evil-target", {"mnt": target})
    source = user.call(inside.victim, str(user.base / "source" / "data"))
    volume = [{"type": "bind", "source": os.path.dirname(source), "target": "/mnt"}]
    result = run(user, evil, [*SHELL, "cat /mnt/data; echo bad > /mnt/file"], volumes=volume)
    assert "untouched" in result["stdout"]
    assert (user.base / "victim" / "file").read_text() == "untouched"


def test_a22_bind_mounts_are_private(user: User) -> None:
    source = user.call(inside.victim, str(user.base / "shared" / "data"))
    volume = [{"type": "bind", "source": os.path.dirname(source), "target": "/data", "read_only": True}]
    result = run(user, BUSYBOX, [*SHELL, "echo x > /data/data; grep /data /proc/self/mountinfo"], volumes=volume)
    assert "shared:" not in result["stdout"]
    assert "Read-only" in result["stderr"]


def test_the_default_network_leads_outside_but_not_to_the_host(user: User) -> None:
    """A30: no way to the host's loopback, none to a cloud's metadata service."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            f"ip route; nc -w 2 127.0.0.1 {port} </dev/null && echo loopback; "
            f"nc -w 2 10.88.0.1 {port} </dev/null && echo gateway; nc -w 2 169.254.169.254 80 </dev/null && echo metadata"
        )
        result = run(user, BUSYBOX, [*SHELL, script], network="default")
    assert "default via 10.88.0.1" in result["stdout"], result
    assert not {"loopback", "gateway", "metadata"} & set(result["stdout"].split())
