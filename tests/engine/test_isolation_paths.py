"""ISOLATION A, images and mounts whose paths lead elsewhere: links in place of devices, folders and passwd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_isolation import Box, Entry, root_tar
from tests.rigs import users

SECRET = "evil:x:0:0:host-secret:/:/bin/sh\n"


@pytest.fixture
def victim(box: Box) -> Iterator[Path]:
    """A folder of the host's with a file, both the person's own; unchanged afterwards."""
    folder = box.own("victim")
    box.own("victim/file", SECRET.encode())
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == SECRET


def test_a03_a_linked_dev_null_masks_nothing_else(box: Box, victim: Path) -> None:
    """Runc CVE-2025-31133: masks are binds of the host's own /dev/null, never of a link in the image.

    Once with Docker's mounts, once with a config.json without a /dev, where the image's own link is in place.
    """
    evil = [Entry("dev/null", link="/proc/sys/kernel/core_pattern"), Entry("dev/zero", link=str(victim / "file"))]
    image = box.image("linked-null", root_tar(*evil))
    look = ("sh", "-c", "readlink /dev/null; wc -c < /proc/interrupts; wc -c < /proc/keys; ls -l /proc/interrupts")
    done = box.run(image, *look)
    assert done.lines[:2] == ["0", "0"], done
    without = ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]
    done = box.bundle({"without": without}, *look, image=image)
    assert done.lines[:3] == ["/proc/sys/kernel/core_pattern", "0", "0"], done
    assert " 1,   3 " in done.lines[3], done


def test_a05_the_console_is_bound_from_its_descriptor(box: Box, victim: Path) -> None:
    """Runc CVE-2025-52565: /dev/console is the pty itself; a link in its place is refused, not followed."""
    image = box.image("linked-console", root_tar(Entry("dev/console", link=str(victim / "file")), Entry("dev/pts")))
    with box.running(image, "sh", "-c", "tty; stat -c %t:%F /dev/console; sleep 60", tty=True) as container:
        while "character" not in box.logs(container):
            pass
        terminal, console = box.logs(container).split("\r\n")[:2]
    assert terminal.startswith(("/dev/pts/", "/dev/console"))
    assert console == "88:character special file"  # 0x88: Unix98 ptys
    without = {"without": ["/dev", "/dev/shm", "/dev/mqueue"]}
    done = box.bundle(without, "sh", "-c", "echo started", image=image, tty=True)
    assert done.kind in ("CannotStart", "InvalidArgument"), done


@pytest.mark.parametrize("folder", ["dev", "proc", "sys"])
@pytest.mark.parametrize("way", ["absolute", "relative", "chain", "inside"])
def test_a04_a06_a_linked_system_folder_is_refused(box: Box, victim: Path, folder: str, way: str) -> None:
    """Runc CVE-2026-41579, CVE-2019-19921, crun CVE-2026-47766, mask.bats: such an image does not start.

    Nothing is written where the link leads, nothing of the container is left.
    """
    targets = {"absolute": str(victim), "relative": f"../../../../../..{victim}", "chain": "/hop", "inside": "/tmp"}
    entries = [Entry(folder, link=targets[way])] + ([Entry("hop", link=str(victim))] if way == "chain" else [])
    done = box.sh("echo started", box.image(f"linked-{folder}-{way}", root_tar(*entries, without=(folder,))))
    assert done.kind in ("CannotStart", "InvalidArgument"), done
    assert f"/{folder}" in done.text
    assert "symbolic link" in done.text
    assert box.left() == []


@pytest.mark.parametrize("number", range(3, 11))
def test_a08_no_working_directory_leads_outside(box: Box, number: int) -> None:
    """Runc CVE-2024-21626: WORKDIR /proc/self/fd/N is refused or a folder of the container, and never made outside."""
    for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../jc-evil"):
        done = box.sh("pwd; ls -d ../../../../../../../../probe-me 2>&1; touch x && ls x", workdir=path)
        if done.kind:
            assert done.kind in ("CannotStart", "InvalidArgument"), done
            assert path in done.text
        else:
            assert done.lines[0].startswith("/"), done  # not (unreachable)
            assert "No such file" in done.lines[1], done
    places = [box.folder, Path("/sys/fs/cgroup"), Path("/"), Path("/dev")]
    found = [str(path) for place in places for path in (place / "jc-evil", *place.glob("*/jc-evil")) if path.exists()]
    assert not found


def test_a08_a_linked_working_directory_stays_inside(box: Box, victim: Path) -> None:
    """Runc cwd.bats, CVE-2026-55686: a link in WORKDIR's place is a path inside, made there where missing."""
    image = box.image("linked-work", root_tar(Entry("work", link=str(victim)), Entry("fd", link="/proc/self/fd")))
    for path in ("/work", "/work/sub", "/fd/3", "/fd/4/../x"):
        done = box.sh("pwd && ls", image, workdir=path)
        assert "file" not in done.out.split(), done
        assert "host-secret" not in done.out


def test_a85_a_mount_destination_stays_inside(box: Box, victim: Path) -> None:
    """CVE-2021-30465: a link in the destination's place is followed inside the root only."""
    image = box.image("linked-mnt", root_tar(Entry("mnt", link=str(victim))))
    box.own("source"), box.own("source/data", b"untouched")
    volume = {"type": "bind", "source": str(box.folder / "source"), "target": "/mnt"}
    done = box.sh("cat /mnt/data; echo bad > /mnt/file", image, volumes=[volume])
    assert done.out == "untouched", done


def test_a22_a_read_only_bind_is_read_only(box: Box, victim: Path) -> None:
    """Its owner inside can neither write nor remount; the fixture sees the file unchanged."""
    volume = {"type": "bind", "source": str(victim), "target": "/data", "read_only": True}
    done = box.sh("echo x > /data/file; mount -o remount,rw /data; echo x > /data/file", volumes=[volume])
    assert done.err.count("Read-only") >= 2, done


@pytest.mark.parametrize("admin", [False, True])
def test_a22_a_mount_inside_is_not_seen_outside(box: Box, victim: Path, admin: bool) -> None:
    """Runc mounts_propagation.bats, host-mntns.bats: not even with CAP_SYS_ADMIN and no filter does one leave."""
    before = Path("/proc/self/mountinfo").read_text()
    options: dict[str, Any] = {"volumes": [{"type": "bind", "source": str(victim), "target": "/data"}]}
    if admin:
        options |= {"cap_add": ["CAP_SYS_ADMIN"], "security_opt": ["seccomp=unconfined"]}
    script = "mount -t tmpfs jc-evil /data && touch /data/evil && echo mounted; mount -t tmpfs jc-evil /tmp; cat /proc/self/mountinfo"
    done = box.sh(script, **options)
    assert ("mounted" in done.lines) is admin, done
    assert Path("/proc/self/mountinfo").read_text() == before
    assert "shared:" not in "".join(line for line in done.lines if " / / " in line)


def test_a22_a_mount_of_the_host_arrives_only_where_asked(box: Box) -> None:
    """runtime-tools linux_rootfs_propagation: ``rslave`` sees a later mount of the host, ``rprivate`` does not.

    An ordinary user can't mount on the host: on the other rungs ``rslave`` and ``rprivate`` must only share nothing.
    """
    if box.rung != "root":
        for kind in ("rslave", "rprivate"):
            volume = {"type": "bind", "source": "/usr", "target": "/data", "options": [kind]}
            line = box.sh("grep ' /data ' /proc/self/mountinfo", volumes=[volume]).out
            assert " /data " in line
            assert "shared:" not in line
        return
    folder = box.own("shared")
    subprocess.run(["mount", "-t", "tmpfs", "jc-isolation", str(folder)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(folder)], check=True)
        with Box(users.make(box.user.kind, box.folder / "late")) as late:  # its launcher's mounts are copied now
            assert _seen_of_a_later_mount(late, folder) == ["new", ":", "end"]
    finally:
        subprocess.run(["umount", "-R", "-l", str(folder)], check=True)


def _seen_of_a_later_mount(late: Box, folder: Path) -> list[str]:
    """What containers see in ``folder/later``, mounted while they run: by rslave, then by rprivate."""
    volumes = [
        {"type": "bind", "source": str(folder), "target": f"/{kind}", "options": [kind]}
        for kind in ("rslave", "rprivate")
    ]
    script = "while [ ! -e /rslave/go ]; do sleep 0.05; done; ls /rslave/later; echo :; ls /rprivate/later; echo end"
    (folder / "later").mkdir()
    with late.running(late.plain(), "sh", "-c", script, volumes=volumes) as container:
        subprocess.run(["mount", "-t", "tmpfs", "jc-isolation", str(folder / "later")], check=True)
        (folder / "later" / "new").touch()
        (folder / "go").touch()
        while "end" not in late.logs(container):
            pass
        return late.logs(container).split()


def test_a22_the_host_shares_no_mount_with_a_container(facts: dict[str, Any]) -> None:
    """Every mount inside is private or a slave."""
    assert not [line for line in facts["mounts"] if " shared:" in line]


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a28_a_linked_passwd_reads_nothing_of_the_host(box: Box, victim: Path, name: str) -> None:
    """CVE-2024-9676, containerd TestOpenUserFile_Symlink: /etc/passwd and /etc/group are read inside the root."""
    image = box.image(f"linked-{name}", root_tar(Entry(f"etc/{name}", link=str(victim / "file"), mode=0o644)))
    user = "evil" if name == "passwd" else "0:evil"
    done = box.sh("id", image, user=user)
    assert done.kind == "InvalidArgument", done
    assert "evil" in done.text
    inside = box.image(
        "linked-inside", root_tar(Entry("etc/passwd", link="../usr/passwd"), Entry("usr/passwd", SECRET.encode()))
    )
    assert box.sh("id -u", inside, user="evil").out == "0\n"


@pytest.mark.parametrize(
    "target",
    ["/dev/zero", "/dev/tty", "/dev/stdin", "/proc/kmsg", "/proc/self/fd/3", "passwd", "/etc", "/../../../etc/passwd"],
)
def test_a28_a_passwd_that_is_no_file_is_harmless(box: Box, target: str) -> None:
    """containerd: devices, endless files, loops; bounded, and nobody becomes root by them."""
    image = box.image(
        "-".join(["passwd", *(part for part in target.split("/") if part.isalnum())]),
        root_tar(Entry("etc/passwd", link=target)),
    )
    done = box.sh("grep Uid /proc/self/status", image, user="1234")  # `id` would itself read the endless file
    assert done.kind or done.out.split()[1:] == ["1234"] * 4, done
    assert box.sh("true", image, user="alice").kind in ("InvalidArgument", "CannotStart")


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf", "mtab"])
def test_a28_linked_files_of_etc_write_nothing_outside(box: Box, victim: Path, name: str) -> None:
    """CVE-2024-9676's class: the files that the engine mounts into /etc go to a path inside, whatever link is there."""
    image = box.image(f"linked-etc-{name}", root_tar(Entry(f"etc/{name}", link=str(victim / "file"))))
    done = box.sh(f"cat /etc/{name}; echo ok >> /etc/{name}", image)
    assert "host-secret" not in done.out
    etc = box.image("linked-etc", root_tar(Entry("etc", link=str(victim)), without=("etc", "etc/passwd", "etc/group")))
    assert "host-secret" not in box.sh("cat /etc/*", etc).out
