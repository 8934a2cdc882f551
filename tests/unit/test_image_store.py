"""The store: names, ids, docker's rules for removing, and what is left when processes die or work at once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import (
    Conflict,
    DigestMismatch,
    ImageNotFound,
    InvalidArgument,
    InvalidImage,
    InvalidReference,
)
from jupyter_containers.image import digest, media, platforms, reference, removal
from jupyter_containers.image.archive import load
from jupyter_containers.image.imported import import_root_tar
from jupyter_containers.image.store import Image, ImageStore

ROOT = os.geteuid() == 0


def open_store(home: Path) -> ImageStore:
    if ROOT:
        return ImageStore(home, "root")
    return ImageStore(home, "rootless-single", lambda argv: ["unshare", "-Ur", *argv])


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return open_store(tmp_path / "home")


def tar(**files: str) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(text)
            archive.addfile(info, BytesIO(text.encode()))
    return out.getvalue()


def add(store: ImageStore, *layers: bytes, names: tuple[str, ...] = (), **config: Any) -> Image:
    value = {"os": "linux", "architecture": platforms.machine().architecture, "config": config,
             "rootfs": {"type": "layers", "diff_ids": [digest.of(layer) for layer in layers]}}  # fmt: skip
    with store.layout.adding() as area:
        described = area.put(media.dumps(value))
        blobs = [area.put(layer) for layer in layers]
        manifest = media.Manifest(
            media.OCI_MANIFEST,
            media.Descriptor(media.OCI_CONFIG, described.digest, described.size),
            tuple(media.Descriptor(media.OCI_LAYER, blob.digest, blob.size) for blob in blobs),
            {},
        )
        return store.add(area, manifest.to_bytes(), [reference.parse(name) for name in names])


def blobs(store: ImageStore) -> set[str]:
    return {path.name for path in (store.layout.root / "blobs/sha256").iterdir()}


# --- names and ids ---


def test_an_image_is_found_by_every_name_it_has(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("debian:12", "debian", "ghcr.io/x/y:z"))
    hex_ = digest.encoded(image.id)
    for name in ("debian:12", "debian", "docker.io/library/debian", "ghcr.io/x/y:z", image.id, hex_, hex_[:12],
                 hex_[:2], f"sha256:{hex_[:7]}"):  # fmt: skip
        assert store.resolve(name).id == image.id
    assert store.resolve("debian").tags == ["debian:12", "debian:latest", "ghcr.io/x/y:z"]


def test_a_missing_image_has_a_near_name(store: ImageStore) -> None:
    add(store, tar(f="1"), names=("debian:bookworm",))
    with pytest.raises(ImageNotFound, match=r"no such image: debain:latest. Did you mean debian"):
        store.resolve("debain")
    with pytest.raises(ImageNotFound, match="Did you mean debian:bookworm"):
        store.resolve("debian:bookwrm")
    with pytest.raises(ImageNotFound):
        store.resolve("sha256:" + 64 * "0")
    with pytest.raises(InvalidReference):
        store.resolve("Not A Name")


def test_an_ambiguous_id_is_said_to_be_one(store: ImageStore) -> None:
    ids = [add(store, tar(f=str(n))).id for n in range(40)]
    first = next(c for c in "0123456789abcdef" if sum(digest.encoded(i).startswith(c) for i in ids) > 1)
    with pytest.raises(InvalidArgument, match="begins so"):
        store.resolve(first)


def test_a_name_cannot_stand_in_for_an_id(store: ImageStore) -> None:
    victim = add(store, tar(f="1"), names=("a",))
    add(store, tar(f="2"), names=(f"sha256:{digest.encoded(victim.id)}",))
    assert store.resolve(victim.id).id == victim.id
    with pytest.raises(InvalidReference):
        store.tag("a", "sha256:abc")
    with pytest.raises(InvalidReference):
        store.tag("a", f"b@{victim.id}")


def test_a_name_moves_and_the_image_that_lost_it_stays(store: ImageStore) -> None:
    old = add(store, tar(f="1"), names=("app",))
    new = add(store, tar(f="2"), names=("app",))
    assert store.resolve("app").id == new.id
    assert store.resolve(old.id).tags == []
    store.tag(old.id, "app:old")
    assert store.resolve("app:old").id == old.id
    assert len(store.list()) == 2


def test_a_digest_decides_whatever_tag_is_written(store: ImageStore) -> None:
    image = add(store, tar(f="1"))
    pinned = f"debian@{image.target.digest}"
    add(store, tar(f="1"), names=(pinned,))
    found = store.resolve(pinned)
    assert (found.id, found.tags, found.digests) == (image.id, [], [pinned])
    with pytest.raises(ImageNotFound):
        store.resolve("debian@sha256:" + 64 * "0")


# --- adding ---


def test_the_same_twice_is_one(store: ImageStore) -> None:
    first = add(store, tar(f="1"), names=("a",))
    before = blobs(store)
    assert add(store, tar(f="1"), names=("a",)) == first
    assert blobs(store) == before
    assert len(store.layout.entries()) == 1


def test_blobs_are_checked_while_they_come(store: ImageStore) -> None:
    with store.layout.adding() as area:
        for digest_, size in (("sha256:" + 64 * "0", None), (digest.of(b"data"), 3), (digest.of(b"data"), 5)):
            with pytest.raises(DigestMismatch):
                store.put_blob(area, BytesIO(b"data"), digest_, size)
        assert store.put_blob(area, BytesIO(b"data"), digest.of(b"data"), 4).size == 4
    with store.open_blob(digest.of(b"data"), 4) as blob:
        assert blob.read() == b"data"


def test_an_image_without_its_blobs_is_refused(store: ImageStore) -> None:
    part = media.Descriptor(media.OCI_CONFIG, digest.of(b"x"), 1)
    with store.layout.adding() as area, pytest.raises(InvalidImage, match="missing"):
        store.add(area, media.Manifest(media.OCI_MANIFEST, part, (), {}).to_bytes())
    assert store.list() == []


# --- removing, as docker does ---


def test_removing_a_name_of_several_only_unnames(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a", "b"))
    assert store.remove("a") == [{"Untagged": "a:latest"}]
    assert store.resolve(image.id).tags == ["b:latest"]


def test_removing_the_last_name_removes_everything(store: ImageStore) -> None:
    layer = tar(f="1")
    image = add(store, layer, names=("a",))
    [path] = store.layers(image)
    assert store.remove("a") == [{"Untagged": "a:latest"}, {"Deleted": image.id}, {"Deleted": digest.of(layer)}]
    assert (blobs(store), path.exists(), store.list()) == (set(), False, [])


def test_what_another_image_needs_stays(store: ImageStore) -> None:
    base, upper = tar(f="1"), tar(g="2")
    kept = add(store, base, names=("base",))
    gone = add(store, base, upper, names=("app",))
    store.layers(gone)
    rows = store.remove("app")
    assert rows == [{"Untagged": "app:latest"}, {"Deleted": gone.id},
                    {"Deleted": digest.chain_ids([digest.of(base), digest.of(upper)])[1]}]  # fmt: skip
    [path] = store.layers(kept)
    assert (path / "f").read_text() == "1"


def test_an_image_in_use_stays(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a", "b"))
    stopped = {image.id: {"c" * 64: False}}

    def users(id_: str) -> dict[str, bool]:
        return stopped.get(id_, {})

    assert store.remove("a", users=users) == [{"Untagged": "a:latest"}]
    with pytest.raises(Conflict, match=r'reference "b" \(must force\) - container cccccccccccc is using'):
        store.remove("b", users=users)
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container cccccccccccc"):
        store.remove(image.id, users=users)
    assert store.remove("b", force=True, users=users) == [{"Untagged": "b:latest"}]
    assert store.resolve(image.id).tags == []
    with pytest.raises(Conflict, match="cannot be forced"):
        store.remove(image.id, force=True, users=users)
    stopped[image.id]["c" * 64] = True
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container"):
        store.remove(image.id, force=True, users=users)
    assert store.remove(image.id)[0] == {"Deleted": image.id}


def test_an_id_of_an_image_with_several_tags_needs_force(store: ImageStore) -> None:
    for names in (("a:1", "a:2"), ("a", "b")):
        image = add(store, tar(f="1"), names=names)
        with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories"):
            store.remove(image.short_id)
        rows = store.remove(image.id, force=True)
        assert [row["Untagged"] for row in rows if "Untagged" in row] == image.tags
        assert {"Deleted": image.id} in rows
    pinned = f"a@{add(store, tar(f='1')).target.digest}"
    image = add(store, tar(f="1"), names=("a:1", pinned))
    assert store.remove(image.id)[:2] == [{"Untagged": "a:1"}, {"Untagged": pinned}]


# --- pruning ---


def nobody(_: str) -> dict[str, bool]:
    return {}


def test_prune_removes_what_has_no_tag_and_with_all_what_nobody_uses(store: ImageStore) -> None:
    base, upper = tar(f="1" * 100), tar(g="2" * 50)
    kept = add(store, base, names=("kept",))
    used = add(store, tar(h="3"))
    store.layers(dangling := add(store, base, upper))
    users = {used.id: {"c" * 64: False}}
    done = removal.prune(store, lambda image: True, False, lambda id_: users.get(id_, {}))
    chain = digest.chain_ids([digest.of(base), digest.of(upper)])[1]
    assert (done.rows, done.bytes) == ([{"Deleted": dangling.id}, {"Deleted": chain}], 50)
    assert {image.id for image in store.list()} == {kept.id, used.id}
    done = removal.prune(store, lambda image: True, True, lambda id_: users.get(id_, {}))
    assert done.rows[0] == {"Untagged": "kept:latest"}
    assert done.bytes == 100  # its layer was unpacked together with the other's
    assert [image.id for image in store.list()] == [used.id]
    assert removal.prune(store, lambda image: False, True, nobody).rows == []


def test_prune_takes_what_a_killed_removal_left(store: ImageStore) -> None:
    store.layers(image := add(store, tar(f="12345"), names=("a",)))
    store.untag(image, image.names)  # and killed here
    done = removal.prune(store, lambda image: True, False, nobody)
    assert (done.rows, done.bytes, blobs(store), store.unpacked.chain_ids()) == ([], 5, set(), [])


def test_a_name_given_while_the_last_one_goes_keeps_the_image(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a",))
    store.tag("a", "b")
    assert store.untag(image, image.names) is False
    assert store.resolve("b").id == image.id


def test_who_begins_to_use_an_image_and_who_removes_wait_for_each_other(store: ImageStore) -> None:
    add(store, tar(f="1"), names=("a",))
    other = open_store(store.layout.root.parent)
    with ThreadPoolExecutor(1) as threads:
        with store.layout.using():
            removed = threads.submit(other.remove, "a")
            time.sleep(0.1)
            assert not removed.done()
            assert store.layers(store.resolve("a"))
        assert removed.result()[0] == {"Untagged": "a:latest"}


def _use(home: Path, rounds: int) -> None:
    """Begin to use the image as the engine does: a record last, all under the lock; then look whether it is whole."""
    store = open_store(home)
    for number in range(rounds):
        record = home / "users" / f"{os.getpid()}-{number}"
        with store.layout.using():
            try:
                image = store.resolve("shared")
            except ImageNotFound:
                continue
            paths = store.layers(image)
            record.write_text(image.id)
        assert all((path / name).read_text() for path, name in zip(paths, ("g", "f"), strict=True))
        record.unlink()


def _load_again(home: Path, rounds: int) -> None:
    store = open_store(home)
    for _ in range(rounds):
        image = add(store, tar(f="1" * 2000), tar(g="2" * 2000), names=("shared",))
        assert image.tags


def _prune_all(home: Path, rounds: int) -> None:
    store = open_store(home)

    def users(image_id: str) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for path in (home / "users").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found |= {path.name: True} if path.read_text() == image_id else {}
        return found

    for _ in range(rounds):
        removal.prune(store, lambda image: True, True, users)


def test_loading_using_and_pruning_at_once_never_give_a_broken_image(tmp_path: Path) -> None:
    """100 rounds of each, two of them use."""
    home = tmp_path / "home"
    open_store(home)
    (home / "users").mkdir()
    forked = multiprocessing.get_context("fork")
    jobs = [forked.Process(target=job, args=(home, 100)) for job in (_load_again, _use, _use, _prune_all)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0] * 4
    store = open_store(home)
    store.sweep()
    for image in store.list():
        assert len(store.layers(image)) == 2


def test_nothing_is_swept_from_under_who_adds(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a",))
    with store.layout.adding() as area:
        early = area.put(b"early")
        store.remove("a")
        assert store.layout.has(early.digest)
    assert store.list() == []
    assert store.layout.has(image.id)  # still there, until somebody sweeps
    store.sweep()
    assert blobs(store) == set()


# --- docker's JSON ---


def test_inspect_is_dockers(store: ImageStore) -> None:
    image = add(store, tar(f="12345"), names=("a",), Cmd=["sh"], Env=["A=1"])
    before = store.inspect(image)
    assert before["Size"] == len(tar(f="12345"))
    store.layers(image)
    data = store.inspect(store.resolve("a"))
    assert (data["Id"], data["RepoTags"], data["RepoDigests"]) == (image.id, ["a:latest"], [])
    assert (data["Config"]["Cmd"], data["Config"]["Entrypoint"], data["Config"]["User"]) == (["sh"], None, "")
    assert (data["Size"], data["RootFS"]["Layers"], data["Os"]) == (5, [digest.of(tar(f="12345"))], "linux")
    json.dumps(data)


def test_history_matches_layers_to_steps(store: ImageStore) -> None:
    image = import_root_tar(store, BytesIO(tar(f="1")), repository="a", message="by hand")
    [row] = store.history(image)
    assert (row["Id"], row["Comment"], row["Tags"]) == (image.id, "by hand", ["a:latest"])
    assert row["Created"] > 1_500_000_000


# --- an index of several platforms, written by another tool ---


def test_an_index_leads_to_this_machines_image(store: ImageStore) -> None:
    mine, other = platforms.machine(), platforms.Platform("linux", "s390x")
    image = add(store, tar(f="1"))
    entries = [media.Descriptor(media.OCI_MANIFEST, digest.of(b"?"), 1, {}, other),
               media.Descriptor(media.OCI_MANIFEST, image.target.digest, image.target.size, {}, mine)]  # fmt: skip
    data = media.dumps({"schemaVersion": 2, "manifests": [entry.to_json() for entry in entries]})
    with store.layout.adding() as area, store.layout.editing() as index:
        stored = area.put(data)
        index[:] = [media.Descriptor(media.OCI_INDEX, stored.digest, stored.size,
                                     {media.REF_NAME: "docker.io/library/multi:latest"}).to_json()]  # fmt: skip
    assert store.resolve("multi").id == image.id
    store.sweep()
    assert store.layout.has(image.id)


def test_what_others_wrote_badly_is_passed_over(store: ImageStore) -> None:
    add(store, tar(f="1"), names=("a",))
    with store.layout.editing() as index:
        index.append(media.Descriptor("application/x-artifact", digest.of(b"?"), 1, {media.REF_NAME: "x"}).to_json())
        index.append(media.Descriptor(media.OCI_MANIFEST, digest.of(b"?"), 1, {media.REF_NAME: "y y"}).to_json())
    assert [image.tags for image in store.list()] == [["a:latest"]]


def test_umoci_and_skopeo_read_the_store_in_place(store: ImageStore, tmp_path: Path) -> None:
    if not (shutil.which("skopeo") and shutil.which("umoci")):
        need("skopeo and umoci")
    add(store, tar(bin__a="1", etc__b="2"), tar(etc__c="3"), names=("tool:1",), Cmd=["a"])
    place = f"{store.layout.root}:docker.io/library/tool:1"
    said = subprocess.run(["skopeo", "inspect", f"oci:{place}"], capture_output=True, check=True).stdout
    assert len(json.loads(said)["Layers"]) == 2
    rootless = [] if ROOT else ["--rootless"]
    subprocess.run(["umoci", "unpack", *rootless, "--image", place, tmp_path / "out"], capture_output=True, check=True)
    assert sorted(path.name for path in (tmp_path / "out/rootfs").rglob("*") if path.is_file()) == ["a", "b", "c"]


def need(what: str) -> None:
    (pytest.fail if os.environ.get("JC_MUST_WORK") == "1" else pytest.skip)(f"{what} needed")


# --- processes that work at once, or die ---


def test_two_processes_unpack_one_image_once(store: ImageStore, tmp_path: Path) -> None:
    image = add(store, *(tar(**{f"f{n}": "x" * 100_000}) for n in range(6)), names=("a",))
    script = ("import sys, pathlib; sys.path.insert(0, sys.argv[2]); from test_image_store import open_store\n"
              "store = open_store(pathlib.Path(sys.argv[1]))\n"
              "told = []; paths = store.layers(store.resolve('a'), told.append)\n"
              "print(len(paths), sum(row.get('status') == 'Pull complete' for row in told))")  # fmt: skip
    argv = [sys.executable, "-c", script, str(tmp_path / "home"), str(Path(__file__).parent)]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in running]
    assert [count for count, _ in said] == ["6"] * 3
    assert sum(int(done) for _, done in said) == 6
    assert store.unpacked.unfinished() == []
    assert all(path.is_dir() for path in store.layers(image))


def test_threads_unpack_and_tag_at_once(store: ImageStore) -> None:
    image = add(store, tar(f="1"), tar(g="2"), names=("a",))
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda n: (store.layers(image), store.tag("a", f"t:{n}")), range(40)))
    assert len({tuple(paths) for paths, _ in done}) == 1
    assert len(store.resolve("a").tags) == 41


def _add_many(home: Path, start: int) -> None:
    store = open_store(home)
    for n in range(start, start + 1000):
        add(store, tar(f=str(n) * 1000), names=(f"n:{n}",))
        store.layers(store.resolve(f"n:{n}"))
        if n % 3 == 0:
            store.remove(f"n:{n}")


def test_a_kill_at_any_instant_leaves_a_store_that_the_next_repairs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_store(home)
    for round_ in range(8):
        process = multiprocessing.get_context("fork").Process(target=_add_many, args=(home, round_ * 1000))
        process.start()
        time.sleep(0.15 + 0.037 * round_)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store = open_store(home)
        for image in store.list():
            store.layers(image)
        store.sweep()
        assert not store.layout.unfinished()
        assert settled(store)
        reachable = {digest.encoded(part.digest) for image in store.list()
                     for part in (image.target, image.manifest.config, *image.manifest.layers)}  # fmt: skip
        assert blobs(store) == reachable


def settled(store: ImageStore) -> bool:
    """A program that lost its caller ends by itself; what it left then goes with a sweep."""
    for _ in range(50):
        store.sweep()
        if not store.unpacked.unfinished():
            return True
        time.sleep(0.05)
    return False


def test_a_layer_from_another_boot_is_trusted_once_it_is_surely_on_the_disk(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a",))
    [path] = store.layers(image)
    stamp = next(store.unpacked.root.glob("*.json"))
    data = json.loads(stamp.read_text())
    stamp.write_text(json.dumps(data | {"boot": "another"}))
    (path / "f").write_text("")  # as a power failure leaves it
    other = open_store(store.layout.root.parent)
    [path] = other.layers(image)
    assert (path / "f").read_text() == "1"
    os.utime(stamp, (1, 1))  # written long ago, in this boot
    third = open_store(store.layout.root.parent)
    third.layers(image)
    assert json.loads(stamp.read_text())["durable"]


def test_readers_wait_for_nobody(store: ImageStore) -> None:
    image = add(store, tar(f="1"), names=("a",))
    with store.layout.editing(), store.layout.adding():
        other = open_store(store.layout.root.parent)
        assert other.resolve("a").id == image.id
        assert len(other.layers(image)) == 1


def test_an_archive_is_loaded_while_another_is_removed(store: ImageStore, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        need("skopeo")
    add(store, tar(f="1"), names=("a",))
    source = f"oci:{store.layout.root}:docker.io/library/a:latest"
    for n in range(2):
        subprocess.run(["skopeo", "copy", "-q", source, f"docker-archive:{tmp_path}/{n}.tar:x:{n}"], check=True)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            loaded = threads.submit(load, store, tmp_path / "0.tar")
            loaded.result()
            removed = threads.submit(store.remove, "x:0")
            again = threads.submit(load, store, tmp_path / "1.tar")
            removed.result()
            [image] = again.result()
            assert len(store.layers(image)) == 1
            store.remove("x:1")
