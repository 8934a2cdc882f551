"""Uploads that break off, get lost, or are not wanted: continued, begun anew, or not sent at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_containers.errors import DigestMismatch, RegistryError
from jupyter_containers.image import reference
from jupyter_containers.image.registry.access import Access, Timing
from jupyter_containers.image.registry.pull import pull
from jupyter_containers.image.registry.push import push
from jupyter_containers.image.store import ImageStore
from tests.rigs import bad_registry as bad
from tests.rigs.bad_registry import BadRegistry, Handler, tar_of

CHUNK = 100_000
SIZE = 450_000


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    with bad.running() as found:
        yield found


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(docker_config=tmp_path / "none.json", timing=Timing(answer=2, commit=2, attempts=3, first=0.01))


@pytest.fixture
def store(registry: BadRegistry, access: Access, tmp_path: Path) -> ImageStore:
    """A store with an image of one large layer, which the registry does not have any more."""
    store = (
        ImageStore(tmp_path / "home", "root")
        if os.geteuid() == 0
        else ImageStore(tmp_path / "home", "rootless-single", lambda argv: ["unshare", "-Ur", *argv])
    )
    registry.image("x:1", tar_of(SIZE))
    pull(store, f"{registry.host}/x:1", access)
    registry.blobs.clear()
    registry.requests.clear()
    return store


def again(store: ImageStore, registry: BadRegistry, access: Access, chunk: int = CHUNK) -> None:
    """Push it; the registry has all of it then."""
    image = store.resolve(f"{registry.host}/x:1")
    assert push(store, f"{registry.host}/x:1", access, chunk=chunk)[0].digest == image.target.digest
    assert {part.digest for part in (image.manifest.config, *image.manifest.layers)} <= set(registry.blobs)


def ranges(registry: BadRegistry) -> list[str]:
    return [r.headers["Content-Range"] for r in registry.requests if r.method == "PATCH"]


def patches(act: bad.Fault, number: int) -> bad.Fault:
    """*act* on the PATCH of that number, and on no other request."""
    seen = [0]

    def fault(handler: Handler) -> bool:
        if handler.command != "PATCH":
            return False
        seen[0] += 1
        return seen[0] == number and act(handler)

    return fault


def breaks_off(after: int) -> bad.Fault:
    def fault(handler: Handler) -> bool:
        name = handler.path.rpartition("/")[2]
        handler.server.registry.uploads[name] += handler.rfile.read(after)
        return handler.reset()

    return fault


def test_chunks_follow_each_other(store: ImageStore, registry: BadRegistry, access: Access) -> None:
    again(store, registry, access)
    assert ranges(registry)[:2] == ["0-99999", "100000-199999"]
    assert len(ranges(registry)) == 5


def test_a_chunk_that_breaks_off_is_continued_where_the_registry_says(
    store: ImageStore, registry: BadRegistry, access: Access
) -> None:
    registry.fault("uploads", patches(breaks_off(30_000), 2))
    again(store, registry, access)
    assert ranges(registry)[:3] == ["0-99999", "100000-199999", "130000-229999"]


def test_a_registry_that_wants_another_range_is_asked_for_it(
    store: ImageStore, registry: BadRegistry, access: Access
) -> None:
    def unwanted(handler: Handler) -> bool:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        return handler.answer(416)

    registry.fault("uploads", patches(unwanted, 2))
    again(store, registry, access)
    assert ranges(registry)[:3] == ["0-99999", "100000-199999", "100000-199999"]


def test_an_upload_that_got_lost_is_begun_anew(store: ImageStore, registry: BadRegistry, access: Access) -> None:
    def loses(handler: Handler) -> bool:
        handler.server.registry.uploads.pop(handler.path.rpartition("/")[2])
        return handler.reset()

    registry.fault("uploads", patches(loses, 3))
    again(store, registry, access)
    assert ranges(registry)[3] == "0-99999"


def test_an_upload_that_always_breaks_off_is_given_up(store: ImageStore, registry: BadRegistry, access: Access) -> None:
    registry.fault("uploads", lambda handler: handler.command == "PATCH" and breaks_off(10)(handler))
    with pytest.raises(RegistryError, match="tries"):
        push(store, f"{registry.host}/x:1", access, chunk=CHUNK)
    assert len(ranges(registry)) <= 10
    assert "x/1" in registry.documents  # from before; no manifest was sent
    assert not any(request.method == "PUT" and "manifests" in request.path for request in registry.requests)


def test_a_small_blob_that_breaks_off_is_sent_again(store: ImageStore, registry: BadRegistry, access: Access) -> None:
    left = [2]

    def breaks(handler: Handler) -> bool:
        left[0] -= handler.command == "PUT"
        return handler.command == "PUT" and left[0] >= 0 and handler.reset()

    registry.fault("uploads", breaks)
    again(store, registry, access, chunk=1 << 20)
    assert ranges(registry) == []


def test_a_registry_that_wants_larger_chunks_gets_them(
    store: ImageStore, registry: BadRegistry, access: Access
) -> None:
    def wants(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        name = f"w{len(handler.server.registry.uploads)}"
        handler.server.registry.uploads[name] = bytearray()
        path = handler.path.partition("?")[0]
        return handler.answer(202, Location=f"{path}{name}", OCI_Chunk_Min_Length="250000")

    registry.fault("uploads", wants)
    again(store, registry, access)
    assert ranges(registry)[0] == "0-249999"


def test_a_mount_that_is_refused_is_an_upload(store: ImageStore, registry: BadRegistry, access: Access) -> None:
    store.tag(f"{registry.host}/x:1", f"{registry.host}/y:1")
    push(store, f"{registry.host}/y:1", access)
    posts = [request.path for request in registry.requests if request.method == "POST"]
    assert any("mount=sha256" in path and "from=x" in path for path in posts)
    assert any(request.method == "DELETE" for request in registry.requests)
    assert set(store.resolve(f"{registry.host}/y:1").manifest.layers[0].digest.split()) <= set(registry.blobs)


def test_an_upload_elsewhere_gets_no_credentials(
    store: ImageStore, registry: BadRegistry, access: Access, tmp_path: Path
) -> None:
    from dataclasses import replace

    from tests.rigs.registry import docker_config

    logged_in = replace(access, docker_config=docker_config(tmp_path / "docker", registry.host))
    registry.fault("uploads", lambda h: not h.headers.get("Authorization") and bad.challenges('Basic realm="r"')(h))
    with bad.running() as other:

        def elsewhere(handler: Handler) -> bool:
            if handler.command != "POST":
                return False
            name = f"e{len(other.uploads)}"
            other.uploads[name] = bytearray()
            return handler.answer(202, Location=f"http://{other.host}/v2/x/blobs/uploads/{name}")

        registry.fault("uploads", elsewhere)
        push(store, f"{registry.host}/x:1", logged_in)
        assert any("Authorization" in request.headers for request in registry.requests)
        assert other.requests
        assert not any("Authorization" in request.headers for request in other.requests)


def test_a_registry_that_says_to_have_got_something_else(
    store: ImageStore, registry: BadRegistry, access: Access
) -> None:
    def lies(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        handler.rfile.read(int(handler.headers["Content-Length"]))
        return handler.answer(201, Docker_Content_Digest="sha256:" + "0" * 64)

    registry.fault("uploads", lies)
    with pytest.raises(DigestMismatch, match="says to have got"):
        push(store, f"{registry.host}/x:1", access)
    assert reference.parse(f"{registry.host}/x:1").tag == "1"
