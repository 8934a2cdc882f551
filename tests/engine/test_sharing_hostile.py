"""ISOLATION 80, 82-85, 104, 106, 107 as far as archives, exports and names of images are concerned, as every user.

What single layers do is in ``tests/hostile``; here whole archives come through the verbs, in processes of each user.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import engines
from tests.rigs.users import User

HOSTILE = "\x1b]0;owned\x07\x1b[2J<img src=x onerror=alert(1)>\u202e\r\n"


def members(**files: bytes | str) -> bytes:
    """A tar; text values are symbolic links, with ``=`` before them hard links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            if isinstance(data, str):
                hard = data.startswith("=")
                entry.type, entry.linkname = (tarfile.LNKTYPE if hard else tarfile.SYMTYPE), data.removeprefix("=")
                tar.addfile(entry)
            else:
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def archive(layer: bytes, tags: Any = ("evil:1",), diff_id: str = "", **config: Any) -> bytes:
    """A docker-archive of one layer."""
    said = {"os": "linux", "architecture": "amd64", "config": {}, **config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id or "sha256:" + hashlib.sha256(layer).hexdigest()]}}  # fmt: skip
    row = {"Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"]}
    return members(**{"config.json": json.dumps(said).encode(), "layer.tar": layer,
                      "manifest.json": json.dumps([row]).encode()})  # fmt: skip


def _verb(words: list[str]) -> list[Any]:
    """A verb as the program runs it: exit code, stdout, stderr."""
    import contextlib

    from jupyter_containers.cli import main

    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    out.flush()
    return [code, out.buffer.getvalue().decode("latin-1"), err.getvalue()]  # type: ignore[attr-defined]


def _stored() -> list[str]:
    """What a failed load left of images, blobs and layers."""
    from jupyter_containers import from_env

    store = from_env().images.store
    store.sweep()
    blobs = [path.name for path in (store.layout.root / "blobs/sha256").iterdir()]
    return [*(image.shown for image in store.list()), *blobs, *store.unpacked.chain_ids(),
            *(path.name for path in store.unpacked.unfinished())]  # fmt: skip


ESCAPE = "../" * 20 + "etc/passwd"
BAD: dict[str, bytes] = {
    "nothing at all": b"",
    "null manifest": members(**{"manifest.json": b"null"}),
    "no manifest": members(a=b"1"),
    "a layer that is a link out": members(**{
        "manifest.json": json.dumps([{"Config": "c", "Layers": ["layer.tar"]}]).encode(),
        "c": json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"diff_ids": ["sha256:" + 64 * "0"]}}).encode(), "layer.tar": ESCAPE}),
    "a manifest that is a link out": members(**{"manifest.json": ESCAPE}),
    "a config that is a link out": members(**{
        "manifest.json": b'[{"Config": "c", "Layers": []}]', "c": ESCAPE}),
    "a member outside": members(**{"manifest.json": b"[]", "../../evil": b"x"}),
    "a layer that leaves the root": archive(members(**{"../../victim": b"x"})),
    "a layer that is another": archive(members(a=b"1"), diff_id="sha256:" + 64 * "0"),
    "a layer that is no tar": archive(b"no tar at all" * 100),
    "a hard link out": archive(members(a=b"1", x=f"={ESCAPE}")),
    "a bomb": archive(gzip.compress(members(a=bytes(1 << 20)) * 1, 9)[:200]),
    "a name with a tag of controls": archive(members(a=b"1"), tags=[f"evil{HOSTILE}:1"]),
    "a name with a path": archive(members(a=b"1"), tags=["../../x:1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_e106_a_bad_archive_is_one_clear_line_and_leaves_nothing(as_user: User, name: str) -> None:
    user = as_user.with_store("hostile")
    path = user.home / "bad.tar"
    path.write_bytes(BAD[name])
    os.chown(path, user.uid, user.gid)
    code, out, err = user.call(_verb, ["load", "-i", str(path)])
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not any(mark in err for mark in "\x1b\x07\r\u202e")
    assert user.call(_stored) == []


def test_e106_a_link_from_one_member_to_another_is_dockers_own(as_user: User) -> None:
    user = as_user.with_store("hostile")
    layer = members(a=b"1")
    said = json.dumps({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {
        "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()  # fmt: skip
    row = json.dumps([{"Config": "c", "RepoTags": ["fine:1"], "Layers": ["b/layer.tar"]}]).encode()
    path = user.home / "linked.tar"
    path.write_bytes(
        members(**{"manifest.json": row, "c": said, "a/layer.tar": layer, "b/layer.tar": "../a/layer.tar"})
    )
    os.chown(path, user.uid, user.gid)
    assert user.call(_verb, ["load", "-i", str(path)])[0] == 0
    assert user.call(_verb, ["rmi", "fine:1"])[0] == 0


NAMES = ("-rf", "a\nb", "a@b", "UPPER", "x" * 256, "../x", "a:../b", "a/../b", "sha256:../../x", "", "a b", "a\x1b[2J", ":tag",
         "a@sha256:" + 63 * "0", "host/" + "y" * 300)  # fmt: skip


def _with_names(names: list[str]) -> list[Any]:
    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError

    engine, wrong = from_env(), []
    calls = {
        "tag": lambda name: engine.images.tag("busybox:test", name),
        "save": lambda name: list(engine.images.save([name])),
        "remove": engine.images.remove,
        "import": lambda name: engine.images.import_image(io.BytesIO(members(a=b"1")), name),
        "layers": lambda name: engine.images.get(name).layers(),
        "export": lambda name: list(engine.containers.get(name).export()),
    }
    for verb, call in calls.items():
        for name in names:
            try:
                call(name)
            except ContainersError:
                continue
            if (verb, name) != ("import", ""):  # an image without a name is fine
                wrong.append([verb, name])
    return wrong


def test_e104_names_are_checked_before_they_are_used(as_user: User) -> None:
    engines.add_busybox(as_user)
    assert as_user.call(_with_names, NAMES) == []
    code, _, err = as_user.call(_verb, ["tag", "busybox:test", "Ab"])
    assert (code, "Did you mean ab?" in err) == (1, True)


def test_e107_what_an_image_calls_itself_steers_no_terminal_and_no_notebook(as_user: User) -> None:
    """Names of files, commands, comments, labels, authors: in every verb that shows them."""
    user = as_user.with_store("hostile")
    layer = members(**{f"dir{HOSTILE}/{HOSTILE}": b"x"})
    step = {"created": HOSTILE, "created_by": HOSTILE, "comment": HOSTILE}
    config = {"Labels": {HOSTILE: HOSTILE}, "Cmd": [HOSTILE], "Env": [HOSTILE]}
    path = user.home / "shown.tar"
    path.write_bytes(archive(layer, config=config, history=[step], author=HOSTILE, comment=HOSTILE, created=HOSTILE))
    os.chown(path, user.uid, user.gid)
    said = [user.call(_verb, ["load", "-i", str(path)])]
    for words in (["images"], ["images", "--tree"], ["history", "--no-trunc", "evil:1"], ["inspect", "evil:1"],
                  ["layers", "evil:1"], ["layers", "--files", "evil:1"], ["history", "--format", "{{.Comment}}", "evil:1"],
                  ["inspect", "-f", "{{.Author}}{{.Config.Labels}}", "evil:1"]):  # fmt: skip
        said.append(user.call(_verb, words))
    shown = user.call(_as_html)
    user.call(_verb, ["rmi", "-f", "evil:1"])
    for code, out, err in said:
        assert code == 0
        assert not any(mark in out.encode("latin-1").decode() + err for mark in "\x1b\x07\r\u202e")
    for html in shown:
        assert "<img" not in html
        assert not any(mark in html for mark in "\x1b\x07\u202e")


def _as_html() -> list[str]:
    from jupyter_containers import from_env
    from jupyter_containers.cli import run_verb

    engine = from_env()
    lines = (["images"], ["history", "evil:1"], ["layers", "evil:1"], ["images", "--tree"], ["inspect", "evil:1"])
    return [run_verb(words, engine)._repr_html_() for words in lines]


def _where_links_lead(volume: str) -> list[str]:
    """An image in which a mount point and a folder that is exported are links to the host."""
    from jupyter_containers import from_env

    engine = from_env()
    root = members(etc="../../../../../../etc", data=volume, proc__x=b"")
    image = engine.images.import_image(io.BytesIO(root), "links", "1", changes=['CMD ["none"]'])
    container = engine.containers.create("links:1")
    data = b"".join(container.export())
    container.remove()
    engine.images.remove(image.id, force=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return sorted(f"{entry.name}>{entry.linkname}" for entry in found)


def test_c84_c85_links_of_an_image_are_exported_as_links(as_user: User) -> None:
    found = as_user.call(_where_links_lead, "/etc")
    assert "etc>../../../../../../etc" in found
    assert "data>/etc" in found
    assert not [name for name in found if name.startswith(("etc/", "data/"))]
    assert Path("/etc/passwd").exists()
