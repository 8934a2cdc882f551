"""One rich image through every engine and back: equal digests, and equal trees wherever it is unpacked."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import dockerd as docker_rig
from tests.rigs import trees
from tests.rigs.abilities import need_program
from tests.rigs.users import User

_NAME = "docker.io/library/rich:1"
_STUBS = ("etc/hostname", "etc/hosts", "etc/resolv.conf", ".dockerenv", "etc/mtab", "dev/console", "dev/pts", "dev/shm")


@pytest.fixture(scope="session")
def rich(rig_folder: Path) -> str:
    """The image as an OCI layout that every user may read, made by no engine."""
    need_program("skopeo")
    return trees.rich_layout(rig_folder / "rich", _NAME)


def skopeo(*words: str) -> bytes:
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="session", params=["docker-archive", "oci-archive"])
def form(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="session")
def theirs(rich: str, form: str, rig_folder: Path) -> Path:
    """The image as skopeo's archive."""
    path = rig_folder / f"rich.{form}.tar"
    name = "rich:1" if form == "docker-archive" else _NAME
    path.unlink(missing_ok=True)
    digests = ["--preserve-digests"] if form == "oci-archive" else []
    skopeo("copy", "-q", *digests, rich, f"{form}:{path}:{name}")
    return path


def _load_save_export(archive: str, target: str, form: str) -> dict[str, Any]:
    """Load, save again, and export a container that never ran."""
    from jupyter_containers import from_env

    engine = from_env()
    told: list[str] = []
    [image] = engine.images.load(archive, on_event=lambda event: told.append(event.get("status", "")))
    Path(target).write_bytes(b"".join(engine.images.save(["rich:1"], form)))
    container = engine.containers.create("rich:1", ["none"])
    Path(target + ".root").write_bytes(b"".join(container.export()))
    container.remove()
    engine.images.remove("rich:1")
    return {"id": image.id, "manifest": image.found.target.digest, "layers": image.attrs["RootFS"]["Layers"],
            "blobs": [layer.digest for layer in image.found.manifest.layers], "tags": image.tags, "told": told}  # fmt: skip


def _expected(kind: str) -> trees.Tree:
    """What the image is as a tree, written down by hand from ``rigs.trees``."""
    owned = kind != "nosubids"
    linked = ["bin/su", "bin/su-too"], ["home/user/new", "home/user/new-too"]
    found = trees.of_tar(trees.rich_layers()[0]) | trees.of_tar(gzip.decompress(trees.rich_layers()[1]))
    gone = ("gone", "opaque/old", "swap/", "etc/removed")
    found = {name: row for name, row in found.items() if not name.startswith(gone) and ".wh." not in name}
    assert [found[names[0]][-1] for names in linked] == [*linked]
    if not owned:  # a symbolic link has no attribute to record its owner in
        found["home/link"] = [*found["home/link"][:2], 0, 0, *found["home/link"][4:]]
    return found


def test_an_archive_of_skopeos_is_saved_and_unpacked_the_same(
    as_user: User, theirs: Path, form: str, rich: str
) -> None:
    target = as_user.home / f"ours.{form}.tar"
    ours = as_user.call(_load_save_export, theirs, target, form)
    raw = skopeo("inspect", "--raw", rich)
    manifest = json.loads(raw)
    assert ours["tags"] == ["rich:1"]
    assert ours["layers"] == json.loads(skopeo("inspect", "--config", "--raw", rich))["rootfs"]["diff_ids"]
    if form == "oci-archive":  # a docker-archive has no manifest, and skopeo writes its layers uncompressed
        assert ours["id"] == manifest["config"]["digest"]
        assert ours["blobs"] == [layer["digest"] for layer in manifest["layers"]]
        back = skopeo("inspect", "--raw", f"oci-archive:{target}:{_NAME}")
        assert back == raw
    tree = trees.of_tar(Path(f"{target}.root").read_bytes())
    assert not trees.compared(tree, _expected(as_user.kind), _STUBS)


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_docker_unpacks_what_we_save_to_the_same_tree(as_user: User, theirs: Path, form: str, dockerd: Path) -> None:
    target = as_user.home / f"for-docker.{form}.tar"
    ours = as_user.call(_load_save_export, theirs, target, "docker-archive")
    docker_rig.docker(dockerd, "load", "-q", "-i", str(target))
    [found] = json.loads(docker_rig.docker(dockerd, "image", "inspect", "rich:1"))
    assert (found["Id"], found["RootFS"]["Layers"]) == (ours["id"], ours["layers"])
    exported = as_user.home / "docker.tar"
    docker_rig.docker(dockerd, "create", "--name", "rich", "rich:1", "none")
    docker_rig.docker(dockerd, "export", "-o", str(exported), "rich")
    docker_rig.docker(dockerd, "save", "-o", str(as_user.home / "back.tar"), "rich:1")
    docker_rig.docker(dockerd, "rm", "rich")
    docker_rig.docker(dockerd, "rmi", "rich:1")
    mine, his = (trees.of_tar(path.read_bytes()) for path in (Path(f"{target}.root"), exported))
    for tree in (mine, his):
        tree["home/user/note"][7].pop("user.note", None)  # docker exports only capabilities
        for name in ("dev", "etc", "home", "home/user"):  # times: docker makes stubs, and implied folders anew
            tree[name].pop()
    assert not trees.compared(mine, his, _STUBS)
    again = as_user.call(_load_save_export, as_user.home / "back.tar", as_user.home / "again.tar", "docker-archive")
    assert (again["id"], again["layers"]) == (ours["id"], ours["layers"])


def _keep(archive: str) -> str:
    from jupyter_containers import from_env

    return str(from_env().images.load(archive)[0].tags[0])


def _drop() -> None:
    from jupyter_containers import from_env

    from_env().images.remove("rich:1")


@pytest.fixture
def kept(as_user: User, theirs: Path) -> Any:
    """The image in the user's store."""
    assert as_user.call(_keep, theirs) == "rich:1"
    yield f"{as_user.store}/images:{_NAME}"
    as_user.call(_drop)


def test_skopeo_and_umoci_read_the_store_in_place(as_user: User, kept: str, tmp_path: Path) -> None:
    """As the very user whose store it is; umoci's tree is the expected one."""
    need_program("umoci")
    said = json.loads(as_user.run("skopeo", "inspect", f"oci:{kept}").stdout)
    assert (len(said["Layers"]), said["Labels"]) == (2, {"made": "by hand"})
    bundle = as_user.home / "bundle"
    rootless = [] if as_user.kind == "root" else ["--rootless"]
    as_user.run("umoci", "unpack", *rootless, "--image", kept, str(bundle))
    try:
        packed = as_user.home / "umoci.tar"
        as_user.run("tar", "-C", str(bundle / "rootfs"), "--xattrs", "--xattrs-include=*", "-cf", str(packed), ".")
        found, expected = trees.of_tar(packed.read_bytes()), _expected("root")
    finally:
        as_user.run("chmod", "-R", "u+rwX", str(bundle), check=False)
        as_user.run("rm", "-rf", str(bundle), check=False)
    if as_user.kind != "root":  # umoci records owners in an attribute of its own and can't give capabilities
        found, expected = ({name: row[4:7] for name, row in tree.items()} for tree in (found, expected))
    assert not trees.compared(found, expected, _STUBS)


def test_skopeo_copies_out_of_the_store_with_equal_digests(as_user: User, kept: str, form: str) -> None:
    target = as_user.home / "copied"
    as_user.run("skopeo", "copy", "-q", "--preserve-digests", f"oci:{kept}", f"oci:{target}:x")
    try:
        [entry] = json.loads((target / "index.json").read_text())["manifests"]
        found = json.loads(as_user.run("skopeo", "inspect", "--raw", f"oci:{kept}").stdout)
        copied = json.loads((target / "blobs/sha256" / entry["digest"][7:]).read_text())
        assert copied["config"]["digest"] == found["config"]["digest"]
        assert [layer["digest"] for layer in copied["layers"]] == [layer["digest"] for layer in found["layers"]]
    finally:
        as_user.run("rm", "-rf", str(target), check=False)


def _view() -> dict[str, Any]:
    from jupyter_containers import from_env

    found: dict[str, Any] = from_env().images.get("rich:1").layers(files=True)
    return found


def test_the_layer_view_counts_what_is_there(as_user: User, kept: str) -> None:
    view = as_user.call(_view)
    base, upper = view["Layers"]
    visible = [name for name, row in _expected("root").items() if row[0] != "dir"]
    assert sum(layer["Added"] - layer["Removed"] for layer in view["Layers"]) == len(visible)
    assert (upper["Added"], upper["Changed"], upper["Removed"]) == (3, 2, 5)
    hidden = ("gone/a", "gone/deep/b", "opaque/old", "opaque/kept", "swap/inside", "etc/removed")
    assert base["WastedBytes"] == sum(map(len, hidden)) + len("root:x:0:0::/root:/bin/sh\n")
    assert (upper["WastedBytes"], [layer["CreatedBy"] for layer in view["Layers"]]) == (0, ["RUN base", "RUN upper"])
