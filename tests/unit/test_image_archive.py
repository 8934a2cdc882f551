"""Archives loaded: real ones of docker's and OCI's form, odd but honest ones, and those of ISOLATION 106."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from jupyter_containers.errors import (
    ContainersError,
    DigestMismatch,
    InvalidArchive,
    InvalidImage,
    InvalidReference,
)
from jupyter_containers.image import archive, digest, media
from jupyter_containers.image.archive import load
from jupyter_containers.image.imported import import_root_tar
from jupyter_containers.image.store import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    if os.geteuid() == 0:
        return ImageStore(tmp_path / "home", "root")
    return ImageStore(tmp_path / "home", "rootless-single", lambda argv: ["unshare", "-Ur", *argv])


def tar(members: dict[str, bytes | str]) -> bytes:
    """A tar of files (bytes) and symbolic links (str)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = (
                    (tarfile.LNKTYPE, content[1:]) if content[0] == "=" else (tarfile.SYMTYPE, content)
                )
                made.addfile(info)
            else:
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
    return out.getvalue()


LAYER, OTHER = tar({"etc/motd": b"hello"}), tar({"etc/more": b"more"})


def config(*layers: bytes, **more: Any) -> bytes:
    diff_ids = [digest.of(layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs, "config": {}, **more}).encode()


def saved(tags: object = ("app:1",), layers: tuple[bytes, ...] = (LAYER,), **replaced: Any) -> dict[str, bytes | str]:
    """The members of a docker-archive; *replaced* changes or removes (None) some."""
    described = config(*layers)
    name = digest.of(described)[7:] + ".json"
    paths = [f"{digest.of(layer)[7:]}/layer.tar" for layer in layers]
    row = {"Config": name, "RepoTags": tags, "Layers": paths}
    members: dict[str, Any] = {name: described, **dict(zip(paths, layers, strict=True)),
                               "manifest.json": json.dumps([row]).encode()}  # fmt: skip
    members |= {key.replace("manifest", "manifest.json"): value for key, value in replaced.items()}
    return {key: value for key, value in members.items() if value is not None}


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def is_empty(store: ImageStore) -> bool:
    return (
        not store.list() and not store.layout.unfinished() and not list((store.layout.root / "blobs/sha256").iterdir())
    )


# --- what docker save writes ---


def test_a_docker_archive(store: ImageStore, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    [image] = load(store, put(tmp_path / "a.tar", tar(saved(layers=(LAYER, OTHER)))), told.append)
    assert (image.id, image.tags) == (digest.of(config(LAYER, OTHER)), ["app:1"])
    assert [layer.digest for layer in image.manifest.layers] == [digest.of(LAYER), digest.of(OTHER)]
    top, bottom = store.layers(image)
    assert ((top / "etc/more").read_text(), (bottom / "etc/motd").read_text()) == ("more", "hello")
    assert told[-1] == {"stream": "Loaded image: app:1\n"}


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_an_archive_compressed_as_a_whole_from_a_pipe(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, pack: Any
) -> None:
    reading, writing = os.pipe()
    os.write(writing, pack(tar(saved())))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(archive.sys, "stdin", io.TextIOWrapper(pipe))
        assert load(store, "-")[0].tags == ["app:1"]


def test_compressed_layers_stay_as_found(store: ImageStore) -> None:
    packed = gzip.compress(LAYER)
    members = saved()
    members[f"{digest.of(LAYER)[7:]}/layer.tar"] = packed
    [image] = load(store, io.BytesIO(tar(members)))
    [layer] = image.manifest.layers
    assert (layer.digest, layer.media_type) == (digest.of(packed), f"{media.OCI_LAYER}+gzip")
    [path] = store.layers(image)
    assert (path / "etc/motd").read_text() == "hello"


def test_a_layer_that_occurs_twice_is_a_link_as_docker_writes_it(store: ImageStore) -> None:
    described = config(LAYER, LAYER)
    row = {"Config": "c.json", "RepoTags": None, "Layers": ["a/layer.tar", "b/layer.tar"]}
    members = {"c.json": described, "a/layer.tar": LAYER, "b/layer.tar": "../a/layer.tar",
               "manifest.json": json.dumps([row]).encode()}  # fmt: skip
    [image] = load(store, io.BytesIO(tar(members)))
    assert (len(store.layers(image)), image.tags) == (2, [])
    [again] = load(store, io.BytesIO(tar({**members, "b/layer.tar": "=a/layer.tar"})))
    assert again.id == image.id


def test_several_images_and_names(store: ImageStore) -> None:
    one, two = config(LAYER), config(LAYER, OTHER)
    rows = [{"Config": "1", "RepoTags": ["a:1", "a:2"], "Layers": ["l"]},
            {"Config": "2", "RepoTags": [], "Layers": ["l", "m"]}]  # fmt: skip
    members: dict[str, bytes | str] = {"./1": one, "./2": two, "l": LAYER, "m": OTHER}
    images = load(store, io.BytesIO(tar({**members, "manifest.json": json.dumps(rows).encode()})))
    assert [image.tags for image in images] == [["a:1", "a:2"], []]


def test_real_archives_by_skopeo(store: ImageStore, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        (pytest.fail if os.environ.get("JC_MUST_WORK") == "1" else pytest.skip)("skopeo needed")
    [image] = load(store, io.BytesIO(tar(saved(layers=(LAYER, OTHER)))))
    source = f"oci:{store.layout.root}:docker.io/library/app:1"
    for kind in ("docker-archive", "oci-archive"):
        subprocess.run(["skopeo", "copy", "-q", source, f"{kind}:{tmp_path}/{kind}:new:{kind[0]}"], check=True)
        other = ImageStore(tmp_path / kind[0], store.unpacked.owners, store.unpacked.unshare)
        [found] = load(other, tmp_path / kind)
        assert (found.id, found.tags) == (image.id, [f"new:{kind[0]}"])
        assert [(path / "etc").is_dir() for path in other.layers(found)] == [True, True]


# --- OCI archives ---


def oci(entry: dict[str, Any] | None = None, **replaced: bytes | str | None) -> dict[str, bytes | str]:
    described = config(LAYER)
    parts = [media.Descriptor(kind, digest.of(data), len(data)) for kind, data in
             ((media.OCI_CONFIG, described), (media.OCI_LAYER, LAYER))]  # fmt: skip
    manifest = media.Manifest(media.OCI_MANIFEST, parts[0], (parts[1],), {}).to_bytes()
    target = media.Descriptor(media.OCI_MANIFEST, digest.of(manifest), len(manifest), {media.REF_NAME: "app:2"})
    index = {"schemaVersion": 2, "manifests": [{**target.to_json(), **(entry or {})}]}
    members: dict[str, Any] = {f"blobs/sha256/{digest.of(data)[7:]}": data for data in (described, LAYER, manifest)}
    members |= {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    names = {"layer": digest.of(LAYER), "config": digest.of(described), "manifest": digest.of(manifest)}
    for name, value in replaced.items():
        members["index.json" if name == "index" else f"blobs/sha256/{names[name][7:]}"] = value
    return {key: value for key, value in members.items() if value is not None}


def test_an_oci_archive_keeps_its_manifest(store: ImageStore) -> None:
    [image] = load(store, io.BytesIO(tar(oci())))
    assert (image.id, image.tags, image.target.digest) == (
        digest.of(config(LAYER)), ["app:2"], json.loads(oci()["index.json"])["manifests"][0]["digest"])  # fmt: skip


def test_names_of_oci_archives(store: ImageStore) -> None:
    full = {"io.containerd.image.name": "docker.io/library/b:3"}
    for said, tags in (({"org.opencontainers.image.ref.name": "latest"}, []), (full, ["b:3"]), ({}, ["b:3"])):
        [image] = load(store, io.BytesIO(tar(oci({"annotations": said}))))
        assert image.tags == tags


def test_an_index_in_an_oci_archive(store: ImageStore) -> None:
    members = oci()
    inner = members["index.json"]
    assert isinstance(inner, bytes)
    entry = json.loads(inner)["manifests"][0]
    foreign = {**entry, "digest": "sha256:" + 64 * "0", "platform": {"os": "linux", "architecture": "s390x"}}
    index = json.dumps({"schemaVersion": 2, "manifests": [foreign, entry]}).encode()
    outer = media.Descriptor(media.OCI_INDEX, digest.of(index), len(index), {media.REF_NAME: "multi:1"})
    members[f"blobs/sha256/{digest.of(index)[7:]}"] = index
    members["index.json"] = json.dumps({"manifests": [outer.to_json()]}).encode()
    assert load(store, io.BytesIO(tar(members)))[0].tags == ["multi:1"]


# --- 106: archives that are none, or lie ---

HOST = "/etc/passwd"
BAD: dict[str, tuple[bytes, type[ContainersError], str]] = {
    "nothing": (b"", InvalidArchive, "neither manifest.json"),
    "not a tar": (b"x" * 5000, InvalidArchive, "not a valid tar"),
    "truncated": (tar(saved())[:1500], InvalidArchive, "not a valid tar"),
    "damaged gzip": (gzip.compress(tar(saved()))[:-20], InvalidArchive, "gzip"),
    "a root tar": (LAYER, InvalidArchive, "neither manifest.json"),
    "no manifest": (tar(saved(manifest=None)), InvalidArchive, "neither manifest.json"),
    "null manifest": (tar(saved(manifest=b"null")), InvalidArchive, "not a list"),
    "empty manifest": (tar(saved(manifest=b"[]")), InvalidArchive, "no image"),
    "object manifest": (tar(saved(manifest=b"{}")), InvalidArchive, "not a list"),
    "nulls in manifest": (tar(saved(manifest=b"[null]")), InvalidArchive, "not a list"),
    "empty row": (tar(saved(manifest=b"[{}]")), InvalidArchive, "which it names"),
    "no JSON": (tar(saved(manifest=b"[" * 100_000)), InvalidArchive, "not JSON"),
    "huge manifest": (tar(saved(manifest=b" " * (5 << 20))), InvalidImage, "larger than"),
    "missing layer": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": None})), InvalidArchive, "which it names"),
    "linked layer": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": HOST})), InvalidArchive, "which it names"),
    "linked up": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": "../" * 30 + HOST[1:]})), InvalidArchive, "names"),
    "linked hard": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": "=" + HOST})), InvalidArchive, "which it names"),
    "linked to itself": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": "layer.tar"})), InvalidArchive, "names"),
    "linked manifest": (tar(saved(manifest=HOST)), InvalidArchive, "neither manifest.json"),
    "wrong layer": (tar(saved(**{f"{digest.of(LAYER)[7:]}/layer.tar": OTHER})), DigestMismatch, "instead of"),
    "wrong config": (tar({**saved(), digest.of(config(LAYER))[7:] + ".json": config(OTHER)}), DigestMismatch, "digest"),
    "outside": (tar({**saved(), "../../evil": b"x"}), InvalidArchive, "leaves the archive"),
    "absolute": (tar({**saved(), "/etc/evil": b"x"}), InvalidArchive, "leaves the archive"),
    "bad tag": (tar(saved(tags=["../../x"])), InvalidArchive, "names an image badly"),
    "tag of control characters": (tar(saved(tags=["a\x1b[2J:1"])), InvalidArchive, "names an image badly"),
    "layers at odds": (tar(saved(layers=(LAYER,), manifest=json.dumps(
        [{"Config": digest.of(config(LAYER))[7:] + ".json", "Layers": []}]).encode())), InvalidArchive, "at odds"),
    "oci: linked blob": (tar(oci(layer=HOST)), InvalidArchive, "is a link"),
    "oci: link to a blob": (tar({**oci(layer="x"), "blobs/sha256/x": LAYER}), InvalidArchive, "is a link"),
    "oci: linked manifest": (tar(oci(manifest=HOST)), InvalidArchive, "is a link"),
    "oci: missing blob": (tar(oci(config=None)), InvalidArchive, "which it names"),
    "oci: wrong blob": (tar(oci(layer=OTHER + b"")), DigestMismatch, "instead of"),
    "oci: null index": (tar(oci(index=b"null")), InvalidImage, "JSON object"),
    "oci: empty index": (tar(oci(index=b'{"manifests": []}')), InvalidArchive, "no image"),
    "oci: bad digest": (tar(oci({"digest": "sha256:../../x"})), InvalidImage, "not a digest"),
    "oci: bad size": (tar(oci({"size": 1})), DigestMismatch, "instead of"),
    "oci: type at odds": (tar(oci({"mediaType": media.DOCKER_MANIFEST})), InvalidImage, "found as"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_106_a_bad_archive_is_refused_and_leaves_nothing(store: ImageStore, tmp_path: Path, name: str) -> None:
    data, kind, why = BAD[name]
    source = put(tmp_path / "bad.tar", data)
    with pytest.raises(kind, match=why) as caught:
        load(store, source)
    assert "bad.tar" in str(caught.value) or "blob" in str(caught.value)
    store.sweep()
    assert is_empty(store)
    assert source.read_bytes() == data


def test_an_archive_that_is_not_there(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match="No such file"):
        load(store, tmp_path / "none.tar")
    with pytest.raises(InvalidArchive, match="Is a directory"):
        load(store, tmp_path)


# --- import ---


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_root_tar_becomes_an_image_of_one_layer(store: ImageStore, pack: Any) -> None:
    told: list[dict[str, Any]] = []
    image = import_root_tar(store, io.BytesIO(pack(LAYER)), repository="mine", tag="x",
                            config={"Cmd": ["sh"], "Env": ["A=1"]}, message="by hand", on_event=told.append)  # fmt: skip
    assert (image.tags, image.config.diff_ids) == (["mine:x"], (digest.of(LAYER),))
    assert (image.config.run, image.config.history[0]["comment"]) == ({"Cmd": ["sh"], "Env": ["A=1"]}, "by hand")
    assert told == [{"status": image.id}]
    [path] = store.layers(image)
    assert (path / "etc/motd").read_text() == "hello"


def test_the_same_tar_gives_the_same_image_where_time_is_fixed(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    other = ImageStore(tmp_path / "other", store.unpacked.owners, store.unpacked.unshare)
    made = [import_root_tar(place, io.BytesIO(LAYER), repository="a") for place in (store, other)]
    assert made[0] == made[1]
    assert made[0].config.created == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("data", [b"", b"no tar" * 1000, LAYER[:700], tar({"../x": b""}), gzip.compress(LAYER)[:-9]])
def test_what_is_no_root_is_refused(store: ImageStore, data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        import_root_tar(store, io.BytesIO(data), repository="a")
    store.sweep()
    assert is_empty(store)


def test_names_are_checked_before_anything_is_read(store: ImageStore) -> None:
    for more in ({"repository": "Bad"}, {"repository": "a", "tag": "-"}):
        with pytest.raises(InvalidReference):
            import_root_tar(store, io.BytesIO(b"not read"), **more)  # type: ignore[arg-type]
