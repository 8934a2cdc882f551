"""JSON of images, platforms and errors: valid, invalid, at odds with itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_containers import errors
from jupyter_containers.errors import ContainersError, InvalidArgument, InvalidImage, WrongPlatform, suggest
from jupyter_containers.image import media, platforms
from jupyter_containers.image.platforms import Platform

SHA = "sha256:" + 64 * "a"
PART = {"mediaType": media.OCI_CONFIG, "digest": SHA, "size": 3}


def manifest(**more: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": PART, "layers": [], **more}
    ).encode()


def test_a_manifest_and_what_it_writes() -> None:
    found = media.manifest(manifest(layers=[PART]), "here", media.OCI_MANIFEST)
    assert (found.config.digest, len(found.layers)) == (SHA, 1)
    assert media.manifest(found.to_bytes(), "here") == found


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"), (b"null", "not a JSON object"), (b"[]", "not a JSON object"), (b"[" * 100_000, "not JSON"),
        (b"{}", "not an image manifest"), (manifest(manifests=[]), "not an image manifest"),
        (manifest(layers=None), "not an image manifest"), (manifest(config=None), "descriptor is missing"),
        (manifest(config={**PART, "size": -1}), "size"), (manifest(config={**PART, "size": True}), "size"),
        (manifest(config={**PART, "size": "3"}), "size"),
        (manifest(config={**PART, "digest": "sha256:../x"}), "digest"),
        (manifest(config={**PART, "digest": 7}), "digest"), (manifest(layers=[PART] * 501), "501 layers"),
        (manifest(mediaType=media.OCI_INDEX), "found as"), (manifest(schemaVersion=1), "schema 1"),
        (manifest(mediaType=7), "found as"), (manifest(annotations={"a": "x" * (5 << 20)}), "larger than"),
    ],
)  # fmt: skip
def test_98_99_manifests_that_are_none_or_too_much(data: bytes, why: str) -> None:
    with pytest.raises(InvalidImage, match=why):
        media.manifest(data, "here", media.OCI_MANIFEST)


def test_98_an_index_with_layers_is_refused() -> None:
    for more in ({"layers": []}, {"config": PART}):
        with pytest.raises(InvalidImage, match="not an image index"):
            media.index(json.dumps({"manifests": [], **more}).encode(), "here")
    with pytest.raises(InvalidImage, match="10001 entries"):
        media.index(json.dumps({"manifests": [0] * 10_001}).encode(), "here")


@pytest.mark.parametrize(
    "value",
    [{}, {"os": "linux"}, {"os": 3, "architecture": "amd64"}, {"os": "linux", "architecture": "amd64", "rootfs": {
        "diff_ids": ["x"]}}, {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": "x"}}],
)  # fmt: skip
def test_configurations_that_are_none(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidImage):
        media.config(json.dumps(value).encode(), "here")


@pytest.mark.parametrize(
    ("text", "normal"),
    [("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("aarch64", "linux/arm64"),
     ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"), ("linux/armhf", "linux/arm/v7"),
     ("linux/arm/v6", "linux/arm/v6"), ("linux/arm/7", "linux/arm/v7"), ("Linux/AMD64", "linux/amd64"),
     ("linux/amd64/v3", "linux/amd64/v3"), ("windows/amd64", "windows/amd64"), ("riscv64", "linux/riscv64")],
)  # fmt: skip
def test_platforms_have_one_spelling(text: str, normal: str) -> None:
    assert str(platforms.parse(text)) == normal


def test_a_misspelt_platform_is_mended() -> None:
    with pytest.raises(InvalidArgument, match="Did you mean amd64"):
        platforms.parse("linux/amd46")
    for text in ("", "linux/", "a/b/c/d", "linux/amd64/v1/x", "amd64/linux"):
        with pytest.raises(InvalidArgument):
            platforms.parse(text)


def test_the_best_platform_is_the_nearest_that_runs() -> None:
    offered = [platforms.parse(text) for text in ("linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/amd64")]
    assert platforms.best(platforms.parse("linux/arm64"), offered) == 2
    assert platforms.best(platforms.parse("linux/arm/v6"), offered) == 0
    assert platforms.best(platforms.parse("linux/amd64/v3"), offered) == 3
    assert platforms.best(platforms.parse("linux/s390x"), offered) is None
    platforms.check(Platform("linux", "amd64"), platforms.parse("linux/amd64"), "image x")
    with pytest.raises(WrongPlatform, match=r"image x: the image is for linux/s390x, not for linux/amd64"):
        platforms.check(Platform("linux", "s390x"), platforms.parse("linux/amd64"), "image x")


def test_errors_say_where_what_and_mend() -> None:
    error = errors.ImageNotFound("no such image", "store", "Pull it.")
    assert str(error) == "store: no such image. Pull it."
    assert str(errors.Conflict("in use")) == "in use"
    assert suggest("debain", ["ubuntu", "debian"]) == "Did you mean debian?"
    assert suggest("xyz", ["ubuntu", "debian"]) == ""


def everything(kind: type[ContainersError]) -> list[type[ContainersError]]:
    """The public errors; other modules may have kinds of their own, which no other process ever sees."""
    subs = (sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__)
    return [kind, *(deep for sub in subs for deep in everything(sub))]


@pytest.mark.parametrize("kind", everything(ContainersError))
def test_every_error_is_drawn_in_the_tree_and_crosses_processes(kind: type[ContainersError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    error = kind(3, "oom", "debian", 1.5, "x") if kind is errors.ContainerExit else kind("what", "where", "mend")  # type: ignore[arg-type,call-arg]
    again = ContainersError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert (type(again), str(again), again.__dict__) == (kind, str(error), error.__dict__)
    assert 400 <= kind.status < 600


def test_an_unknown_error_is_still_one() -> None:
    assert str(ContainersError.from_dict({"kind": "SomethingNew", "what": "w"})) == "w"
