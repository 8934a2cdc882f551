"""Which containers are alike: what splits a config.json, what belongs to a kind, and what is of none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kernel_runtime import kinds

ID = "0123456789abcdef" * 4


def config(tmp_path: Path, **process: Any) -> dict[str, Any]:
    """As the engine writes them."""
    layer = tmp_path / "layer"
    layer.mkdir(exist_ok=True)
    bundle = tmp_path / "containers" / ID
    return {
        "process": {"args": ["true"], "env": ["A=1"], "cwd": "/", **process},
        "root": {"path": "rootfs"},
        "hostname": ID[:12],
        "mounts": [
            {"destination": "/", "type": "overlay", "source": "overlay",
             "options": [f"lowerdir+={layer}", f"upperdir={bundle}/upper", f"workdir={bundle}/work"]},
            {"destination": "/proc", "type": "proc", "source": "proc", "options": []},
            {"destination": "/etc/hosts", "type": "data", "source": f"{ID[:12]}\n", "options": ["rprivate"]},
        ],
        "annotations": {"org.nb-containers.network": "none"},
        "linux": {"seccomp": "default", "resources": {"pids": {"limit": 5}}},
    }  # fmt: skip


def split(tmp_path: Path, found: dict[str, Any], container_id: str = ID) -> kinds.Split | None:
    return kinds.split(found, container_id, str(tmp_path / "containers" / container_id), "code")


def test_the_two_parts_make_the_whole(tmp_path: Path) -> None:
    whole = config(tmp_path)
    before = copy.deepcopy(whole)
    found = split(tmp_path, whole)
    assert found and whole == before
    assert kinds.joined(found.common, found.own, ID, str(tmp_path / "containers" / ID)) == whole


def test_nothing_of_its_own_is_in_what_is_common(tmp_path: Path) -> None:
    found = split(tmp_path, config(tmp_path))
    assert found and ID[:12] not in str(found.common) and "A=1" not in str(found.common)


def test_two_that_differ_in_what_is_their_own_are_of_a_kind(tmp_path: Path) -> None:
    other = "f" * 64
    text = str(config(tmp_path, args=["false"], env=[])).replace(ID, other).replace(ID[:12], other[:12])
    one, two = split(tmp_path, config(tmp_path)), split(tmp_path, eval(text), other)  # noqa: S307 - our own text
    assert one and two and one.name == two.name and one.own != two.own


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(hostname="lighthouse"),
        lambda c: c["process"].update(cwd="/srv"),
        lambda c: c["process"].update(user={"uid": 7}),
        lambda c: c["process"].update(noNewPrivileges=True),
        lambda c: c["process"].update(capabilities={"bounding": []}),
        lambda c: c["root"].update(readonly=True),
        lambda c: c["linux"].update(resources={}),
        lambda c: c["linux"].pop("seccomp"),
        lambda c: c["linux"].update(maskedPaths=["/proc/kcore"]),
        lambda c: c["annotations"].update({"org.nb-containers.network": "default"}),
        lambda c: c["mounts"].append({"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": []}),
        lambda c: c["mounts"][2].update(options=["mode=0755"]),
    ],
)
def test_whatever_else_differs_makes_another_kind(tmp_path: Path, change: Any) -> None:
    changed = config(tmp_path)
    change(changed)
    one, two = split(tmp_path, config(tmp_path)), split(tmp_path, changed)
    assert one and two and one.name != two.name


def test_a_layer_that_came_again_is_another_one(tmp_path: Path) -> None:
    one = split(tmp_path, config(tmp_path))
    (tmp_path / "layer").rename(tmp_path / "removed")
    two = split(tmp_path, config(tmp_path))
    assert one and two and one.name != two.name


def test_other_code_has_other_kinds(tmp_path: Path) -> None:
    found = config(tmp_path)
    one, two = (kinds.split(found, ID, str(tmp_path / "containers" / ID), code) for code in ("old", "new"))
    assert one and two and one.name != two.name


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["process"].update(terminal=True),
        lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]),
        lambda c: c["linux"].update(devices=[{"path": "/dev/fuse"}]),
        lambda c: c["linux"].update(sysctl={"net.ipv4.ip_forward": "1"}),
        lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_KILL"}),
        lambda c: c["annotations"].update({"org.nb-containers.init": "true"}),
        lambda c: c["mounts"].append({"destination": "/x", "type": "bind", "source": "/srv", "options": ["rbind"]}),
        lambda c: c["mounts"].append({"destination": "/usr", "type": "overlay", "source": "overlay", "options": []}),
    ],
)
def test_what_may_change_meanwhile_is_of_no_kind(tmp_path: Path, change: Any) -> None:
    changed = config(tmp_path)
    change(changed)
    assert split(tmp_path, changed) is None
