"""ISOLATION A, the files a container sees: masks, read-only parts, devices, descriptors, the runtime's own program."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kernel_runtime.mounts import PROC_FILES
from tests.engine.rig_isolation import HERE, PROBE, PYTHON, SUID, Box, Entry, root_tar

NULL = os.makedev(1, 3)


def test_a01_masked_paths_are_empty(facts: dict[str, Any]) -> None:
    """Moby daemon/pkg/oci/defaults.go (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p): what tells about the host is empty."""
    assert {"/proc/interrupts", "/proc/keys", "/sys/firmware"} & set(facts["masked"])
    for path, found in facts["masked"].items():
        assert found["content"] in ([], ""), path
        if found["folder"]:
            assert found["write"] == "EROFS", path
        else:
            assert found["character"] == NULL, path


def test_a02_settings_of_the_kernel_are_read_only(facts: dict[str, Any]) -> None:
    """Moby defaults.go; CDK mount_procfs.go: neither core_pattern nor sysrq-trigger nor /sys can be opened for writing.

    In a user namespace the owner's check (EACCES) speaks before the read-only mount does.
    """
    assert "/proc/sys/kernel/core_pattern" in facts["writing"]
    assert set(facts["writing"].values()) <= {"EROFS", "EACCES", "EPERM"}, facts["writing"]
    trees = {line.split()[4]: line.split()[5].split(",") for line in facts["mounts"]}
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"):
        assert path not in trees or "ro" in trees[path], path
    assert "ro" in trees["/sys"]
    assert {"/proc/sys", "/proc/irq"} <= set(trees)


def test_a04_masked_folders_share_one_empty_file_system(facts: dict[str, Any]) -> None:
    """Runc tests/integration/mask.bats: right number of links, one tmpfs."""
    folders = [found for found in facts["masked"].values() if found["folder"]]
    assert folders
    assert {found["links"] for found in folders} == {2}
    assert len({found["device"] for found in folders}) == 1


def test_a04_odd_masks_do_no_harm(box: Box) -> None:
    """Runc mask.bats: duplicates, missing paths and files are fine."""
    paths = ["/proc/acpi", "/proc/acpi", "/sys/firmware", "/no/such/path", "/etc/passwd", "/etc/passwd/x"]
    done = box.bundle(
        {"linux.maskedPaths": paths}, "sh", "-c", "ls /proc/acpi /sys/firmware; cat /etc/passwd; echo end"
    )
    assert done.lines == ["/proc/acpi:", "", "/sys/firmware:", "end"], done


@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys/net", "/proc", "/proc/sysrq-trigger", "/link"])
def test_a07_nothing_is_mounted_over_parts_of_proc(box: Box, target: str) -> None:
    """Runc CVE-2019-19921, CVE-2023-27561, CVE-2025-52881: a mount in /proc could stand for what the runtime writes.

    The runtime writes no LSM label, but oom_score_adj, uid_map and sysctls through the container's /proc.
    """
    image = box.image("link-to-proc", root_tar(Entry("link", link="/proc/self/attr")))
    bind = {"type": "bind", "source": str(box.own("own")), "target": target}
    mounts = [{"type": "tmpfs", "source": "", "target": target}, bind]
    for mount in mounts:
        done = box.sh("echo started", image, volumes=[mount])
        assert done.kind in ("InvalidArgument", "CannotStart"), (mount, done)
        assert target in done.text


def test_a07_files_of_proc_that_lxcfs_replaces_may_be_mounted(box: Box) -> None:
    """The exceptions of runc's rule: what only informs."""
    assert "/proc/meminfo" in PROC_FILES
    meminfo = box.own("meminfo", b"MemTotal: 42 kB\n")
    done = box.sh("cat /proc/meminfo", volumes=[{"type": "bind", "source": str(meminfo), "target": "/proc/meminfo"}])
    assert done.out == "MemTotal: 42 kB\n", done


def test_a09_no_descriptor_of_the_host_leaks(box: Box, facts: dict[str, Any]) -> None:
    """Runc create.bats "detect fd leak": only 0, 1 and 2, in the first process and in those that join."""
    assert set(facts["descriptors"]) == {"0", "1", "2"}, facts["descriptors"]
    assert facts["descriptors"]["0"] == "/dev/null"
    with box.running(box.python(), "sleep", "60") as container:
        done = box.execute(container, *PROBE, "descriptors")
        assert done.code == 0, done
        assert sorted(json.loads(done.out)) == ["0", "1", "2"]


def test_a10_the_hosts_python_cannot_be_changed(facts: dict[str, Any]) -> None:
    """CVE-2019-5736: what the ``host`` image executes is the host's own file."""
    assert {facts["program"]["write"], facts["program"]["descriptor"]} <= {"ETXTBSY", "EROFS", "EACCES"}


@pytest.mark.parametrize("init", [False, True])
def test_a10_the_program_of_the_runtime_cannot_be_changed(box: Box, init: bool) -> None:
    """CVE-2019-5736: an image that executes /proc/self/exe, by entrypoint or ``#!``, runs the host's Python itself.

    It may; but opening it for writing fails, and so does chmod, which unlike opening does not depend on whether
    somebody executes it just now: it lies on a read-only mount.
    """
    python = Path(PYTHON)
    before = _fingerprint(python)
    script = f"#!/proc/self/exe -ISB\n{(HERE / 'probe_inside.py').read_text()}".encode()
    content = box.own("script", script)
    content.chmod(0o755)
    mount = {"type": "bind", "source": str(content), "target": "/attack", "read_only": True}
    for words in (("/proc/self/exe", *PROBE[1:], "program"), ("/attack", "program")):
        done = box.run(box.python(), *words[1:], entrypoint=[words[0]], volumes=[mount], init=init)
        if done.kind == "CannotStart":
            continue
        found = json.loads(done.out)
        assert found["write"] in ("ETXTBSY", "EROFS", "EACCES"), found
        assert found["descriptor"] in ("ETXTBSY", "EROFS", "EACCES"), found
        assert found["change"] == "EROFS", found
    assert _fingerprint(python) == before


def _fingerprint(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), found.st_mode, found.st_mtime_ns


def test_a17_cgroups_cannot_be_written(facts: dict[str, Any]) -> None:
    """CVE-2022-0492, CDK mount_cgroup.go: no release_agent, no new group, no move, no device allowed.

    Without a delegated cgroup (unprivileged users on cgroup v1) /sys/fs/cgroup is empty, which is as good.
    """
    assert "ok" not in facts["cgroups"].values(), facts["cgroups"]
    agents = [path for path in facts["cgroups"] if path.endswith("release_agent")]
    assert not agents


def test_a18_no_cgroup_of_the_host_is_shown(facts: dict[str, Any]) -> None:
    """Runc CVE-2023-25809: what is mounted on /sys/fs/cgroup is the container's own group, in its own namespace."""
    assert facts["namespaces"]["cgroup"] != os.readlink("/proc/self/ns/cgroup")
    for line in facts["mounts"]:
        fields = line.split()
        if fields[fields.index("-") + 1].startswith("cgroup"):
            assert fields[3] == "/", line
            assert "ro" in fields[5].split(",")


def test_a19_device_nodes_cannot_be_opened(facts: dict[str, Any]) -> None:
    """CDK mount_device.go: mknod of every disk and of /dev/mem, in every writable place, and opening it, fails.

    root: made, but all mounts are nodev (EACCES). rootless: mknod is refused. rootless-single: mknod is answered with
    success and not done (ENOENT at open).
    """
    nodes = facts["devices"]["nodes"]
    assert any("/dev/" in path for path in nodes)
    assert {opened for _, opened in nodes.values()} <= {"EACCES", "ENOENT", "EPERM"}, nodes


def test_a19_nodes_of_the_host_stay_as_they_are(facts: dict[str, Any]) -> None:
    """/dev/null and its like are bound from the host: root inside must not chmod them for everybody (our own case)."""
    for name, (mode, times, opened) in facts["devices"]["changed"].items():
        assert mode == times == "EROFS", (name, mode, times)
        assert opened == ("ENXIO" if name == "tty" else "ok"), name  # no terminal here
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == 0o666


def test_a32_a_read_only_root_is_read_only(box: Box) -> None:
    """runtime-tools root_readonly_true: no file on it can be made or changed; nor can it be remounted; tmpfs can."""
    script = """
    for path in /x /etc/passwd /etc/x /bin/x /proc/sys/kernel/hostname /proc/sys/net/core/somaxconn /sys/x; do
        (echo x >> $path) 2>/dev/null && echo "wrote $path"
    done
    mount -o remount,rw / 2>/dev/null && echo remounted
    chmod 700 /bin/busybox 2>/dev/null && echo changed
    echo x > /dev/shm/x && echo x > /scratch/x && echo x > /dev/null && echo end
    """
    done = box.sh(script, read_only=True, volumes=[{"type": "tmpfs", "source": "", "target": "/scratch"}])
    assert done.lines == ["end"], done


def test_a13_the_image_has_the_set_uid_program(box: Box) -> None:
    """The test of set-uid programs (in rights) means something: the bit came through the layer."""
    done = box.sh(f"stat -c %a {SUID}", box.python())
    assert done.out.strip() == "4755", done
