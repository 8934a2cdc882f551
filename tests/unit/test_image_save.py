"""Images saved: the same bytes each time, every digest kept, and read by docker's, podman's and skopeo's readers."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from jupyter_containers.errors import DigestMismatch, ImageNotFound, InvalidArgument
from jupyter_containers.image import archive, digest, media, reference, save
from jupyter_containers.image.compression import detect
from jupyter_containers.image.outfile import replacing
from jupyter_containers.image.store import Image, ImageStore
from tests.rigs.abilities import need_program


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "home", "root")


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def add(store: ImageStore, *layers: bytes, names: tuple[str, ...] = (), plain: tuple[bytes, ...] = ()) -> Image:
    """An image of these blobs; *plain* is what they inflate to where they are compressed."""
    diff_ids = [digest.of(layer) for layer in plain or layers]
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {}}
    with store.layout.adding() as area:
        described = area.put(media.dumps(config))
        blobs = [area.put(layer) for layer in layers]
        kinds = [media.layer_media_type(detect(layer[:16])) for layer in layers]
        manifest = media.Manifest(
            media.OCI_MANIFEST,
            media.Descriptor(media.OCI_CONFIG, described.digest, described.size),
            tuple(media.Descriptor(kind, b.digest, b.size) for kind, b in zip(kinds, blobs, strict=True)),
            {"made": "here"},
        )
        return store.add(area, manifest.to_bytes(), [reference.parse(name) for name in names])


def saved(store: ImageStore, *names: str, form: str = "docker-archive") -> bytes:
    return b"".join(save.chunks(store, names, form))


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return {entry.name: (found.extractfile(entry) or io.BytesIO()).read() for entry in found if entry.isfile()}


@pytest.mark.parametrize("form", save.FORMATS)
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["none", "gzip", "zstd"]
)
def test_what_is_saved_is_loaded_with_equal_digests(store: ImageStore, tmp_path: Path, form: str, pack: Any) -> None:
    layers = (tar(a=b"1"), tar(b=b"2" * 100_000))
    image = add(store, *map(pack, layers), names=("app:1",), plain=layers)
    [found] = archive.load(
        other := ImageStore(tmp_path / "other", "root"), io.BytesIO(saved(store, "app:1", form=form))
    )
    assert found == image
    assert saved(other, "app:1", form=form) == saved(store, "app:1", form=form)


def test_an_archive_is_the_same_whenever_and_wherever_it_is_made(store: ImageStore, tmp_path: Path) -> None:
    again = ImageStore(tmp_path / "again", "root")
    layers = [tar(**{f"f{number}": b"x"}) for number in range(5)]
    for place, order in ((store, layers), (again, layers)):
        add(place, *order, names=("a", "b"))
    assert saved(store, "a", "b") == saved(again, "a", "b")
    with tarfile.open(fileobj=io.BytesIO(saved(store, "a"))) as found:
        entries = found.getmembers()
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, 0, "")}
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)


def test_a_docker_archive_has_what_every_docker_reads(store: ImageStore) -> None:
    image = add(store, layer := tar(a=b"1"), names=("app:1", "reg.test:5000/x/app:2"))
    found = members(saved(store, "app:1", "reg.test:5000/x/app:2"))
    config, blob = (f"blobs/sha256/{value[7:]}" for value in (image.id, digest.of(layer)))
    assert json.loads(found["manifest.json"]) == [
        {"Config": config, "RepoTags": ["app:1", "reg.test:5000/x/app:2"], "Layers": [blob]}
    ]
    top = digest.of(layer)[7:]
    assert json.loads(found["repositories"]) == {"app": {"1": top}, "reg.test:5000/x/app": {"2": top}}
    index = json.loads(found["index.json"])["manifests"]
    assert [entry["annotations"][media.REF_NAME] for entry in index] == [
        "docker.io/library/app:1", "reg.test:5000/x/app:2"]  # fmt: skip
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert set(members(saved(store, "app:1", form="oci-archive"))) == set(found) - {"manifest.json", "repositories"}


def test_names_are_taken_as_docker_takes_them(store: ImageStore) -> None:
    one = add(store, tar(a=b"1"), names=("app:1", "app:latest", "other:1"))
    two = add(store, tar(a=b"2"), names=("app:2",))
    chosen = {image.id: [tag.familiar for tag in tags] for image, tags in save.choose(store, ["app"])}
    assert chosen == {one.id: ["app:1", "app:latest"], two.id: ["app:2"]}
    assert save.choose(store, [one.id, one.short_id]) == [(store.resolve(one.id), [])]
    [(_, tags)] = save.choose(store, ["app:1", one.id, "other:1", "app:1"])
    assert [tag.familiar for tag in tags] == ["app:1", "other:1"]
    [row] = json.loads(members(saved(store, two.short_id))["manifest.json"])
    assert row["RepoTags"] is None


def test_layers_that_images_share_are_saved_once(store: ImageStore) -> None:
    base = tar(a=b"x" * 100_000)
    add(store, base, names=("one",))
    add(store, base, tar(b=b"1"), names=("two",))
    assert len(saved(store, "one", "two")) < 150_000


def test_errors_come_before_the_first_byte(store: ImageStore) -> None:
    add(store, tar(a=b"1"), names=("app",))
    with pytest.raises(ImageNotFound, match="no such image: ap:latest"):
        next(save.chunks(store, ["app", "ap"]))
    with pytest.raises(InvalidArgument, match="oci-archive"):
        next(save.chunks(store, ["app"], "oci-archiv"))


def test_a_damaged_blob_is_told_and_no_file_stays(store: ImageStore, tmp_path: Path) -> None:
    add(store, layer := tar(a=b"1"), names=("app",))
    path = store.layout.path(digest.of(layer))
    path.write_bytes(layer[:-1] + b"!")
    target = tmp_path / "app.tar"
    with pytest.raises(DigestMismatch), replacing(target) as file:
        file.writelines(save.chunks(store, ["app"]))
    assert list(tmp_path.glob("*app.tar*")) == []


def test_a_file_is_replaced_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_text() == "old"
    with replacing(target) as file:
        file.write(b"new")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)
    with replacing(Path("/dev/null")) as file:
        file.write(b"gone")
    for wrong, words in ((tmp_path, "must be a file"), (tmp_path / "no/x.tar", "does not exist")):
        with pytest.raises(InvalidArgument, match=words), replacing(wrong):
            pass


def test_blobs_stay_while_they_are_saved_though_their_name_goes(store: ImageStore, tmp_path: Path) -> None:
    image = add(store, tar(a=b"1"), names=("app",))
    pieces = save.chunks(store, ["app"])
    first = next(pieces)
    store.remove("app")
    data = first + b"".join(pieces)
    assert archive.load(ImageStore(tmp_path / "other", "root"), io.BytesIO(data))[0].id == image.id
    store.sweep()
    assert not store.layout.has(image.id)


def test_progress_is_told_for_each_blob(store: ImageStore) -> None:
    add(store, tar(a=b"x" * (20 << 20)), names=("app",))
    told: list[dict[str, Any]] = []
    for _ in save.chunks(store, ["app"], on_event=told.append):
        pass
    moving = [row["progressDetail"] for row in told if row["status"] == "Saving"]
    assert moving[0]["current"] == 8 << 20
    assert sum(row["status"] == "Saved" for row in told) == 3


# --- other readers ---


@pytest.mark.parametrize("form", save.FORMATS)
def test_skopeo_reads_both_forms(store: ImageStore, tmp_path: Path, form: str) -> None:
    need_program("skopeo")
    layer = tar(a=b"1")
    image = add(store, gzip.compress(layer), names=("app:1",), plain=(layer,))
    path = tmp_path / "app.tar"
    path.write_bytes(saved(store, "app:1", form=form))
    said = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{path}"], check=True, capture_output=True).stdout
    assert digest.of(said) == image.target.digest
    copied = tmp_path / "copied"
    subprocess.run(["skopeo", "copy", "-q", f"{form}:{path}", f"dir:{copied}"], check=True, capture_output=True)
    assert json.loads((copied / "manifest.json").read_text())["config"]["digest"] == image.id
