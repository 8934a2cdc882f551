"""What layers add, change, remove and waste: by hand, and compared with what really lies unpacked."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_containers.errors import DigestMismatch, LayerError
from jupyter_containers.image import contents, digest, media, reference
from jupyter_containers.image.contents import FILE, FOLDER, LINK, OPAQUE, SYMLINK, WHITEOUT, Row
from jupyter_containers.image.layerview import Changes, efficiency, stacked
from jupyter_containers.image.store import Image, ImageStore


def rows(*texts: str) -> list[Row]:
    """``path`` and size, ``path/`` for a folder, ``-path`` for a whiteout, ``path/*`` opaque, ``path=target`` a link."""
    found = []
    for text in texts:
        name, _, size = text.partition(":")
        if name.startswith("-"):
            found.append(Row(name[1:], WHITEOUT, 0))
        elif name.endswith("/*"):
            found.append(Row(name[:-2], OPAQUE, 0))
        elif name.endswith("/"):
            found.append(Row(name[:-1], FOLDER, 0))
        elif "=" in name:
            name, _, target = name.partition("=")
            found.append(Row(name, LINK, 0, target))
        else:
            found.append(Row(name, FILE, int(size or 0)))
    return found


def brief(change: Changes) -> tuple[int, int, int, int]:
    return change.added, change.changed, change.removed, change.wasted


def listed(change: Changes) -> list[str]:
    return [f"{row.kind} {row.path}" for row in change.files]


def test_files_are_added_changed_and_removed() -> None:
    base, top = stacked([rows("d/", "d/a:10", "d/b:20", "c:5"), rows("d/a:11", "-d/b", "d/new:1")])
    assert (brief(base), brief(top)) == ((3, 0, 0, 30), (1, 1, 1, 0))
    assert listed(base) == ["A c", "A d/", "A d/a", "A d/b"]
    assert listed(top) == ["C d/a", "D d/b", "A d/new"]
    assert (base.size, top.size) == (35, 12)
    assert efficiency([base, top]) == pytest.approx(17 / 47)


def test_a_folder_removed_takes_all_below_it() -> None:
    base, top = stacked([rows("d/e/a:10", "d/e/b:20", "d/c:5"), rows("-d")])
    assert (brief(base), brief(top)) == ((3, 0, 0, 35), (0, 0, 3, 0))
    assert [(row.path, row.size, row.files) for row in top.files] == [("d/", 35, 3)]


def test_an_opaque_folder_hides_what_it_does_not_have_again() -> None:
    base, top = stacked([rows("d/a:1", "d/e/b:2", "d/c:4"), rows("d/", "d/*", "d/a:8", "d/e/", "d/e/b:9", "d/e/n:1")])
    assert (brief(base), brief(top)) == ((3, 0, 0, 7), (1, 2, 1, 0))
    assert listed(top) == ["C d/a", "D d/c", "C d/e/b", "A d/e/n"]


def test_a_whiteout_spares_its_own_layer_wherever_it_stands() -> None:
    for order in (("-d/a", "d/a:2"), ("d/a:2", "-d/a")):
        base, top = stacked([rows("d/a:1"), rows(*order)])
        assert (brief(base), brief(top), listed(top)) == ((1, 0, 0, 1), (0, 1, 0, 0), ["C d/a"])


def test_a_removed_folder_that_is_made_anew() -> None:
    base, top = stacked([rows("d/", "d/a:1", "d/b:2"), rows("-d", "d/", "d/a:5")])
    assert (brief(base), brief(top)) == ((2, 0, 0, 3), (0, 1, 1, 0))
    assert listed(top) == ["D d/", "C d/a"]


def test_kinds_that_replace_each_other() -> None:
    _, top = stacked([rows("a/x:1", "a/y:2", "b:4"), rows("a:3", "b/", "b/z:1")])
    assert brief(top) == (2, 0, 3, 0)
    assert sorted(listed(top)) == ["A a", "A b/", "A b/z", "D a/", "D b"]


def test_hard_links_share_their_bytes_until_the_last_name_goes() -> None:
    base, one, two = stacked([rows("a:100", "b=a", "c=b"), rows("-a"), rows("b:1", "-c")])
    assert (base.size, brief(base), brief(one), brief(two)) == (100, (3, 0, 0, 100), (0, 0, 1, 0), (0, 1, 1, 0))
    alone, other = stacked([rows("a:100", "b=a"), rows("a:1")])
    assert (alone.wasted, brief(other)) == (0, (0, 1, 0, 0))


def test_names_given_twice_in_a_layer_count_once() -> None:
    [only] = stacked([rows("a:5", "a:7", "b=nothing", "-gone")])
    assert (brief(only), only.size) == ((2, 0, 0, 0), 7)
    [only] = stacked([rows("a:5", "a=a", "a:3")])
    assert (brief(only), only.size) == ((1, 0, 0, 0), 3)


def test_each_layers_waste_is_its_own() -> None:
    low, middle, top = stacked([rows("a:1"), rows("a:2"), rows("a:4", "b:1")])
    assert [layer.wasted for layer in (low, middle, top)] == [1, 2, 0]


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRY = st.one_of(
    st.tuples(NAMES, st.integers(0, 9)).map(lambda pair: Row(pair[0], FILE, pair[1])),
    NAMES.map(lambda name: Row(name, FOLDER, 0)),
    NAMES.map(lambda name: Row(name, WHITEOUT, 0)),
    NAMES.map(lambda name: Row(name, OPAQUE, 0)),
    st.tuples(NAMES, NAMES).map(lambda pair: Row(pair[0], LINK, 0, pair[1])),
    NAMES.map(lambda name: Row(name, SYMLINK, 3)),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.lists(ENTRY, max_size=8), max_size=4))
def test_any_rows_give_counts_that_add_up(layers: list[list[Row]]) -> None:
    found = stacked(layers)
    alive = 0
    for change in found:
        alive += change.added - change.removed
        assert alive >= 0
        assert 0 <= change.wasted <= change.size
        assert min(change.added, change.changed, change.removed) >= 0
    assert found == [] or found[-1].wasted == 0
    assert 0 <= efficiency(found) <= 1


# --- from real layers ---


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "home", "root")


def tar(**files: str | None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("WH_", ".wh."))
            data = (text or "").encode()
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def add(store: ImageStore, *layers: bytes) -> Image:
    steps = [{"created_by": f"RUN step {number}"} for number in range(len(layers))]
    steps.insert(1, {"created_by": "ENV A=1", "empty_layer": True})
    config = {"os": "linux", "architecture": "amd64", "history": steps, "config": {},
              "rootfs": {"type": "layers", "diff_ids": [digest.of(layer) for layer in layers]}}  # fmt: skip
    with store.layout.adding() as area:
        described = area.put(media.dumps(config))
        blobs = [area.put(layer) for layer in layers]
        manifest = media.Manifest(
            media.OCI_MANIFEST, media.Descriptor(media.OCI_CONFIG, described.digest, described.size),
            tuple(media.Descriptor(media.OCI_LAYER, blob.digest, blob.size) for blob in blobs), {},
        )  # fmt: skip
        return store.add(area, manifest.to_bytes(), [reference.parse("app")])


def test_the_view_of_an_image_has_its_steps(store: ImageStore) -> None:
    image = add(store, tar(a="12345", d__b="1"), tar(a="123", d__WH_b=None))
    found = store.layer_view(image, files=True)
    assert (found["Size"], found["WastedBytes"], found["RepoTags"]) == (9, 6, ["app:latest"])
    assert [row["CreatedBy"] for row in found["Layers"]] == ["RUN step 0", "RUN step 1"]
    assert found["Layers"][1]["Files"] == [
        {"Kind": "C", "Path": "a", "Size": 3, "Count": 1}, {"Kind": "D", "Path": "d/b", "Size": 1, "Count": 1}]  # fmt: skip
    store.layers(image)
    assert found["Size"] == store.inspect(image)["Size"]


def test_an_index_is_read_once_and_goes_with_its_layer(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    image = add(store, tar(a="1"), tar(b="1"))
    first = store.layer_view(image)
    monkeypatch.setattr(contents, "read", None)
    assert store.layer_view(image) == first
    folder = store.layout.root.parent / "layers" / "contents"
    assert len(list(folder.iterdir())) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    store.remove("app")
    assert list(folder.iterdir()) == []


def test_a_damaged_index_is_made_anew(store: ImageStore) -> None:
    image = add(store, tar(a="1"))
    first = store.layer_view(image)
    [path] = (store.layout.root.parent / "layers" / "contents").iterdir()
    for damage in (b"", b"{}", b'{"version": 0}', b"\xff"):
        path.write_bytes(damage)
        assert store.layer_view(image) == first


def test_a_damaged_layer_is_told_and_not_kept(store: ImageStore) -> None:
    image = add(store, layer := tar(a="1"))
    store.layout.path(digest.of(layer)).write_bytes(layer[:-1] + b"x")
    with pytest.raises(DigestMismatch):
        store.layer_view(image)
    assert not list((store.layout.root.parent / "layers").glob("contents/*"))


def test_too_many_entries_are_refused(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    image = add(store, tar(a="1", b="2", c="3"))
    monkeypatch.setattr(contents, "ENTRIES", 2)
    with pytest.raises(LayerError, match=r"layer sha256:.*more than 2 entries"):
        store.layer_view(image)
