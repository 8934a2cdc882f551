"""The unpacking program on real roots: the same tree as GNU tar makes, quick to start, and gone with its caller."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import LayerError, StorageFull
from jupyter_containers.image import digest, rooted, settle
from jupyter_containers.image.program import Program
from jupyter_containers.image.rooted import Tree

PROGRAM = [sys.executable, "-P", "-m", "jupyter_containers.image.unpack"]
ROOT = os.geteuid() == 0
OWNERS, INSIDE = ("root", []) if ROOT else ("rootless-single", ["unshare", "-Ur"])


@pytest.fixture(autouse=True)
def found_by_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the store does: programs find the package that we are running."""
    monkeypatch.setenv("PYTHONPATH", str(Path(settle.__file__).parents[2]))


def need(what: str) -> None:
    (pytest.fail if os.environ.get("JC_MUST_WORK") == "1" else pytest.skip)(f"{what} needed")


def order(**fields: Any) -> dict[str, Any]:
    done = subprocess.run([*INSIDE, *PROGRAM, json.dumps(fields)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return dict(json.loads(done.stdout.splitlines()[-1]))


def description(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything of a tree but what unpacking may change: times of access, inode numbers."""
    found, inodes = {}, dict[tuple[int, int], str]()
    for folder, folders, files in sorted(os.walk(root)):
        for name in sorted([*folders, *files, "."]):
            path = Path(folder, name)
            status = path.lstat()
            key = str(path.relative_to(root))
            first = inodes.setdefault((status.st_dev, status.st_ino), key) if name in files else key
            content = str(path.readlink()) if path.is_symlink() else digest.of(path.read_bytes()) if name in files and (
                path.is_file()) else ""  # fmt: skip
            xattrs = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
            found[key] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev,
                          status.st_nlink if name in files else 0, first, content, xattrs)  # fmt: skip
    return found


def test_a_debian_root_is_what_tar_makes_of_it(tmp_path: Path) -> None:
    if not (ROOT and shutil.which("mmdebstrap")):
        need("root and mmdebstrap")
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", "--include=base-files,bash,coreutils,perl-base,mount",
         "bookworm",
          tmp_path / "root.tar"], capture_output=True, text=True, check=False)  # fmt: skip
    if made.returncode:
        need(f"a Debian mirror ({made.stderr[-200:]})")
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "tar", "--xattrs", "-xpf", tmp_path / "root.tar"], check=True)
    answer = order(verb="unpack", blob=f"{tmp_path}/root.tar", target=f"{tmp_path}/ours", owners="root")
    assert answer["result"]["skipped"] == []
    assert answer["result"]["entries"] > 500
    assert description(tmp_path / "ours") == description(tmp_path / "tar")


def test_a_busybox_root_with_its_links(tmp_path: Path) -> None:
    if not shutil.which("busybox"):
        need("busybox")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), root / "bin/busybox")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for n, applet in enumerate(set(applets) - {"busybox"}):
        (os.link if n % 2 else os.symlink)(str(root / "bin/busybox") if n % 2 else "busybox", root / "bin" / applet)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    os.setxattr(root / "tmp", "user.note", b"kept")
    subprocess.run(["tar", "-C", root, "--xattrs", "-cf", tmp_path / "root.tar", "."], check=True)
    answer = order(verb="unpack", blob=f"{tmp_path}/root.tar", target=f"{tmp_path}/ours", owners=OWNERS)
    assert answer["result"]["diff_id"] == digest.of((tmp_path / "root.tar").read_bytes())
    assert description(tmp_path / "ours") == description(root)


def test_an_inherited_descriptor_is_as_good_as_a_path(tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", "/", "-czf", tmp_path / "t.tgz", "etc/passwd"], check=True)
    with (tmp_path / "t.tgz").open("rb") as file:
        text = json.dumps({"verb": "unpack", "fd": 3, "target": f"{tmp_path}/out", "owners": OWNERS})
        argv = ["sh", "-c", 'exec 3<&0; exec "$@"', "sh", *INSIDE, *PROGRAM, text]
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["result"]["entries"] == 1
    assert (tmp_path / "out/etc/passwd").read_bytes() == Path("/etc/passwd").read_bytes()


def test_a_failure_leaves_no_target(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no tar" * 1000)
    answer = order(verb="unpack", blob=f"{tmp_path}/bad", target=f"{tmp_path}/out", owners=OWNERS)
    assert answer["error"]["kind"] == "LayerError"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    script = (f"mount -t tmpfs -o size=11m tmpfs {tmp_path} && cd {tmp_path} && "
              "head -c 5000000 /dev/urandom >f && tar -cf in.tar f && "
              'for limit in -99999999 0; do "$@" "{\\"verb\\": \\"unpack\\", \\"blob\\": \\"in.tar\\", '
              '\\"target\\": \\"out\\", \\"limits\\": {\\"reserve\\": $limit}, \\"owners\\": \\"rootless-single\\"}"; '
              "ls; done")  # fmt: skip
    argv = ["unshare", "-Urm", "sh", "-c", script, "sh", *PROGRAM]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        need("user namespaces")
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [answer["error"]["kind"] for answer in answers] == ["StorageFull", "StorageFull"], done
    assert "Free some space" in answers[0]["error"]["mend"]
    assert done.stdout.count("out") == 0
    assert StorageFull.status == 507


def test_orders_that_are_none_are_answered() -> None:
    for text in ("", "{", "[]", "{}", '{"verb": "explode"}', '{"verb": "unpack"}'):
        done = subprocess.run([*PROGRAM, text], capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["error"]["kind"] in ("InvalidArgument", "LayerError")
        assert (done.returncode, done.stderr) != (0, "")


def test_the_program_loads_little() -> None:
    script = ("import sys; before = set(sys.modules); import jupyter_containers.image.unpack; "
              "print(*(set(sys.modules) - before))")  # fmt: skip
    argv = [sys.executable, "-P", "-c", script]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"IPython", "traitlets", "dataclasses", "inspect", "pathlib", "subprocess", "zstandard", "isal", "tarfile",
             "asyncio", "logging", "argparse", "shutil", "tempfile", "difflib", "pyroute2"}  # fmt: skip
    assert heavy & set(said) == set()
    assert len(said) < 60


def test_the_program_ends_with_its_caller(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(PROGRAM, stdin=theirs, stdout=subprocess.PIPE, text=True)
    text = json.dumps({"verb": "unpack", "blob": f"{tmp_path}/never", "target": f"{tmp_path}/out", "owners": OWNERS})
    ours.sendall(text.encode() + b"\n")
    time.sleep(0.2)
    assert process.poll() is None
    ours.close()
    assert process.wait(5) == 3
    assert process.stdout
    process.stdout.close()


def test_a_program_that_dies_is_an_error_with_what_it_said() -> None:
    with (
        Program(lambda argv: ["sh", "-c", "echo no room at the inn >&2; exit 7"]) as program,
        pytest.raises(LayerError, match="code 7: no room at the inn"),
    ):
        program.call({"verb": "remove", "paths": []})


def test_trees_are_removed_whatever_is_in_them(tmp_path: Path) -> None:
    deep = tmp_path / "tree"
    (deep / "a/b/c").mkdir(parents=True)
    (deep / "a/b/file").write_text("x")
    (deep / "a/out").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    assert order(verb="remove", paths=[str(deep), str(tmp_path / "never")]) == {"result": {"removed": 2}}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]


def test_few_descriptors_however_many_directories(tmp_path: Path) -> None:
    with Tree(bytes(tmp_path), b"user.overlay.opaque") as tree:
        before = len(os.listdir("/proc/self/fd"))
        for n in range(rooted.KEPT * 3):
            tree.directory([b"d", b"%d" % n], create=True)
        assert len(os.listdir("/proc/self/fd")) <= before + rooted.KEPT
        assert tree.implied == {b"d", *(b"d/%d" % n for n in range(rooted.KEPT * 3))}
    assert len(os.listdir("/proc/self/fd")) == before - 1
