"""ISOLATION 96-105: registries that lie, send elsewhere, ask for too much, or never come to an end.

Verdict everywhere: the right image or one clear error, in bounded time; nothing partial counts as whole; credentials
reach nobody but the registry they are for, and nobody's eyes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import stat
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_kit import Scene, scene

from jupyter_containers.errors import (
    ContainersError,
    DigestMismatch,
    ImageNotFound,
    InvalidArgument,
    InvalidImage,
    InvalidReference,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
    WrongPlatform,
)
from jupyter_containers.image import reference
from jupyter_containers.image.registry import redirects
from jupyter_containers.image.registry.access import Access, own
from jupyter_containers.image.registry.credentials import Credentials, Login
from jupyter_containers.image.registry.login import login
from jupyter_containers.image.registry.secret import Secret
from tests.rigs import bad_registry as bad
from tests.rigs.bad_registry import INDEX, MANIFEST, BadRegistry, tar_of

SECRET = "correct-horse-battery"


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    with bad.running() as found:
        yield found


@pytest.fixture
def other() -> Iterator[BadRegistry]:
    """Another host: the same address has another port."""
    with bad.running() as found:
        yield found


@pytest.fixture
def at(registry: BadRegistry, tmp_path: Path) -> Scene:
    return scene(registry, tmp_path)


def layer_of(manifest: dict[str, list[dict[str, str]]]) -> str:
    return manifest["layers"][0]["digest"]


# --- 96: content that is not what it is called ---


def test_e96_an_honest_image_is_pulled(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(100_000), tar_of(3, "b"))
    assert at.pull().newer
    assert len(at.store.list()) == 1
    assert at.partial == []


def test_e96_a_blob_with_other_bytes_is_refused_and_removed(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(50_000)))
    size = len(at.registry.blobs[digest])
    at.registry.fault("blobs", only(digest, bad.sends(os.urandom(size))))
    at.refuses(DigestMismatch, "with digest")
    assert at.partial == []


def test_e96_a_longer_blob_is_refused_and_removed(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(50_000)))
    data = at.registry.blobs[digest]
    at.registry.fault("blobs", only(digest, bad.sends(data + b"more")))
    at.refuses(DigestMismatch, "instead of")
    assert at.partial == []


def test_e96_a_blob_without_end_is_refused_at_its_size(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(50_000)))

    def endless(handler: bad.Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.ending.is_set():
            handler.wfile.write(bytes(65536))
        return True

    at.registry.fault("blobs", only(digest, endless))
    at.refuses(DigestMismatch, "more than the expected")
    assert at.partial == []


def test_e96_a_shorter_blob_is_refused_and_removed(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(50_000)))
    at.registry.fault("blobs", only(digest, bad.sends(at.registry.blobs[digest][:-10])))
    at.refuses(DigestMismatch, "instead of")
    assert at.partial == []


def test_e96_a_blob_that_ends_before_its_length_is_tried_again_and_then_given_up(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(50_000)))
    data = at.registry.blobs[digest]
    at.registry.fault("blobs", only(digest, bad.sends(data[:100], len(data))))
    at.refuses(RegistryError, "3 tries")


def test_e96_a_configuration_with_other_bytes_is_refused(at: Scene) -> None:
    config = at.registry.image("x:latest", tar_of(10))["config"]
    at.registry.fault("blobs", only(config["digest"], bad.sends(b"{" + bytes(config["size"] - 1))))
    at.refuses(DigestMismatch, "with digest")


def test_e96_a_manifest_that_is_not_what_was_asked_for_by_digest(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(10))
    data, _ = at.registry.documents["x/latest"]
    other = "sha256:" + "ab" * 32
    at.registry.documents[f"x/{other}"] = (data, MANIFEST)
    at.refuses(DigestMismatch, other, lambda: at.pull(f"x@{other}"))


def test_e96_a_manifest_whose_header_has_another_digest(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(10))
    data, _ = at.registry.documents["x/latest"]
    fault = bad.status(200, data, Content_Type=MANIFEST, Docker_Content_Digest="sha256:" + "cd" * 32)
    at.registry.fault("manifests", fault)
    at.refuses(DigestMismatch, "cd" * 32)


def test_e96_a_child_of_an_index_with_other_bytes_or_size(at: Scene) -> None:
    at.registry.image("y:1", tar_of(10))
    at.registry.image("z:1", tar_of(20))
    data, _ = at.registry.documents["y/1"]
    child = at.registry.document("x:child", data)
    platform = {"os": "linux", "architecture": "amd64"}
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [{**child, "platform": platform}]}, INDEX)
    at.registry.documents[f"x/{child['digest']}"] = at.registry.documents["z/1"]
    at.refuses(DigestMismatch, child["digest"])
    at.registry.documents[f"x/{child['digest']}"] = (data, MANIFEST)
    bigger = {**child, "size": child["size"] + 1, "platform": platform}
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [bigger]}, INDEX)
    at.refuses(DigestMismatch, child["digest"])


def test_e96_a_partial_blob_is_never_believed(at: Scene) -> None:
    """What lies there for continuing may be anybody's: it is hashed, and thrown away when it does not fit."""
    digest = layer_of(at.registry.image("x:latest", tar_of(300_000)))
    at.store.layout.partial(digest).write_bytes(b"poison" * 1000)
    assert at.pull().newer
    asked = [r.headers.get("Range") for r in at.registry.requests if r.path.endswith(digest)]
    assert asked == ["bytes=6000-", None]


def test_e96_a_whole_partial_blob_with_other_bytes_is_never_believed(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(300_000)))
    at.store.layout.partial(digest).write_bytes(bytes(len(at.registry.blobs[digest])))
    assert at.pull().newer


def test_e96_a_layer_whose_content_is_not_its_diff_id(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    config = json.loads(at.registry.blobs[manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = ["sha256:" + "ee" * 32]
    manifest["config"] |= at.registry.add(json.dumps(config).encode())
    at.registry.document("x:latest", manifest)
    at.refuses(DigestMismatch, "diff id")


def only(digest: str, fault: bad.Fault) -> bad.Fault:
    return lambda handler: handler.path.endswith(digest) and fault(handler)


# --- 97: digests in paths and URLs ---


@pytest.mark.parametrize(
    "digest", ["sha256:../../x", "sha256:" + "AB" * 32, "../../etc/passwd", "sha256:" + "a" * 63, 7, None]
)
def test_e97_a_digest_is_looked_at_before_it_is_used(at: Scene, digest: object) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    manifest["layers"][0]["digest"] = digest
    at.registry.document("x:latest", manifest)
    at.refuses(InvalidImage, "not a digest")
    assert at.registry.count("blobs") == 0


def test_e97_a_digest_header_is_never_a_path(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(10))
    data, _ = at.registry.documents["x/latest"]
    at.registry.fault(
        "manifests", bad.status(200, data, Content_Type=MANIFEST, Docker_Content_Digest="sha256:../../../x")
    )
    assert at.pull().digest.startswith("sha256:")


# --- 98: documents of two kinds ---


def test_e98_a_manifest_that_is_an_index_as_well(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    at.registry.document("x:latest", manifest | {"manifests": []})
    at.refuses(InvalidImage, "not an image manifest")
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [], "layers": [], "config": {}}, INDEX)
    at.refuses(InvalidImage, "not an image index")


def test_e98_a_media_type_that_is_another_in_the_header(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    at.registry.document("x:latest", manifest, INDEX)
    at.refuses(InvalidImage, "but was found as")


def test_e98_a_document_that_says_nothing_and_could_be_both(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    del manifest["mediaType"]
    at.registry.document("x:latest", manifest | {"manifests": []}, "application/json")
    at.refuses(InvalidImage, "not an image manifest")


def test_e98_a_child_whose_index_calls_it_something_else(at: Scene) -> None:
    manifest = at.registry.image("x:child", tar_of(10))
    child = at.registry.document("x:child", {k: v for k, v in manifest.items() if k != "mediaType"}, MANIFEST)
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    entry = {**child, "mediaType": docker, "platform": {"os": "linux", "architecture": "amd64"}}
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [entry]}, INDEX)
    at.refuses(InvalidImage, "the registry")


def test_e98_an_old_manifest_is_said_to_be_one(at: Scene) -> None:
    at.registry.document("x:latest", {"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws")
    at.refuses(InvalidImage, "schema 1")


# --- 99: bounds ---


def test_e99_a_manifest_of_more_than_4_mib(at: Scene) -> None:
    at.registry.document("x:latest", b" " * (4 << 20) + b"{}")
    at.refuses(RegistryError, "larger than 4194304 bytes")


def test_e99_a_manifest_without_end(at: Scene) -> None:
    def endless(handler: bad.Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", MANIFEST)
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.ending.is_set():
            handler.wfile.write(b" " * 65536)
        return True

    at.registry.fault("manifests", endless)
    at.refuses(RegistryError, "larger than 4194304 bytes")


def test_e99_an_index_with_too_many_entries(at: Scene) -> None:
    entry = {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 1}
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [entry] * 20_000}, INDEX)
    at.refuses(InvalidImage, "20000 entries")


def test_e99_an_index_in_an_index_is_followed_but_not_for_ever(at: Scene) -> None:
    platform = {"os": "linux", "architecture": "amd64"}
    at.registry.image("x:image", tar_of(10))
    found = at.registry.document("x:image", at.registry.documents["x/image"][0])
    for depth in range(1, 4):
        found = at.registry.document(
            f"x:{depth}", {"schemaVersion": 2, "manifests": [{**found, "platform": platform}]}, INDEX
        )
    at.refuses(InvalidImage, "nested", lambda: at.pull("x:3"))
    assert at.pull("x:2").newer


def test_e99_an_index_that_holds_itself_ends(at: Scene) -> None:
    """It cannot hold its own digest, but a registry may answer with anything for any digest; that is caught by 96."""
    entry = {"mediaType": INDEX, "digest": "sha256:" + "0" * 64, "size": 10}
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": [entry]}, INDEX)
    at.registry.documents["x/sha256:" + "0" * 64] = at.registry.documents["x/latest"]
    at.refuses(DigestMismatch, "instead of")


def test_e99_too_many_layers(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    at.registry.document("x:latest", manifest | {"layers": manifest["layers"] * 10_000})
    at.refuses(InvalidImage, "10000 layers")


def test_e99_a_configuration_of_a_gigabyte(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    manifest["config"]["size"] = 1 << 30
    at.registry.document("x:latest", manifest)
    at.refuses(InvalidImage, "configuration has 1073741824 bytes")
    assert at.registry.count("blobs") == 0


def test_e99_a_layer_larger_than_the_disk(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(10))
    manifest["layers"][0]["size"] = 1 << 60
    at.registry.document("x:latest", manifest)
    at.refuses(ContainersError, "too full")


def test_e99_tags_without_end(at: Scene) -> None:
    page = [0]

    def more(handler: bad.Handler) -> bool:
        page[0] += 1
        tags = [f"t{page[0]}-{number}" for number in range(5000)]
        return handler.answer(
            200, json.dumps({"tags": tags}).encode(), Link=f'</v2/x/tags/list?n={page[0]}>; rel="next"'
        )

    at.registry.fault("tags", more)
    at.refuses(ContainersError, "", lambda: at.pull("x", all_tags=True))
    assert page[0] <= 5


def test_e99_an_error_document_without_end(at: Scene) -> None:
    at.registry.fault("manifests", bad.status(400, b"x" * (1 << 20)))
    at.refuses(RegistryError, "larger than")


def test_e99_an_image_for_other_machines(at: Scene) -> None:
    entry = {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 10}
    entries = [{**entry, "platform": {"os": "linux", "architecture": "s390x"}}]
    at.registry.document("x:latest", {"schemaVersion": 2, "manifests": entries}, INDEX)
    at.refuses(WrongPlatform, "linux/s390x")


# --- 100: layers elsewhere ---


def test_e100_urls_of_a_layer_are_never_asked(at: Scene, other: BadRegistry) -> None:
    at.logged_in()
    manifest = at.registry.image("x:latest", tar_of(10))
    data = at.registry.blobs.pop(layer_of(manifest))
    other.add(data)
    manifest["layers"][0]["urls"] = [f"http://{other.host}/v2/x/blobs/{layer_of(manifest)}"]
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    at.registry.document("x:latest", manifest)
    at.refuses(RegistryError, "URLs that are not asked")
    assert other.requests == []


# --- 101 and 102: where answers send us ---


def test_e101_a_redirect_to_another_port_gets_no_credentials(at: Scene, other: BadRegistry) -> None:
    at.logged_in()
    at.registry.image("x:latest", tar_of(10))
    other.blobs = at.registry.blobs
    at.registry.fault("manifests", bad.challenges('Basic realm="r"', unless=basic(at)))
    at.registry.fault("blobs", bad.redirects(f"http://{other.host}{{path}}"))
    assert at.pull().newer
    assert any("Authorization" in request.headers for request in at.registry.requests)
    assert other.count("blobs") == 2
    assert not any("Authorization" in request.headers for request in other.requests)


def test_e101_a_challenge_of_another_host_gets_no_credentials(at: Scene, other: BadRegistry) -> None:
    """CVE-2020-15157: who is asked for a blob in the registry's place may want to know who we are. It learns nothing."""
    at.logged_in()
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault("manifests", bad.challenges('Basic realm="r"', unless=basic(at)))
    at.registry.fault("blobs", bad.redirects(f"http://{other.host}{{path}}"))
    other.fault("blobs", bad.challenges('Basic realm="me"'))
    at.refuses(RegistryDenied, "401")
    assert not any("Authorization" in request.headers for request in other.requests)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://169.254.169.254/latest/meta-data", "leads to"),
        ("http://[fe80::1]/x", "leads to"),
        ("https://169.254.169.254/x", "leads to"),
        ("https://[fe80::1]/x", "leads to"),
        ("https://[::ffff:169.254.169.254]/x", "leads to"),
        ("https://0.0.0.0/x", "leads to"),
        ("https://[fd00:ec2::254]/x", "leads to"),
        ("https://2852039166/x", "leads to"),
        ("https://0xa9fea9fe/x", "leads to"),
        ("file:///etc/passwd", "only http and https"),
        ("ftp://127.0.0.1/x", "only http and https"),
        ("http://user:pw@127.0.0.1/x", "user name"),
        ("http://registry.example/x", "plain http on another host"),
        ("http://127.0.0.1:1/\x7f", "no proper URL"),
    ],
)
def test_e102_a_redirect_that_nobody_may_follow(at: Scene, location: str, why: str) -> None:
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault("blobs", bad.redirects(location))
    at.refuses(RegistryError, why)


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://127.1/"]
)
def test_e102_a_registry_elsewhere_may_not_send_us_to_ourselves(location: str) -> None:
    (elsewhere,) = own("registry.example", Access())
    with pytest.raises(RegistryError, match="refused"):
        redirects.leads_to(location, redirects.of_endpoint(elsewhere, "/v2/"), elsewhere)


def test_e102_a_name_that_leads_to_ourselves_is_found_out_by_its_address(at: Scene) -> None:
    import socket

    from jupyter_containers.image.registry.sockets import ForbiddenAddress, check_address

    with socket.create_connection(tuple(at.registry.host.split(":"))) as sock, pytest.raises(ForbiddenAddress):
        check_address(sock, lambda address: redirects.is_forbidden(address, False))


def test_e101_https_never_becomes_http() -> None:
    (secure,) = own("registry.example", Access())
    with pytest.raises(RegistryError, match="from https to plain http"):
        redirects.leads_to("http://registry.example/v2/", redirects.of_endpoint(secure, "/v2/"), secure)


def test_e101_redirects_end(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault("blobs", bad.redirects("{path}"))
    at.refuses(RegistryError, "redirects more than 5 times")


def test_e101_an_upload_is_not_sent_elsewhere_by_redirect(at: Scene, other: BadRegistry) -> None:
    from jupyter_containers.image.registry.push import push

    at.registry.image("x:latest", tar_of(10))
    at.pull()
    at.store.tag(f"{at.registry.host}/x:latest", f"{at.registry.host}/y:latest")
    at.registry.blobs.clear()
    at.registry.fault("uploads", bad.redirects(f"http://{other.host}{{path}}"))
    with pytest.raises(RegistryError, match="redirects a POST"):
        push(at.store, f"{at.registry.host}/y:latest", at.access)
    assert other.requests == []


@pytest.mark.parametrize(
    "realm", ["https://evil.example/token", "https://auth.docker.io/token", "https://127.0.0.2/token"]
)
def test_e101_a_realm_on_another_host_gets_no_password(at: Scene, realm: str) -> None:
    at.logged_in()
    at.registry.fault("manifests", bad.challenges(f'Bearer realm="{realm}",service="s"'))
    error = at.refuses(RegistryDenied, "which is another host")
    assert "JUPYTER_CONTAINERS_TOKEN_HOSTS" in error.mend


@pytest.mark.parametrize(
    "realm",
    [
        "http://169.254.169.254/token",
        "file:///etc/passwd",
        "http://evil.example/token",
        "",
        "gopher://x",
        "http://u:p@127.0.0.1/",
    ],
)
def test_e101_a_realm_that_nobody_may_ask(at: Scene, realm: str) -> None:
    at.registry.fault("manifests", bad.challenges(f'Bearer realm="{realm}",service="s"'))
    at.refuses(RegistryError, "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Negotiate",
        "Bearer",
        "Basic",
        'Bearer realm="',
        "=" * 5000,
        'Bearer realm="' + "a" * 9000,
        'Digest realm="x", nonce="y"',
    ],
)
def test_e101_an_odd_challenge_is_an_error_and_no_crash(at: Scene, header: str) -> None:
    at.registry.fault("manifests", bad.challenges(header))
    at.refuses(RegistryDenied, "pull access denied")


def test_e101_a_token_with_a_line_break_is_no_header(at: Scene) -> None:
    realm = f"http://{at.registry.host}/token"
    at.registry.fault("manifests", bad.challenges(f'Bearer realm="{realm}"'))
    at.registry.fault("other", bad.status(200, json.dumps({"token": "a\r\nX-Evil: 1"}).encode()))
    at.refuses(RegistryError, "no token")


def test_e101_a_token_is_used_for_its_scope_and_registry_only(at: Scene, other: BadRegistry) -> None:
    realm = f"http://{at.registry.host}/token"
    given: list[str] = []

    def token(handler: bad.Handler) -> bool:
        given.append(handler.path)
        return handler.answer(200, json.dumps({"token": f"token{len(given)}"}).encode())

    def wanted(handler: bad.Handler) -> bool:
        if handler.headers.get("Authorization", "").startswith("Bearer token"):
            return False
        return handler.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="repository:zzz:*"')

    for name in ("x:latest", "y:latest"):
        at.registry.image(name, tar_of(10))
    for kind in ("manifests", "blobs"):
        at.registry.fault(kind, wanted)
    at.registry.fault("other", token)
    at.registry.fault("blobs", bad.redirects(f"http://{other.host}{{path}}"))
    other.blobs = at.registry.blobs
    at.pull("x:latest")
    at.pull("y:latest")
    assert ["repository%3Ax%3Apull" in path for path in given] == [True, False]
    assert "repository%3Ay%3Apull" in given[1]
    assert not any("zzz" in path for path in given)
    used = {
        (r.path.split("/")[2], r.headers["Authorization"]) for r in at.registry.requests if "Authorization" in r.headers
    }
    assert used == {("x", "Bearer token1"), ("y", "Bearer token2")}
    assert not any("Authorization" in request.headers for request in other.requests)


def basic(at: Scene) -> str:
    found = Credentials(at.access.docker_config).find(at.registry.host)
    assert found
    return found.basic().reveal()


# --- 103: secrets ---


def test_e103_an_error_never_has_the_secret_even_if_the_registry_sends_it_back(at: Scene) -> None:
    at.logged_in(user="me", password=SECRET)
    header = basic(at)

    def echoes(handler: bad.Handler) -> bool:
        given = handler.headers.get("Authorization", "")
        if not given:
            return handler.answer(401, WWW_Authenticate='Basic realm="r"')
        text = f"go away {given} {SECRET}"
        return handler.answer(403, json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode())

    at.registry.fault("manifests", echoes)
    error = at.refuses(RegistryDenied, "denied")
    assert_hidden(error, SECRET, header.split()[1])


@pytest.mark.parametrize(
    "fault", [bad.silent(), bad.status(500), lambda h: h.reset(), bad.status(200, b"x", Content_Type=MANIFEST)]
)
def test_e103_a_traceback_with_variables_has_no_secret(at: Scene, fault: bad.Fault) -> None:
    at.logged_in(user="me", password=SECRET)
    header = basic(at)
    at.registry.fault("manifests", bad.challenges('Basic realm="r"', unless=header))
    at.registry.fault("manifests", fault)
    error = at.refuses(ContainersError, "")
    assert_hidden(error, SECRET, header.split()[1])


def test_e103_a_traceback_of_the_token_dance_has_no_secret(at: Scene) -> None:
    at.logged_in(user="me", password=SECRET)
    header, realm = basic(at), f"http://{at.registry.host}/token"
    at.registry.fault("manifests", bad.challenges(f'Bearer realm="{realm}"'))
    for fault in (
        bad.status(200, b'{"token": "tok-en-1234"}'),
        bad.status(401),
        bad.status(500),
        bad.status(200, b"{}"),
    ):
        at.registry.faults["other"] = [fault]
        assert_hidden(at.refuses(ContainersError, ""), SECRET, header.split()[1], "tok-en-1234")


def assert_hidden(error: BaseException, *secrets: str) -> None:
    """Neither its text, nor its JSON, nor its traceback with every variable in it shows a secret."""
    assert isinstance(error, ContainersError)
    shown = [str(error), repr(error), json.dumps(error.to_dict(), default=str)]
    chain: BaseException | None = error
    while chain is not None:
        shown += [str(chain), repr(chain)]
        for frame, _ in traceback.walk_tb(chain.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:  # the test itself knows the secret
                shown += [f"{frame.f_code.co_qualname}: {name} = {value!r}" for name, value in frame.f_locals.items()]
        chain = chain.__context__
    assert not [line for line in shown for secret in secrets if secret in line]


def test_e103_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(SECRET)
    login = Login("me", secret)
    for text in (repr(secret), str(secret), f"{secret}", repr(login), str({"a": secret}), repr(login.basic())):
        assert SECRET not in text
    with pytest.raises(TypeError):
        json.dumps(secret)
    import copy
    import pickle

    for act in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            act(secret)


def test_e103_the_file_is_for_its_owner_only(at: Scene) -> None:
    at.registry.fault("ping", bad.challenges('Basic realm="r"', unless=Login("me", Secret(SECRET)).basic().reveal()))
    before = os.umask(0)
    try:
        login(at.registry.host, "me", Secret(SECRET), at.access)
    finally:
        os.umask(before)
    path = at.access.docker_config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    login(at.registry.host, "me", Secret(SECRET), at.access)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_e103_refused_credentials_are_not_kept(at: Scene) -> None:
    at.registry.fault("ping", bad.challenges('Basic realm="r"', unless="nothing"))
    with pytest.raises(RegistryDenied) as caught:
        login(at.registry.host, "me", Secret(SECRET), at.access)
    assert_hidden(caught.value, SECRET)
    assert not at.access.docker_config.exists()


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "x;id", "a/b", "", "-x", "x\n", "x" * 65, 7])
def test_e103_a_helpers_name_is_no_path_and_no_command(tmp_path: Path, name: object) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credHelpers": {"r.example": name}}))
    if name == "":
        assert Credentials(path).find("r.example") is None
        return
    with pytest.raises(RegistryDenied, match="not the name of a credential helper"):
        Credentials(path).find("r.example")


def test_e103_a_helper_gets_the_secret_by_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "docker-credential-rig"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys, json, os\nd = {str(tmp_path)!r}\n"
        'open(d + "/argv", "a").write(" ".join(sys.argv[1:]) + "\\n")\n'
        'open(d + "/environ", "a").write(repr(dict(os.environ)))\n'
        "data = sys.stdin.read()\n"
        'if sys.argv[1] == "store": open(d + "/kept", "w").write(data)\n'
        'if sys.argv[1] == "get": print(open(d + "/kept").read() if os.path.exists(d + "/kept") else "credentials not found")\n'
        'if sys.argv[1] == "get" and not os.path.exists(d + "/kept"): sys.exit(1)\n'
        'if sys.argv[1] == "erase": os.unlink(d + "/kept")\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credsStore": "rig", "proxies": {"default": {}}}))
    credentials = Credentials(path)
    assert credentials.find("r.example") is None
    assert credentials.store("r.example", Login("me", Secret(SECRET))) == "rig"
    found = credentials.find("r.example")
    assert found and (found.username, found.password.reveal()) == ("me", SECRET)
    assert credentials.erase("r.example")
    assert credentials.find("r.example") is None
    assert SECRET not in path.read_text() + (tmp_path / "argv").read_text() + (tmp_path / "environ").read_text()
    assert json.loads(path.read_text())["proxies"] == {"default": {}}


def test_e103_a_helper_that_fails_is_said_without_what_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-bad"
    program.write_text(f"#!/bin/sh\necho {SECRET}; echo {SECRET} >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credsStore": "bad"}))
    with pytest.raises(RegistryDenied) as caught:
        Credentials(path).find("r.example")
    assert_hidden(caught.value, SECRET)


def test_e103_no_secret_in_the_store_or_in_events(at: Scene) -> None:
    at.logged_in(user="me", password=SECRET)
    at.registry.image("x:latest", tar_of(10))
    for kind in ("manifests", "blobs"):
        at.registry.fault(kind, bad.challenges('Basic realm="r"', unless=basic(at)))
    events: list[dict[str, object]] = []
    at.pull(events=events)
    assert SECRET not in json.dumps(events)
    code = basic(at).split()[1].encode()
    for path in (at.folder / "home").rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in (SECRET.encode(), code))


# --- 104: references ---


@pytest.mark.parametrize(
    "name",
    [
        "-x",
        "x\ny",
        "x@y",
        "X/y",
        "x:" + "t" * 129,
        "x/" + "a" * 256,
        "x:-t",
        "x@sha256:short",
        "x y",
        "../x",
        "x//y",
        "x\0",
        "http://x/y",
        "x:t\n",
    ],
)
def test_e104_a_bad_reference_asks_nobody(at: Scene, name: str) -> None:
    at.refuses(InvalidReference, "", lambda: at.pull(name))
    assert at.registry.requests == []


@pytest.mark.parametrize("tag", ["../../x", "a\nb", "a/b", "", "-x", "a" * 200, 7, None, "a b", "a?b"])
def test_e104_bad_tags_of_a_registry_are_left_out(at: Scene, tag: object) -> None:
    at.registry.image("x:good", tar_of(10))
    at.registry.fault("tags", bad.status(200, json.dumps({"tags": [tag, "good"]}).encode()))
    assert at.pull("x", all_tags=True).name.tag == "good"


def test_e104_a_page_of_tags_on_another_host_is_not_asked(at: Scene, other: BadRegistry) -> None:
    at.registry.fault(
        "tags", bad.status(200, b'{"tags": ["a"]}', Link=f'<http://{other.host}/v2/x/tags/list>; rel="next"')
    )
    at.refuses(RegistryError, "on another host", lambda: at.pull("x", all_tags=True))
    assert other.requests == []


def test_e104_control_characters_of_a_registry_are_made_harmless(at: Scene) -> None:
    text = "\x1b[31mred\x07\u202e"
    at.registry.fault("manifests", bad.status(400, json.dumps({"errors": [{"code": text, "message": text}]}).encode()))
    error = at.refuses(RegistryError, "red")
    assert not {"\x1b", "\x07", "\u202e"} & set(str(error))


@pytest.mark.parametrize("server", ["x y", "-x", "http://", "a/b", "x\n.y", "user@host.x"])
def test_e104_login_wants_a_host(at: Scene, server: str) -> None:
    with pytest.raises(InvalidArgument):
        login(server, "me", Secret(SECRET), at.access)


# --- 105: registries that never come to an end, or to the point ---


@pytest.mark.parametrize("fault", [bad.silent(), bad.drips_headers()], ids=["silent", "drips headers"])
@pytest.mark.parametrize("kind", ["ping", "manifests", "blobs"])
def test_e105_an_answer_that_does_not_come(at: Scene, kind: str, fault: bad.Fault) -> None:
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault(kind, fault)
    at.refuses(RegistryUnreachable, "too slow")


@pytest.mark.parametrize("after", [0, 1000])
def test_e105_a_blob_that_stalls(at: Scene, after: int) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    at.registry.fault("blobs", only(digest, bad.stalls(after)))
    at.refuses(RegistryUnreachable, "too slow")


def test_e105_a_blob_that_drips(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    at.registry.fault("blobs", only(digest, bad.drips()))
    at.refuses(RegistryUnreachable, "bytes came in")


def test_e105_a_manifest_that_drips(at: Scene) -> None:
    def drip(handler: bad.Handler) -> bool:
        handler.begin(200, 1000, Content_Type=MANIFEST)
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            handler.wait(0.05)
        return True

    at.registry.fault("manifests", drip)
    at.refuses(RegistryUnreachable, "too slow")


def test_e105_a_blob_that_stalls_once_is_continued(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(200_000)))
    at.registry.fault("blobs", only(digest, bad.stalls(70_000)), times=2)  # the configuration is asked for first
    begun = time.monotonic()
    assert at.pull().newer
    assert time.monotonic() - begun < 5
    assert ranges(at, digest) == [None, "bytes=70000-"]


def test_e105_a_blob_that_breaks_off_again_and_again_is_continued(at: Scene) -> None:
    """Each try gains more than a mebibyte, so there may be more of them than in vain."""
    digest = layer_of(at.registry.image("x:latest", tar_of(6 << 20)))
    at.registry.fault("blobs", only(digest, bad.resets((1 << 20) + 5)))
    assert at.pull().newer
    asked = ranges(at, digest)
    assert len(asked) >= 6
    assert asked[0] is None and all(asked[1:])


def ranges(at: Scene, digest: str) -> list[str | None]:
    return [r.headers.get("Range") for r in at.registry.requests if r.path.endswith(digest)]


def test_e105_a_blob_that_breaks_off_without_gain_is_given_up(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    at.registry.fault("blobs", only(digest, bad.resets(10)))
    at.refuses(RegistryError, "3 tries")
    assert [path.name for path in at.partial] == [digest.replace(":", "-")]
    at.registry.faults.clear()
    assert at.pull().newer
    assert ranges(at, digest)[-1] == "bytes=30-"
    assert at.partial == []


def test_e105_a_registry_that_ignores_range_is_read_from_the_beginning(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    data = at.registry.blobs[digest]
    at.store.layout.partial(digest).write_bytes(data[:5000])
    at.registry.fault("blobs", only(digest, bad.sends(data)))
    assert at.pull().newer


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/10", "bytes 6000-99999/1", "nonsense", "bytes 5000-4000/9000", ""]
)
def test_e105_a_range_that_was_not_asked_for_is_not_taken(at: Scene, content_range: str) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    at.store.layout.partial(digest).write_bytes(at.registry.blobs[digest][:5000])
    at.registry.fault("blobs", only(digest, bad.status(206, b"0123456789", Content_Range=content_range)), times=2)
    assert at.pull().newer


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_e105_a_busy_registry_is_asked_again(at: Scene, code: int) -> None:
    at.registry.image("x:latest", tar_of(10))
    for kind in ("manifests", "blobs"):
        at.registry.fault(kind, bad.status(code), times=1)
    assert at.pull().newer


def test_e105_retry_after_is_waited_for(at: Scene) -> None:
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault("manifests", bad.status(429, Retry_After="1"), times=1)
    begun = time.monotonic()
    assert at.pull().newer
    assert 1.0 <= time.monotonic() - begun < 4


@pytest.mark.parametrize("header", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT", "999999999"])
def test_e105_retry_after_is_not_waited_for_for_ever(at: Scene, header: str) -> None:
    at.registry.fault("manifests", bad.status(503, Retry_After=header))
    at.refuses(RegistryError, "it asks to wait")
    assert at.registry.count("manifests") == 1


@pytest.mark.parametrize("header", ["soon", "-1", "1e9", "", "Fri, 99 Foo"])
def test_e105_an_odd_retry_after_is_no_reason(at: Scene, header: str) -> None:
    at.registry.image("x:latest", tar_of(10))
    at.registry.fault("manifests", bad.status(503, Retry_After=header), times=1)
    assert at.pull().newer


def test_e105_an_always_busy_registry_is_given_up(at: Scene) -> None:
    at.registry.fault("manifests", bad.status(503))
    at.refuses(RegistryError, "503")
    assert at.registry.count("manifests") == 3


def test_e105_what_is_not_there_is_said_at_once(at: Scene) -> None:
    at.refuses(ImageNotFound, "not found: manifest unknown")
    assert at.registry.count("manifests") == 1


def test_e105_nobody_there_is_said_at_once(at: Scene) -> None:
    begun = time.monotonic()
    at.registry.host = "127.0.0.1:1"
    at.refuses(RegistryUnreachable, "connection refused")
    assert time.monotonic() - begun < 1


def test_e105_an_upload_that_stalls_is_given_up(at: Scene) -> None:
    from jupyter_containers.image.registry.push import push

    at.registry.image("x:latest", tar_of(10))
    at.pull()
    at.store.tag(f"{at.registry.host}/x:latest", f"{at.registry.host}/y:latest")
    at.registry.blobs.clear()
    at.registry.fault("uploads", bad.silent())
    begun = time.monotonic()
    with pytest.raises(RegistryUnreachable, match="too slow"):
        push(at.store, f"{at.registry.host}/y:latest", at.access)
    assert time.monotonic() - begun < 12


def test_e105_garbage_instead_of_http_is_an_error(at: Scene) -> None:
    def garbage(handler: bad.Handler) -> bool:
        handler.wfile.write(b"\0\1\2 hello\r\n\r\n")
        return handler.reset()

    at.registry.fault("manifests", garbage)
    at.refuses(RegistryUnreachable, "broke")


def test_e105_a_failure_in_one_layer_ends_the_others(at: Scene) -> None:
    manifest = at.registry.image("x:latest", tar_of(100_000), tar_of(100_000, "b"), tar_of(100_000, "c"))
    first, _, last = (layer["digest"] for layer in manifest["layers"])
    at.access = Access(docker_config=at.access.docker_config)  # usual patience: the stalled one would take 20 s
    at.registry.fault("blobs", only(first, bad.stalls(10)))
    size = len(at.registry.blobs[last])
    at.registry.fault("blobs", only(last, bad.sends(bytes(size))))
    begun = time.monotonic()
    with pytest.raises(DigestMismatch):
        at.pull()
    assert time.monotonic() - begun < 4
    at.is_clean()


def test_e105_an_interrupt_ends_a_pull_at_once(at: Scene) -> None:
    digest = layer_of(at.registry.image("x:latest", tar_of(100_000)))
    at.access = Access(docker_config=at.access.docker_config)
    at.registry.fault("blobs", only(digest, bad.stalls(10)))
    main = threading.main_thread().ident or 0
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        at.pull()
    assert time.monotonic() - begun < 4
    at.is_clean()


def test_the_rig_compresses_as_it_says() -> None:
    with bad.running() as found:
        manifest = found.image("x:1", tar_of(10))
        assert gzip.GzipFile(fileobj=io.BytesIO(found.blobs[layer_of(manifest)])).read() == tar_of(10)
    assert reference.parse("x").familiar == "x:latest"
