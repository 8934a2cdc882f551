"""The embedded image, described from machines made up for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_containers.image.host import Entry, HostImage, Machine, host_image, this_machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian-like machine with a system Python, beneath *tmp_path*."""
    for path in ("usr/bin", "usr/sbin", "usr/lib", "etc/ssh", "etc/ssl/private", "etc/jupyter", "opt", "var/lib/dpkg",
                 "var/lib/apt", "var/log", "home/me", "tmp", "srv"):  # fmt: skip
        (tmp_path / path).mkdir(parents=True)
    for path in ("etc/passwd", "etc/shadow", "etc/shadow-", "etc/ssh/ssh_config", "etc/ssh/ssh_host_rsa_key",
                 "etc/ssh/ssh_host_rsa_key.pub", "etc/jupyter/jupyter_server_config.json",
                 "usr/bin/python3.11"):  # fmt: skip
        (tmp_path / path).touch()
    for name in ("bin", "sbin", "lib"):
        (tmp_path / name).symlink_to(f"usr/{name}")
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    return Machine(uid=os.geteuid() + 1, privileged=True, mountinfo="", prefixes=("/usr",), home="/home/me",
                   executable="/usr/bin/python3", root=str(tmp_path))  # fmt: skip


def kinds(image: HostImage) -> dict[str, str]:
    return {entry.destination: entry.kind for entry in image.entries if entry.kind != "dir"}


def mounted(*rows: tuple[str, str]) -> str:
    return "".join(
        f"{n} 1 0:{n} / {path} rw,relatime shared:{n} - {kind} src rw\n" for n, (path, kind) in enumerate(rows)
    )


def make(machine: Machine, *paths: str) -> None:
    for path in paths:
        (Path(machine.root) / path.lstrip("/")).mkdir(parents=True, exist_ok=True)


def test_the_system_is_in_it_and_homes_are_not(machine: Machine) -> None:
    image = host_image(machine)
    assert kinds(image) == {
        "/usr": "overlay", "/bin": "symlink", "/sbin": "symlink", "/lib": "symlink", "/etc": "overlay",
        "/opt": "overlay", "/var/lib/dpkg": "overlay", "/var/lib/apt": "overlay", "/var/run": "symlink"}  # fmt: skip
    modes = {entry.destination: entry.mode for entry in image.entries if entry.kind == "dir"}
    assert (modes["/tmp"], modes["/root"], modes["/home"], modes["/var/log"]) == (0o1777, 0o700, 0o755, 0o755)  # noqa: S108 - a name, no file
    assert Entry("usr/bin", "/bin", "symlink") in image.entries
    assert "/srv" in modes
    assert not [path for path in kinds(image) if path.startswith(("/home", "/tmp", "/srv"))]  # noqa: S108 - a name, no file


def test_credentials_are_masked_and_nothing_else(machine: Machine) -> None:
    assert host_image(machine).masks == (
        "/etc/jupyter/jupyter_server_config.json", "/etc/shadow", "/etc/shadow-", "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssl/private")  # fmt: skip


def test_parents_come_before_children(machine: Machine) -> None:
    make(machine, "/home/me/env/bin", "/data/opt/python", "/usr/local/big")
    text = mounted(("/usr/local/big", "ext4"))
    image = host_image(replace(machine, prefixes=("/home/me/env", "/data/opt/python"), mountinfo=text))
    order = [entry.destination for entry in image.entries]
    for at, path in enumerate(order):
        for parent in Path(path).parents:
            assert str(parent) == "/" or str(parent) in order[:at] or str(parent) not in order


def test_others_directories_are_read_only_without_privilege(machine: Machine) -> None:
    make(machine, "/home/me/env/bin")
    mine = replace(machine, privileged=False, uid=os.geteuid(), prefixes=("/home/me/env",))
    assert kinds(host_image(mine))["/home/me/env"] == "overlay"
    others = replace(mine, uid=os.geteuid() + 1)
    assert set(kinds(host_image(others)).values()) == {"readonly", "symlink"}


def test_a_virtual_environment_in_the_home_brings_only_itself(machine: Machine) -> None:
    make(machine, "/home/me/work/env/bin", "/home/me/.ssh")
    image = host_image(replace(machine, prefixes=("/home/me/work/env", "/usr"), virtual_env="/home/me/work/env",
                               executable="/home/me/work/env/bin/python"))  # fmt: skip
    at_home = {entry.destination: entry.kind for entry in image.entries if entry.destination.startswith("/home/")}
    assert at_home == {"/home/me": "dir", "/home/me/work": "dir", "/home/me/work/env": "overlay"}
    assert image.config["Env"] == [
        "PATH=/home/me/work/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "VIRTUAL_ENV=/home/me/work/env"]  # fmt: skip
    assert image.config["Cmd"] == ["/home/me/work/env/bin/python"]


def test_an_executable_behind_links_outside_its_prefix(machine: Machine) -> None:
    """venv/bin/python -> ~/.local/bin/python -> ~/.pyenv/versions/3.11/bin/python3.11."""
    root = Path(machine.root)
    make(machine, "/home/me/env/bin", "/home/me/.local/bin", "/home/me/.pyenv/versions/3.11/bin")
    (root / "home/me/.pyenv/versions/3.11/bin/python3.11").touch()
    (root / "home/me/env/bin/python").symlink_to("/home/me/.local/bin/python")
    (root / "home/me/.local/bin/python").symlink_to("../../.pyenv/versions/3.11/bin/python3.11")
    image = host_image(replace(machine, prefixes=("/home/me/env", "/home/me/.pyenv/versions/3.11"),
                               executable="/home/me/env/bin/python"))  # fmt: skip
    assert kinds(image)["/home/me/.local/bin/python"] == "symlink"
    assert kinds(image)["/home/me/.pyenv/versions/3.11"] == "overlay"
    alone = host_image(replace(machine, prefixes=("/home/me/env",), executable="/home/me/env/bin/python"))
    assert kinds(alone)["/home/me/.pyenv/versions/3.11/bin/python3.11"] == "readonly"


def test_an_environment_that_is_the_home_itself_brings_only_pythons_part(machine: Machine) -> None:
    make(machine, "/home/me/bin", "/home/me/lib", "/home/me/Documents")
    (Path(machine.root) / "home/me/pyvenv.cfg").touch()
    found = kinds(host_image(replace(machine, prefixes=("/home/me",))))
    assert {path: kind for path, kind in found.items() if path.startswith("/home")} == {
        "/home/me/bin": "overlay", "/home/me/lib": "overlay", "/home/me/pyvenv.cfg": "readonly"}  # fmt: skip


def test_packages_of_pip_install_user(machine: Machine) -> None:
    make(machine, "/home/me/.local/lib/python3.11/site-packages", "/home/me/.local/share/keyrings")
    image = host_image(replace(machine, user_base="/home/me/.local"))
    assert kinds(image)["/home/me/.local/lib"] == "overlay"
    assert "PYTHONUSERBASE=/home/me/.local" in image.config["Env"]
    assert not [path for path in kinds(image) if "keyrings" in path]


def test_separate_mounts_are_entries_of_their_own(machine: Machine) -> None:
    make(machine, "/usr/local/big", "/opt/proc", "/opt/secret", "/mnt/disk", "/opt/with space")
    text = mounted(("/", "ext4"), ("/usr/local/big", "xfs"), ("/opt/proc", "proc"), ("/opt/secret", "tmpfs"),
                   ("/mnt/disk", "ext4"), ("/etc/passwd", "ext4"), ("/opt/with\\040space", "ext4"),
                   ("/etc/resolv.conf", "ext4"))  # fmt: skip
    image = host_image(replace(machine, mountinfo=text))
    found = kinds(image)
    assert (found["/usr/local/big"], found["/etc/passwd"], found["/opt/with space"]) == (
        "overlay",
        "readonly",
        "overlay",
    )
    assert not {"/opt/proc", "/mnt/disk", "/etc/resolv.conf", "/opt/secret"} & set(found)
    assert "/opt/secret" in image.masks
    without = kinds(host_image(replace(machine, mountinfo=text, privileged=False, uid=os.geteuid())))
    assert (without["/usr"], without["/usr/local/big"], without["/etc"]) == ("readonly", "overlay", "readonly")


def test_a_home_within_the_system_is_hidden_but_for_python(machine: Machine) -> None:
    make(machine, "/opt/people/me/env/bin", "/opt/people/me/.ssh")
    image = host_image(replace(machine, home="/opt/people/me", prefixes=("/opt/people/me/env",)))
    assert "/opt/people/me" in image.masks
    assert kinds(image)["/opt/people/me/env"] == "overlay"


def test_private_directories_are_hidden_where_they_would_show(machine: Machine) -> None:
    make(machine, "/opt/store", "/opt/env/share/jupyter/runtime")
    private = ("/opt/store", "/opt/env/share/jupyter/runtime", "/home/me/.local/share/jupyter/runtime")
    assert set(private[:2]) <= set(host_image(replace(machine, private=private)).masks)
    assert private[2] not in host_image(replace(machine, private=private)).masks


def test_this_machines_image_is_complete_and_described_the_same_each_time() -> None:
    for privileged in (True, False):
        image, again = (host_image(this_machine(privileged, ("/var/lib/store",))) for _ in range(2))
        assert image == again
        assert image.id.startswith("sha256:")
        shown = {entry.destination for entry in image.entries}
        assert {"/usr", "/etc", "/tmp", "/proc"} <= shown  # noqa: S108 - a name, no file
        assert Path.home().as_posix() not in {entry.source for entry in image.entries}
        assert image.inspect()["RepoTags"] == ["host:latest"]
        assert image.config["Cmd"][0]
    assert "/etc/shadow" in image.masks
