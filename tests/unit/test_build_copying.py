"""The layer of a COPY: destinations, owners, modes, and the same bytes whoever makes it, wherever."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import Conflict, ContainersError, InvalidArgument, LayerError, NotFound
from jupyter_containers.image.program import Program
from tests.rigs import copies
from tests.rigs.users import User

ROOT = os.geteuid() == 0
OWNERS = "root" if ROOT else "rootless-single"


def fill(root: Path, *names: str) -> Path:
    """Files named so, of mode 0644, in directories of mode 0755; ``name/`` a directory, ``name>target`` a link."""
    for name in names:
        path = root / name.partition(">")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif ">" in name:
            path.symlink_to(name.partition(">")[2])
        else:
            path.write_text(name)
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return fill(tmp_path / "context", "a", "b", "dir/c", "dir/sub/d", "dir/l>../../etc/passwd", "empty/", "other/e")


@pytest.fixture
def lower(tmp_path: Path) -> list[Path]:
    """Two layers, top first."""
    bottom = fill(
        tmp_path / "bottom", "etc/x", "usr/bin/tool", "bin>usr/bin", "app/kept", "app/sub/old", "gone/x", "way>/app/sub",
        "up>../../../app", "round>round2", "round2>round", "dangling>/srv/data", "file",
    )  # fmt: skip
    (bottom / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
    (bottom / "etc/group").write_text("root:x:0:\nstaff:x:50:web\n")
    (bottom / "app/sub").chmod(0o700)
    top = fill(tmp_path / "top", "app/new")
    if ROOT:
        os.mknod(top / "gone", 0o020000, 0)
    return [top, bottom]


def names(*words: Any, **fields: Any) -> dict[str, str]:
    return copies.names(*words, owners=OWNERS, **fields)


@pytest.mark.parametrize(
    ("sources", "destination", "expected"),
    [
        ("a", "/new", "new"),
        ("a", "/new/", "new/ new/a"),
        ("a", "/x/y/z", "x/ x/y/ x/y/z"),
        ("a", "/app", "app/a"),
        ("a", "/app/", "app/a"),
        ("a", "/app/.", "app/a"),
        ("a", "app/sub/../q", "app/q"),
        ("a", "/app/kept", "app/kept"),
        ("a b", "/app", "app/a app/b"),
        ("a b", "/new/", "new/ new/a new/b"),
        ("dir", "/new", "new/ new/c new/l new/sub/ new/sub/d"),
        ("dir", "/app", "app/c app/l app/sub/ app/sub/d"),
        ("dir other", "/app", "app/c app/e app/l app/sub/ app/sub/d"),
        ("dir other", "/new", "new/ new/c new/e new/l new/sub/ new/sub/d"),
        ("empty", "/app", ""),
        ("empty", "/new", "new/"),
        ("a", "/bin/", "usr/bin/a"),
        ("a", "/bin/x", "usr/bin/x"),
        ("a", "/way", "app/sub/a"),
        ("a", "/up/f", "app/f"),
        ("dir", "/way/deep", "app/sub/deep/ app/sub/deep/c app/sub/deep/l app/sub/deep/sub/ app/sub/deep/sub/d"),
        ("a", "/dangling", "srv/ srv/data"),
        ("a", "/dangling/", "srv/ srv/data/ srv/data/a"),
        ("a", "/../../up/../etc/", "etc/a"),
        ("dir/l", "/none", None),
    ],
)
def test_destinations(context: Path, lower: list[Path], sources: str, destination: str, expected: str | None) -> None:
    """ISOLATION 85: links of the image are followed, and never lead out of it."""
    if expected is None:
        with pytest.raises(NotFound):
            names(context, sources.split(), destination, lower)
        return
    found = names(context, sources.split(), destination, lower)
    assert " ".join(name + "/" * row.startswith("dir") for name, row in found.items()) == expected


@pytest.mark.parametrize("destination", [".", "./", "", "x/.."])
def test_a_relative_destination_is_relative_to_the_workdir(context: Path, lower: list[Path], destination: str) -> None:
    assert list(names(context, ["a"], destination, lower, workdir="/app")) == ["app/a"]
    assert list(names(context, ["a"], "q", lower, workdir="/app")) == ["app/q"]


def test_what_is_made_is_0755_and_what_is_there_stays(context: Path, lower: list[Path]) -> None:
    (context / "dir").chmod(0o711)
    (context / "dir/sub").chmod(0o750)
    assert names(context, ["dir"], "/x/y", lower) == {
        "x": "dir 755 0:0", "x/y": "dir 755 0:0", "x/y/c": "file 644 0:0", "x/y/l": "symlink 777 0:0",
        "x/y/sub": "dir 750 0:0", "x/y/sub/d": "file 644 0:0",
    }  # fmt: skip
    found = names(context, ["dir"], "/app", lower)
    assert "app" not in found
    assert found["app/sub"] == "dir 750 0:0"


@pytest.mark.parametrize(
    ("sources", "destination", "error", "text"),
    [
        ("a b", "/new", InvalidArgument, "/new: several files are copied to one name. End the destination"),
        ("a*  b", "/file", InvalidArgument, "several files"),
        ("a", "/app/kept/x", Conflict, "/app/kept: a directory is needed"),
        ("dir", "/file", Conflict, "/file: a directory is needed"),
        ("dir", "/bin/tool", Conflict, "/usr/bin/tool: a directory is needed"),
        ("a", "/round/x", InvalidArgument, "too many symbolic links"),
        ("missing", "/", NotFound, "missing: not found in the build context"),
    ],
)
def test_what_cannot_be_copied_there(
    context: Path, lower: list[Path], sources: str, destination: str, error: type[ContainersError], text: str
) -> None:
    with pytest.raises(error, match=text):
        names(context, sources.split(), destination, lower)


def test_a_file_replaces_no_directory_nor_a_directory_anything(tmp_path: Path, lower: list[Path]) -> None:
    context = fill(tmp_path / "c", "one/sub", "two/kept/x", "three/bin/y", "four/kept>x")
    with pytest.raises(Conflict, match="/app/sub: a file cannot replace the directory"):
        names(context, ["one"], "/app", lower)
    with pytest.raises(Conflict, match="/app/kept: a directory cannot replace the file"):
        names(context, ["two"], "/app", lower)
    with pytest.raises(Conflict, match=r"/bin: a directory cannot replace the symlink.*leads to usr/bin"):
        names(context, ["three"], "/", lower)
    assert names(context, ["four"], "/app", lower)["app/kept"].startswith("symlink")


@pytest.mark.skipif(not ROOT, reason="whiteouts are made by root here")
def test_what_an_upper_layer_removed_is_not_there(context: Path, lower: list[Path]) -> None:
    assert list(names(context, ["a"], "/gone", lower)) == ["gone"]
    assert list(names(context, ["a"], "/gone/", lower)) == ["gone", "gone/a"]
    os.setxattr(lower[0] / "app", "trusted.overlay.opaque", b"y")
    assert list(names(context, ["a"], "/app/sub/", lower)) == ["app/sub", "app/sub/a"]


def test_later_sources_win(tmp_path: Path) -> None:
    context = fill(tmp_path / "c", "one/x", "two/x")
    tar = copies.layer(context, ["one", "two"], "/", owners=OWNERS)
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        content = found.extractfile("x")
        assert content
        assert (found.getnames(), content.read()) == (["x"], b"two/x")


# --- flags ---


@pytest.mark.parametrize(
    ("chown", "owner"),
    [("web", "33:34"), ("web:staff", "33:50"), ("7", "7:7"), ("7:staff", "7:50"), (":5", "0:5"), ("web:", "33:34")],
)
def test_chown_by_name_and_number(context: Path, lower: list[Path], chown: str, owner: str) -> None:
    if chown.startswith(":"):
        with pytest.raises(InvalidArgument, match="no user ''"):
            names(context, ["dir"], "/new/deep", lower, chown=chown)
        return
    found = names(context, ["dir"], "/new/deep", lower, chown=chown)
    assert {row.split()[2] for row in found.values()} == {owner}


def test_chown_of_nobody_known_suggests(context: Path, lower: list[Path]) -> None:
    with pytest.raises(InvalidArgument, match=r"no user 'wep' in the image's /etc/passwd. Did you mean web\?"):
        names(context, ["a"], "/", lower, chown="wep")
    with pytest.raises(InvalidArgument, match="no group 'x'"):
        names(context, ["a"], "/", lower, chown="web:x")
    with pytest.raises(InvalidArgument, match="out of range"):
        names(context, ["a"], "/", lower, chown="4294967295")


def test_passwd_may_be_a_link_and_stays_in_the_image(context: Path, tmp_path: Path) -> None:
    """CVE-2024-9676: a link to the host's file is one in the image."""
    secret = tmp_path / "secret"
    secret.write_text("web:x:66:66::/:/bin/sh\n")
    layer = fill(tmp_path / "l", f"etc/passwd>{secret}")
    with pytest.raises(InvalidArgument, match="no user 'web'"):
        names(context, ["a"], "/", [layer], chown="web")
    inside = layer / str(secret)[1:]
    inside.parent.mkdir(parents=True)
    inside.write_text("web:x:77:78::/:/bin/sh\n")
    assert names(context, ["a"], "/", [layer], chown="web")["a"] == "file 644 77:78"


def test_chmod_octal_is_also_of_what_is_made(context: Path, lower: list[Path]) -> None:
    found = names(context, ["dir"], "/new/deep", lower, chmod="2711")
    assert {row.split()[1] for name, row in found.items() if not name.endswith("/l")} == {"2711"}
    assert found["new/deep/l"] == "symlink 777 0:0"


def test_chmod_symbolic_is_relative(context: Path, lower: list[Path]) -> None:
    found = names(context, ["dir"], "/new", lower, chmod="go-rwx,u+X")
    assert found == {
        "new": "dir 755 0:0", "new/c": "file 600 0:0", "new/l": "symlink 777 0:0", "new/sub": "dir 700 0:0",
        "new/sub/d": "file 600 0:0",
    }  # fmt: skip
    with pytest.raises(InvalidArgument, match="--chmod: not a mode: 'rwx'"):
        names(context, ["a"], "/", lower, chmod="rwx")


def test_parents_keeps_the_modes_of_directories(context: Path, lower: list[Path]) -> None:
    (context / "dir").chmod(0o711)
    found = names(context, ["dir/sub/d", "./other/./e"], "/new/", lower, parents=True)
    assert found == {
        "new": "dir 755 0:0", "new/dir": "dir 711 0:0", "new/dir/sub": "dir 755 0:0", "new/dir/sub/d": "file 644 0:0",
        "new/e": "file 644 0:0",
    }  # fmt: skip


def test_all_excluded_makes_the_destination(context: Path) -> None:
    assert names(context, ["dir"], "/6", exclude=["*"]) == {"6": "dir 755 0:0"}
    assert names(context, ["a"], "/6/", exclude=["*"]) == {"6": "dir 755 0:0"}


def test_link_knows_nothing_of_what_is_beneath(context: Path) -> None:
    assert list(names(context, ["a"], "/bin/tool/x", [])) == ["bin", "bin/tool", "bin/tool/x"]
    with pytest.raises(InvalidArgument, match="with `--link`, only numbers do"):
        names(context, ["a"], "/", [], chown="web")


def test_documents_are_files_of_mode_0644(context: Path, lower: list[Path]) -> None:
    documents = [{"name": "one", "content": "hello\n"}, {"name": "two", "content": "ünï"}]
    assert names(context, ["a"], "/app/", lower, documents=documents)["app/two"] == "file 644 0:0"
    found = copies.tree(None, [], "/run.sh", lower, OWNERS, documents=documents[:1], chmod="0755", chown="5")
    assert found == {"run.sh": ["file", "0o755", 5, 5, 6, hashlib.sha256(b"hello\n").hexdigest()[:16], "", {}]}
    with pytest.raises(InvalidArgument, match="several files"):
        names(None, [], "/x", lower, documents=documents)


# --- what files carry ---


def test_hard_links_holes_attributes_pipes(tmp_path: Path) -> None:
    context = tmp_path / "c"
    (context / "d").mkdir(parents=True)
    (context / "d/one").write_text("x")
    os.link(context / "d/one", context / "d/two")
    os.setxattr(context / "d/one", "user.note", b"kept")
    os.setxattr(context / "d", "user.folder", b"kept")
    os.mkfifo(context / "d/pipe")
    (context / "d/pipe").chmod(0o640)
    with (context / "d/sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(context / "d/socket"))
        tar = copies.layer(context, ["."], "/x/", owners=OWNERS)
    assert len(tar) < 1 << 20
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        entries = {entry.name: entry for entry in found}
    assert set(entries) == {"x", "x/d", "x/d/one", "x/d/two", "x/d/pipe", "x/d/sparse"}
    assert (entries["x/d/two"].type, entries["x/d/two"].linkname) == (tarfile.LNKTYPE, "x/d/one")
    assert entries["x/d/one"].pax_headers["SCHILY.xattr.user.note"] == "kept"
    assert entries["x/d"].pax_headers["SCHILY.xattr.user.folder"] == "kept"
    assert (entries["x/d/pipe"].type, entries["x/d/pipe"].mode) == (tarfile.FIFOTYPE, 0o640)
    assert entries["x/d/sparse"].size == 64 << 20


def test_holes_go_by_content_not_by_the_disk(tmp_path: Path) -> None:
    for name, sparse in (("one", True), ("two", False)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "f").open("wb") as file:
            if sparse:
                file.truncate(5 << 20)
            else:
                file.write(bytes(5 << 20))
            file.seek((2 << 20) + 5)
            file.write(b"data")
            file.truncate((5 << 20) + 3)
    tars = [copies.layer(tmp_path / name, ["."], "/", owners=OWNERS) for name in ("one", "two")]
    assert tars[0] == tars[1]
    assert len(tars[0]) < 1 << 18


def test_names_that_mean_a_removal_are_refused(tmp_path: Path) -> None:
    context = fill(tmp_path / "c", "d/.wh.passwd", "x")
    with pytest.raises(LayerError, match="means a removal"):
        names(context, ["d"], "/etc")
    with pytest.raises(LayerError, match="means a removal"):
        names(context, ["x"], "/.wh.x")


# --- who makes it ---


def _copy_as(user: Any, context: str, lower: list[str]) -> str:
    """In a process of a user: the layer of a COPY with all that may differ, and again of what a stage holds."""
    from jupyter_containers import from_env

    runtime = from_env().runtime
    unshare = None if user == "root" else runtime.unshare
    data = copies.layer(
        Path(context),
        ["d", "a"],
        "/app/",
        [Path(path) for path in lower],
        runtime.rung,
        unshare,
        chown="7:8",
        chmod="u=rwX,go=rX",
    )
    return hashlib.sha256(data).hexdigest()


def _stage_as(user: Any, blob: str, area: str) -> list[Any]:
    """In a process of a user: unpack a layer with owners, and copy from it."""
    from jupyter_containers import from_env

    runtime = from_env().runtime
    unshare = None if user == "root" else runtime.unshare
    with Program(unshare) as program:
        program.call({"verb": "unpack", "blob": blob, "target": f"{area}/stage", "owners": runtime.rung})
    data = copies.layer(Path(area, "stage"), ["/"], "/x", [], runtime.rung, unshare, keep_owners=True)
    with Program(unshare) as program:
        program.call({"verb": "remove", "paths": [f"{area}/stage"]})
    return sorted([name, *row[:5], row[7]] for name, row in copies.trees.of_tar(data).items())


def test_every_kind_of_user_makes_the_same_layer(as_user: User) -> None:
    context = fill(as_user.tmp / "copying", "a", "d/e", "d/f/g", "d/l>/etc/passwd")
    for path in (context, *context.rglob("*")):
        os.chown(path, as_user.uid, as_user.gid, follow_symlinks=False)
    lower = fill(as_user.tmp / "lower", "app/d/x")
    try:
        made = as_user.call(_copy_as, as_user.kind, context, [lower])
        fields = {"chown": "7:8", "chmod": "u=rwX,go=rX"}
        assert made == hashlib.sha256(copies.layer(context, ["d", "a"], "/app/", [lower], OWNERS, **fields)).hexdigest()
    finally:
        shutil.rmtree(context)
        shutil.rmtree(lower)


def test_a_stages_owners_stay_on_every_rung(as_user: User) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, uid, mode in (("f", 33, 0o640), ("g", 1000, 0o4755)):
            entry = tarfile.TarInfo(name)
            entry.uid, entry.gid, entry.mode = uid, uid + 1, mode
            tar.addfile(entry)
    blob = as_user.tmp / "blob"
    blob.write_bytes(out.getvalue())
    blob.chmod(0o644)
    try:
        rows = as_user.call(_stage_as, as_user.kind, blob, as_user.tmp)
    finally:
        blob.unlink()
    assert rows == [
        ["x", "dir", "0o755", 0, 0, 0, {}], ["x/f", "file", "0o640", 33, 34, 0, {}], ["x/g", "file", "0o4755", 1000, 1001, 0, {}],
    ]  # fmt: skip


def test_the_worker_loads_little() -> None:
    code = ("import sys; before = set(sys.modules); import jupyter_containers.build.worker, jupyter_containers.build.copying; "
            "print(*(set(sys.modules) - before))")  # fmt: skip
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"IPython", "dataclasses", "inspect", "pathlib", "subprocess", "zstandard", "tarfile", "difflib", "urllib3"}
    assert heavy & set(said) == set()
    assert not any(name.startswith(("jupyter_containers.engine", "jupyter_containers.run")) for name in said)
    assert len(said) < 75
