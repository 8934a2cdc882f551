"""What a step wrote becomes a layer: the tar of it, unpacked upon what is below, is what overlayfs showed."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from jupyter_containers.build import places
from jupyter_containers.build.upperlayer import UpperPacker
from jupyter_containers.errors import InvalidArgument, LayerError
from jupyter_containers.image.apply import OVERRIDE_STAT, opaque_attribute
from jupyter_containers.image.program import Program
from tests.rigs import trees
from tests.rigs.abilities import must

OPAQUE = opaque_attribute("root")
EPOCH = 1_600_000_000
BELOW = (
    "mkdir -p a/b gone/in; echo 1 >a/f; echo 2 >a/b/g; echo 3 >gone/x; echo 4 >kept; ln -s a link; echo 5 >gone/in/y"
)
STEPS = {
    "nothing": "true",
    "add, change, remove": "echo n >a/new; echo more >>a/b/g; rm kept link; mkdir n; echo q >n/q",
    "a directory removed": "rm -r gone",
    "a directory made anew": "rm -r gone; mkdir gone; echo other >gone/x",
    "a directory becomes a file": "rm -r a; echo file >a",
    "a file becomes a directory": "rm kept; mkdir kept; echo w >kept/w",
    "a link becomes a directory": "rm link; mkdir link; echo w >link/w",
    "a directory becomes a link": "rm -r gone; ln -s a gone",
    "renamed": "mv kept moved; mkdir to; mv a/f to/",
    "removed what was added": "echo x >made; rm made",
    "linked and owned": "ln a/f a/hard; chown 7:8 kept; chmod 4755 kept; mkfifo p; touch -d 1990-01-01 old",
    "holes": "dd if=/dev/zero of=sparse bs=1 count=0 seek=5M 2>/dev/null; echo x >>sparse",
    "attributes": "setfattr -n user.note -v hi a/f || true; chmod 1777 a",
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    must(os.geteuid() == 0, "root mounts the overlay that is compared with")
    found = {name: tmp_path / name for name in ("low", "upper", "work", "merged")}
    for path in found.values():
        path.mkdir()
    subprocess.run(BELOW, shell=True, cwd=found["low"], check=True)
    return found


def mounted(upper: Path, low: Path, work: Path, merged: Path, script: str) -> trees.Tree:
    """What *script* leaves, as overlayfs shows it."""
    options = f"lowerdir={low},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        subprocess.run(script, shell=True, cwd=merged, check=True)
        return plain(merged)
    finally:
        subprocess.run(["umount", merged], check=True)


def plain(root: Path) -> trees.Tree:
    """Names, kinds, modes, owners and contents; not times."""
    data = subprocess.run(["tar", "-C", root, "--xattrs", "-c", "."], capture_output=True, check=True).stdout
    return {name: row[:3] + row[3:8] for name, row in trees.of_tar(data).items()}


def packed(upper: Path, low: Path, creator: tuple[int, int] = (0, 0)) -> bytes:
    out = io.BytesIO()
    UpperPacker(os.fsencode(upper), [os.fsencode(low)], OPAQUE, EPOCH, out.write, creator).run()
    return out.getvalue()


@pytest.mark.parametrize("name", STEPS)
def test_the_layer_is_what_was_seen(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    """As the unpacked blob, and as the folder that is taken as it is."""
    seen = mounted(**folders, script=STEPS[name])
    (tmp_path / "tar").write_bytes(packed(folders["upper"], folders["low"]))
    with Program() as program:
        order = {"verb": "unpack", "blob": f"{tmp_path}/tar", "target": f"{tmp_path}/layer", "owners": "root"}
        result = program.call(order)
        settle = {"verb": "settle", "target": f"{tmp_path}/layer", "owners": "root", "implied": result["implied"]}
        program.call({**settle, "whiteouts": result["whiteouts"], "lower": [str(folders["low"])]})
    for layer in (tmp_path / "layer", folders["upper"]):
        for folder in ("again", "work2"):
            (tmp_path / folder).mkdir(exist_ok=True)
        options = f"lowerdir={layer}:{folders['low']}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, folders["merged"]], check=True)
        try:
            assert plain(folders["merged"]) == seen
        finally:
            subprocess.run(["umount", folders["merged"]], check=True)


@pytest.mark.parametrize("name", STEPS)
def test_the_same_step_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    must(os.geteuid() == 0, "root mounts the overlay")
    found = []
    for run in ("one", "two"):
        folder = {part: tmp_path / run / part for part in ("low", "upper", "work", "merged")}
        for path in folder.values():
            path.mkdir(parents=True)
        subprocess.run(BELOW, shell=True, cwd=folder["low"], check=True)
        mounted(**folder, script=STEPS[name])
        found.append(packed(folder["upper"], folder["low"]))
    assert found[0] == found[1]


def test_nothing_is_younger_than_the_epoch(folders: dict[str, Path]) -> None:
    mounted(**folders, script="echo x >new; touch -d 1990-01-01 old; rm kept; ln -s x l; mkdir d; echo y >d/f")
    with tarfile.open(fileobj=io.BytesIO(packed(folders["upper"], folders["low"]))) as found:
        times = {member.name: member.mtime for member in found}
    assert times.pop("old") == 631152000
    assert set(times.values()) == {EPOCH}
    files = [path.lstat() for path in folders["upper"].rglob("*") if not path.is_char_device()]
    assert {status.st_mtime for status in files} == {float(EPOCH), 631152000.0}


def test_sockets_are_left_out(folders: dict[str, Path]) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folders["upper"] / "s"))
    assert b"s\0" not in packed(folders["upper"], folders["low"])[:1]
    assert not (folders["upper"] / "s").exists()


def test_a_name_that_would_remove_something_is_refused(folders: dict[str, Path]) -> None:
    (folders["upper"] / ".wh.kept").write_text("")
    with pytest.raises(LayerError, match="begins with .wh."):
        packed(folders["upper"], folders["low"])


def test_with_one_id_what_is_new_is_the_users(folders: dict[str, Path]) -> None:
    mounted(**folders, script="echo x >new; echo y >>kept; mkdir d; ln -s x l")
    with tarfile.open(fileobj=io.BytesIO(packed(folders["upper"], folders["low"], (1000, 100)))) as found:
        owners = {member.name: (member.uid, member.gid) for member in found}
    assert owners == {"new": (1000, 100), "kept": (0, 0), "d": (1000, 100), "l": (1000, 100)}
    assert os.getxattr(folders["upper"] / "new", OVERRIDE_STAT) == b"1000:100:0o644"


# --- places ---


@pytest.fixture
def layers(tmp_path: Path) -> list[bytes]:
    """Two layers, top first: links of the image lead out of it, if one follows them."""
    script = {
        "top": "mkdir -p a real; echo t >a/t; ln -s /real way; ln -s ../../../../etc out; echo f >file",
        "low": "mkdir -p a real/sub; echo l >a/l",
    }
    for name, text in script.items():
        (tmp_path / name).mkdir()
        subprocess.run(text, shell=True, cwd=tmp_path / name, check=True)
    return [os.fsencode(tmp_path / name) for name in script]


@pytest.mark.parametrize(
    ("path", "found"),
    [("/a", ["top/a", "low/a"]), ("/way/sub", ["low/real/sub"]), ("file", ["top/file"]), ("/none", []), ("/", ["top", "low"]),
     ("/out/passwd", []), ("/way/../a/l", ["low/a/l"]), ("../../a/t", ["top/a/t"])],
)  # fmt: skip
def test_where_a_path_leads(layers: list[bytes], tmp_path: Path, path: str, found: list[str]) -> None:
    """ISOLATION 86: a link in a stage leads nowhere but in the stage."""
    assert [os.path.relpath(os.fsdecode(one), tmp_path) for one in places.locate(layers, path, OPAQUE)] == [
        one if one != "" else "." for one in found
    ]


def test_what_has_to_be_made_for_a_mount(layers: list[bytes]) -> None:
    assert places.missing(layers, ["/a/x/y", "/way/z", "/real", "/a/x"], OPAQUE) == ["a/x", "a/x/y", "real/z"]


def test_a_folder_is_not_made_of_a_file(layers: list[bytes]) -> None:
    with pytest.raises(InvalidArgument, match="/file: cannot make the folder: there is a file"):
        places.folders(layers, "/file/x", OPAQUE)


def test_what_was_made_for_a_mount_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    """ISOLATION 88, CVE-2024-23652: a link that came to stand on the way is not followed."""
    outside, upper = tmp_path / "outside", tmp_path / "upper"
    for path in (outside / "victim", upper / "m/n", upper / "kept/x"):
        path.mkdir(parents=True)
    (upper / "kept/x/own").write_text("the step's")
    (upper / "file").touch()
    (upper / "full").write_text("the step's")
    (upper / "evil").symlink_to(outside)
    stubs = ["m", "m/n", "kept", "kept/x", "file", "full", "evil/victim", "none"]
    places.take_away(os.fsencode(upper), stubs, OPAQUE)
    assert {path.name for path in upper.iterdir()} == {"kept", "full", "evil"}
    assert (outside / "victim").is_dir()
