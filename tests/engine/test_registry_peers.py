"""Images through a real registry, from and to skopeo, umoci, podman and docker: equal digests, equal trees."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from jupyter_containers.errors import (
    ImageNotFound,
    InvalidArgument,
    RegistryDenied,
    RegistryUnreachable,
    WrongPlatform,
)
from jupyter_containers.image import media
from jupyter_containers.image.archive import load
from jupyter_containers.image.imported import import_root_tar
from jupyter_containers.image.registry.access import Access, own
from jupyter_containers.image.registry.client import Registry
from jupyter_containers.image.registry.login import login, logout
from jupyter_containers.image.registry.pull import pull
from jupyter_containers.image.registry.push import push
from jupyter_containers.image.registry.secret import Secret
from jupyter_containers.image.store import ImageStore
from tests.rigs import registry as rigs
from tests.rigs import relay, tokens
from tests.rigs.abilities import must, need_program
from tests.rigs.dockerd import docker
from tests.rigs.registry import PASSWORD, USER, Rig
from tests.rigs.users import User

Path_ = str | Path


@pytest.fixture(scope="module")
def plain() -> Iterator[Rig]:
    with rigs.running() as rig:
        yield rig


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(docker_config=tmp_path / "docker" / "config.json")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return open_store(tmp_path / "home")


def open_store(home: Path) -> ImageStore:
    if os.geteuid() == 0:
        return ImageStore(home, "root")
    return ImageStore(home, "rootless-single", lambda argv: ["unshare", "-Ur", *argv])


def run(*words: Path_, **options: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def skopeo(*words: Path_) -> str:
    return run("skopeo", "--insecure-policy", *words)


def remote_digest(rig: Rig, name: str) -> str:
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{rig.host}/{name}")
    return "sha256:" + hashlib.sha256(raw.encode()).hexdigest()


def odd_tar() -> bytes:
    """Owners, modes, a set-uid bit, links, a fifo, an attribute: what a round trip could lose."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def put(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mtime = kind, len(data), 1_600_000_000
            for field, value in fields.items():
                setattr(entry, field, value)
            tar.addfile(entry, BytesIO(data))

        put("etc", tarfile.DIRTYPE, mode=0o755)
        put("etc/one", data=b"1", mode=0o640, uid=12, gid=34)
        put("etc/two", tarfile.LNKTYPE, linkname="etc/one")
        put("etc/three", tarfile.SYMTYPE, linkname="../etc/one", mode=0o777)
        put("su", data=b"#!/bin/sh\n", mode=0o4755)
        put("tmp", tarfile.DIRTYPE, mode=0o1777)
        put("pipe", tarfile.FIFOTYPE, mode=0o600, uid=7)
        put("gone", data=b"x", mode=0o644, pax_headers={"SCHILY.xattr.user.note": "kept"})
    return out.getvalue()


def whiteout_tar() -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in (".wh.gone", "etc/.wh.two"):
            tar.addfile(tarfile.TarInfo(name), BytesIO())
    return out.getvalue()


def odd_archive(folder: Path) -> Path:
    """An oci-archive of two layers, made by umoci and skopeo."""
    need_program("umoci")
    for number, data in enumerate((odd_tar(), whiteout_tar())):
        (folder / f"{number}.tar").write_bytes(data)
    run("umoci", "init", "--layout", folder / "layout")
    run("umoci", "new", "--image", f"{folder / 'layout'}:it")
    for number in range(2):
        run("umoci", "raw", "add-layer", "--image", f"{folder / 'layout'}:it", folder / f"{number}.tar")
    skopeo("copy", "-q", f"oci:{folder / 'layout'}:it", f"oci-archive:{folder / 'odd.tar'}:odd:1")
    return folder / "odd.tar"


def tree(root: Path, skip: Sequence[str] = ()) -> dict[str, tuple[object, ...]]:
    """What matters of every file below *root*."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name in skip:
            continue
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = os.readlink(path) if stat.S_ISLNK(kind) else path.read_bytes() if stat.S_ISREG(kind) else ""
        notes = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
                 if n.startswith("user.") and "overlay" not in n and "rootlesscontainers" not in n}  # fmt: skip
        links = status.st_nlink if stat.S_ISREG(kind) else 1
        made = 0 if stat.S_ISCHR(kind) else int(status.st_mtime)  # a whiteout has the time of its unpacking
        found[name] = (status.st_mode, status.st_uid, status.st_gid, content, links, str(notes), made)
    return found


# --- skopeo and umoci ---


def test_what_skopeo_pushed_is_pulled_and_pushed_back_with_its_digest(
    plain: Rig, store: ImageStore, access: Access, busybox_docker_archive: Path
) -> None:
    skopeo(
        "copy",
        "-q",
        "--dest-tls-verify=false",
        f"docker-archive:{busybox_docker_archive}",
        f"docker://{plain.host}/skopeo/busybox:1",
    )
    pulled = pull(store, f"{plain.host}/skopeo/busybox:1", access)[0]
    assert pulled.digest == pulled.image.target.digest == remote_digest(plain, "skopeo/busybox:1")
    store.tag(f"{plain.host}/skopeo/busybox:1", f"{plain.host}/ours/busybox:2")
    pushed = push(store, f"{plain.host}/ours/busybox:2", access)[0]
    assert pushed.digest == pulled.digest == remote_digest(plain, "ours/busybox:2")


def test_what_we_pushed_is_what_skopeo_gets(plain: Rig, store: ImageStore, access: Access, tmp_path: Path) -> None:
    image = load(store, odd_archive(tmp_path))[0]
    store.tag("odd:1", f"{plain.host}/odd:1")
    pushed = push(store, f"{plain.host}/odd:1", access)[0]
    assert pushed.digest == image.target.digest
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{plain.host}/odd:1", f"oci:{tmp_path / 'back'}:1")
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == image.target.digest
    again = open_store(tmp_path / "again")
    assert pull(again, f"{plain.host}/odd:1", access)[0].image.id == image.id


def test_umoci_and_skopeo_read_what_was_pulled_in_place_and_see_our_tree(
    plain: Rig, store: ImageStore, access: Access, tmp_path: Path
) -> None:
    load(store, odd_archive(tmp_path))
    store.tag("odd:1", f"{plain.host}/tree:1")
    push(store, f"{plain.host}/tree:1", access)
    fresh = open_store(tmp_path / "fresh")
    image = pull(fresh, f"{plain.host}/tree:1", access)[0].image
    place = tmp_path / "fresh" / "images"
    name = f"{plain.host}/tree:1"
    said = json.loads(skopeo("inspect", "--raw", f"oci:{place}:{name}"))
    assert said["config"]["digest"] == image.id
    if os.geteuid() == 0:
        skopeo("copy", "-q", f"oci:{place}:{name}", f"oci:{tmp_path / 'copy'}:it")
        run("umoci", "unpack", "--image", f"{tmp_path / 'copy'}:it", tmp_path / "bundle")
        want = tree(tmp_path / "bundle" / "rootfs")
        for layer in (path for path in fresh.layers(image)):
            for path, row in tree(layer, skip=("gone", "etc/two", "etc")).items():
                assert want[path][:4] == row[:4]
        assert "gone" not in want and "etc/two" not in want
        assert {"su", "pipe", "etc/one", "etc/three"} <= set(want)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressions_of_skopeo(
    plain: Rig, store: ImageStore, access: Access, busybox_oci_archive: Path, kind: str
) -> None:
    target = f"{plain.host}/compressed/{kind}:1"
    skopeo(
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--dest-compress",
        f"--dest-compress-format={kind}",
        f"oci-archive:{busybox_oci_archive}",
        f"docker://{target}",
    )
    image = pull(store, target, access)[0].image
    assert any((path / "bin" / "busybox").exists() for path in store.layers(image))
    store.tag(target, f"{plain.host}/compressed/back:{kind}")
    assert push(store, f"{plain.host}/compressed/back:{kind}", access)[0].digest == image.target.digest


def test_an_uncompressed_layer_is_pushed_as_it_is(
    plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path, tmp_path: Path
) -> None:
    image = import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/raw", tag="1")
    assert push(store, f"{plain.host}/raw:1", access)[0].digest == image.target.digest == remote_digest(plain, "raw:1")
    assert pull(open_store(tmp_path / "b"), f"{plain.host}/raw:1", access)[0].image.id == image.id


# --- podman ---


def podman(folder: Path, *words: Path_) -> str:
    need_program("podman")
    where = [
        "--root",
        folder / "root",
        "--runroot",
        folder / "run",
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "none",
    ]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "REGISTRY_AUTH_FILE": str(folder / "none.json"),
        "TMPDIR": str(folder),
    }
    (folder / "none.json").write_text("{}")
    return run("podman", *where, *words, env=environment)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Podman wants its folders to have short names."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_podman_pulls_what_we_pushed_and_pushes_what_we_pull(
    as_user: User, plain: Rig, store: ImageStore, access: Access, tmp_path: Path, short_folder: Path
) -> None:
    image = load(store, odd_archive(tmp_path))[0]
    store.tag("odd:1", f"{plain.host}/podman:1")
    push(store, f"{plain.host}/podman:1", access)
    folder = short_folder
    got = podman(folder, "pull", "--quiet", "--tls-verify=false", f"{plain.host}/podman:1").split()[-1]
    assert f"sha256:{got}" == image.id
    assert image.target.digest in podman(folder, "image", "inspect", "--format", "{{.RepoDigests}}", got)
    podman(folder, "push", "--quiet", "--tls-verify=false", got, f"docker://{plain.host}/podman:2")
    fresh = open_store(tmp_path / "fresh")
    back = pull(fresh, f"{plain.host}/podman:2", access)[0].image
    assert back.config.diff_ids == image.config.diff_ids
    for mine, theirs in zip(store.layers(image), fresh.layers(back), strict=True):
        assert tree(mine) == tree(theirs)


# --- docker ---


@pytest.fixture
def through(dockerd: Path, plain: Rig) -> Iterator[Path]:
    with relay.into_namespace_of(dockerd, int(plain.host.rpartition(":")[2])):
        yield dockerd


def test_docker_pulls_what_we_pushed_with_its_digest(
    through: Path, plain: Rig, store: ImageStore, access: Access, tmp_path: Path
) -> None:
    image = load(store, odd_archive(tmp_path))[0]
    store.tag("odd:1", f"{plain.host}/for-docker:1")
    pushed = push(store, f"{plain.host}/for-docker:1", access)[0]
    said = docker(through, "pull", f"{plain.host}/for-docker:1")
    assert f"Digest: {pushed.digest}" in said
    seen = json.loads(docker(through, "image", "inspect", f"{plain.host}/for-docker:1"))[0]
    assert seen["RootFS"]["Layers"] == list(image.config.diff_ids)
    assert seen["RepoDigests"] == [f"{plain.host}/for-docker@{pushed.digest}"]
    assert seen["Id"] in (image.id, pushed.digest)


def test_what_docker_pushed_is_pulled_and_said_in_dockers_words(
    through: Path, plain: Rig, as_root: User, tmp_path: Path
) -> None:
    name = f"{plain.host}/by-docker"
    docker(through, "tag", "busybox:test", name)
    said = docker(through, "push", name)
    digest = said.rpartition("digest: ")[2].split()[0]
    docker(through, "rmi", name)
    theirs = docker(through, "pull", name)
    user = as_root.with_store(f"words-{os.getpid()}")
    ours = user.run("jupyter-containers", "pull", name).stdout
    assert f"Digest: {digest}" in ours
    # docker has the layers of busybox:test already; its own lines for a layer that is not there are known.
    layers = ("Already exists", "Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete")
    assert [line for line in ours.splitlines() if not line.endswith(layers)] == [
        line
        for line in theirs.replace("Image is up to date for", "Downloaded newer image for").splitlines()
        if not line.endswith(layers)
    ]
    again = user.run("jupyter-containers", "pull", name).stdout
    assert "Status: Image is up to date for" in again
    assert user.run("jupyter-containers", "pull", "-q", name).stdout == f"{name}:latest\n"
    events = [
        json.loads(line)
        for line in user.run("jupyter-containers", "pull", "--progress", "json", name).stdout.splitlines()
    ]
    assert events[0] == {"status": "Pulling from by-docker", "id": "latest"}
    user.run("jupyter-containers", "tag", name, f"{name}:two")
    mine = user.run("jupyter-containers", "push", f"{name}:two").stdout
    docker(through, "tag", name, f"{name}:three")
    assert shape(mine).replace("two:", "N:") == shape(docker(through, "push", f"{name}:three")).replace("three:", "N:")


def shape(said: str) -> str:
    """Without the lines about waiting, which depend on the moment."""
    lines = [line for line in said.splitlines() if not line.endswith((": Waiting", ": Preparing"))]
    return "\n".join(line.split(" digest:")[0] for line in lines)


@pytest.fixture
def as_root(rig_folder: Path) -> User:
    from tests.rigs import users

    must(os.geteuid() == 0, "root")
    return users.make("root", rig_folder / "root")


# --- TLS, passwords, tokens ---


def test_tls_with_a_ca_of_its_own(access: Access, store: ImageStore, busybox_root_tar: Path, tmp_path: Path) -> None:
    with rigs.running(tls=True) as rig:
        import_root_tar(store, busybox_root_tar, repository=f"{rig.host}/tls", tag="1")
        with pytest.raises(RegistryUnreachable, match="certificate is not trusted"):
            push(store, f"{rig.host}/tls:1", access)
        trusting = replace(access, certificates=(rig.certificates,))
        pushed = push(store, f"{rig.host}/tls:1", trusting)[0]
        for number, how in enumerate(
            (trusting, replace(access, insecure=(rig.host,)), replace(access, insecure=("127.0.0.0/8",)))
        ):
            assert pull(open_store(tmp_path / str(number)), f"{rig.host}/tls:1", how)[0].digest == pushed.digest
        with pytest.raises(RegistryUnreachable, match="certificate is not trusted"):
            pull(store, f"{rig.host}/tls:1", access)


def test_a_password(access: Access, store: ImageStore, busybox_root_tar: Path, tmp_path: Path) -> None:
    with rigs.running(password=True) as rig:
        image = import_root_tar(store, busybox_root_tar, repository=f"{rig.host}/private", tag="1")
        with pytest.raises(RegistryDenied, match="push access denied"):
            push(store, f"{rig.host}/private:1", access)
        with pytest.raises(RegistryDenied, match="unauthorized"):
            login(rig.host, USER, Secret("wrong"), access)
        assert login(rig.host, USER, Secret(PASSWORD), access) == ""
        push(store, f"{rig.host}/private:1", access)
        assert pull(open_store(tmp_path / "b"), f"{rig.host}/private:1", access)[0].image.id == image.id
        # The file is docker's: skopeo reads it, and what skopeo wrote is read by us.
        skopeo("inspect", "--tls-verify=false", "--authfile", access.docker_config, f"docker://{rig.host}/private:1")
        assert logout(rig.host, access)
        assert not logout(rig.host, access)
        with pytest.raises(RegistryDenied, match="pull access denied"):
            pull(open_store(tmp_path / "c"), f"{rig.host}/private:1", access)
        skopeo("login", "--tls-verify=false", "--authfile", access.docker_config, "-u", USER, "-p", PASSWORD, rig.host)
        assert pull(open_store(tmp_path / "d"), f"{rig.host}/private:1", access)[0].image.id == image.id
        assert PASSWORD not in rig.log()


def test_tokens(access: Access, store: ImageStore, busybox_root_tar: Path, tmp_path: Path) -> None:
    with tokens.running(tmp_path) as server, rigs.running(token_realm=server.realm, folder=tmp_path) as rig:
        image = import_root_tar(store, busybox_root_tar, repository=f"{rig.host}/public/a", tag="1")
        with pytest.raises(RegistryDenied, match="push access denied"):
            push(store, f"{rig.host}/public/a:1", access)
        logged_in = replace(access, docker_config=rigs.docker_config(tmp_path / "in", rig.host))
        push(store, f"{rig.host}/public/a:1", logged_in)
        store.tag(f"{rig.host}/public/a:1", f"{rig.host}/private/b:1")
        events: list[dict[str, object]] = []
        push(store, f"{rig.host}/private/b:1", logged_in, on_event=events.append)
        assert "Mounted from public/a" in {event.get("status") for event in events}
        assert server.asked[-1] == (["repository:private/b:pull,push", "repository:public/a:pull"], True)
        anonymous = open_store(tmp_path / "anonymous")
        assert pull(anonymous, f"{rig.host}/public/a:1", access)[0].image.id == image.id
        assert server.asked[-1] == (["repository:public/a:pull"], False)
        with pytest.raises(RegistryDenied, match="pull access denied"):
            pull(anonymous, f"{rig.host}/private/b:1", access)
        assert not any(token in json.dumps(events, default=str) for token in server.issued)


# --- pushing ---


def test_a_second_push_sends_nothing(plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path) -> None:
    import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/twice", tag="1")
    push(store, f"{plain.host}/twice:1", access)
    events: list[dict[str, object]] = []
    before = plain.log().count("http.request.method=POST")
    push(store, f"{plain.host}/twice:1", access, on_event=events.append)
    assert "Layer already exists" in {event.get("status") for event in events}
    assert plain.log().count("http.request.method=POST") == before


def test_a_large_blob_goes_in_chunks(plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path) -> None:
    image = import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/chunks", tag="1")
    digest = image.manifest.layers[0].digest.partition(":")[2]
    for link in plain.folder.glob(f"data/docker/registry/v2/repositories/*/_layers/sha256/{digest}"):
        subprocess.run(["rm", "-r", str(link)], check=True)  # another test pushed it: nobody has it now
    subprocess.run(["rm", "-rf", str(plain.blobs / digest[:2] / digest)], check=True)
    before = plain.log().count("PATCH")
    push(store, f"{plain.host}/chunks:1", access, chunk=300_000)
    assert plain.log().count("PATCH") - before >= image.manifest.layers[0].size // 300_000
    stored = plain.blobs / digest[:2] / digest / "data"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest


def test_every_tag_of_a_repository(
    plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path, tmp_path: Path
) -> None:
    import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/tags", tag="a")
    for tag in ("b", "c"):
        store.tag(f"{plain.host}/tags:a", f"{plain.host}/tags:{tag}")
    assert len(push(store, f"{plain.host}/tags", access, all_tags=True)) == 3
    fresh = open_store(tmp_path / "fresh")
    assert sorted(one.name.tag for one in pull(fresh, f"{plain.host}/tags", access, all_tags=True)) == ["a", "b", "c"]
    with pytest.raises(InvalidArgument, match="all-tags"):
        pull(fresh, f"{plain.host}/tags:a", access, all_tags=True)


# --- names, platforms, mirrors ---


def test_a_digest_pins(plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path, tmp_path: Path) -> None:
    import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/pin", tag="1")
    digest = push(store, f"{plain.host}/pin:1", access)[0].digest
    fresh = open_store(tmp_path / "fresh")
    image = pull(fresh, f"{plain.host}/pin@{digest}", access)[0].image
    assert (image.tags, image.digests) == ([], [f"{plain.host}/pin@{digest}"])
    assert fresh.resolve(f"{plain.host}/pin@{digest}").id == image.id


def test_an_index_gives_the_platform_that_was_asked_for(
    plain: Rig, access: Access, store: ImageStore, tmp_path: Path
) -> None:
    entries = []
    for architecture in ("amd64", "arm64"):
        tar = BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as made:
            made.addfile(tarfile.TarInfo(architecture), BytesIO())
        (tmp_path / "t.tar").write_bytes(tar.getvalue())
        source = open_store(tmp_path / architecture)
        image = import_root_tar(source, tmp_path / "t.tar", repository=f"{plain.host}/multi", tag=architecture)
        if image.platform.architecture != architecture:
            raw = image.config.raw | {"architecture": architecture}
            with source.layout.adding() as area:
                config = area.put(media.dumps(raw))
                described = replace(image.manifest.config, digest=config.digest, size=config.size)
                manifest = replace(image.manifest, config=described)
                from jupyter_containers.image import reference

                image = source.add(area, manifest.to_bytes(), [reference.parse(f"{plain.host}/multi:{architecture}")])
        push(source, f"{plain.host}/multi:{architecture}", access)
        entries.append({**image.target.to_json(), "platform": {"os": "linux", "architecture": architecture}})
    index = media.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries})
    with Registry(own(plain.host, access), "multi", access, actions="pull,push") as registry:
        registry.put_manifest("latest", index, media.OCI_INDEX)
    for platform, architecture in (("linux/arm64", "arm64"), ("", "amd64"), ("linux/amd64", "amd64")):
        pulled = pull(store, f"{plain.host}/multi", access, platform=platform)[0]
        assert pulled.image.platform.architecture == architecture
        assert pulled.digest == "sha256:" + hashlib.sha256(index).hexdigest()
    with pytest.raises(WrongPlatform, match="no matching manifest for linux/s390x"):
        pull(store, f"{plain.host}/multi", access, platform="linux/s390x")
    with pytest.raises(WrongPlatform):
        pull(store, f"{plain.host}/multi:arm64", access, platform="linux/amd64")


def test_a_mirror_is_asked_first_and_the_name_stays(
    plain: Rig, store: ImageStore, access: Access, busybox_root_tar: Path, tmp_path: Path
) -> None:
    import_root_tar(store, busybox_root_tar, repository=f"{plain.host}/library/thing", tag="latest")
    push(store, f"{plain.host}/library/thing", access)
    fresh = open_store(tmp_path / "fresh")
    mirrors = ("http://127.0.0.1:1", f"http://{plain.host}")
    events: list[dict[str, object]] = []
    image = pull(fresh, "thing", replace(access, mirrors=mirrors), on_event=events.append)[0].image
    assert image.tags == ["thing:latest"]
    assert any("Mirror 127.0.0.1:1 not used" in str(event.get("status")) for event in events)


def test_what_is_not_there(plain: Rig, store: ImageStore, access: Access) -> None:
    with pytest.raises(ImageNotFound, match=f"manifest for {plain.host}/nothing:latest not found"):
        pull(store, f"{plain.host}/nothing", access)
    with pytest.raises(ImageNotFound, match="An image does not exist locally with the tag"):
        push(store, f"{plain.host}/nothing", access)


# --- every kind of user, by the engine ---


def test_a_user_pulls_runs_and_pushes_back(as_user: User, plain: Rig, busybox_root_tar: Path) -> None:
    source = f"{plain.host}/users/{as_user.kind}"
    user = as_user.with_store(f"registry-{os.getpid()}")
    user.call(_import_and_push, str(busybox_root_tar), source)
    other = as_user.with_store(f"registry-{os.getpid()}-b")
    assert other.call(_pull_run_push, source) == remote_digest(plain, f"users/{as_user.kind}:back")


def _import_and_push(tar: str, name: str) -> None:
    from jupyter_containers import from_env

    images = from_env().images
    images.import_image(tar, repository=name, tag="latest")
    images.push(name)


def _pull_run_push(name: str) -> str:
    from jupyter_containers import from_env

    engine = from_env()
    output = engine.containers.run(name, ["stat", "-c", "%U", "/root"], remove=True, network="none")
    assert output == b"root\n"
    image = engine.images.get(name)
    image.tag(name, "back")
    digest = engine.images.push(name, "back")
    assert [digest] == sorted({each.rpartition("@")[2] for each in image.found.digests})
    engine.runtime.quit()
    return digest
