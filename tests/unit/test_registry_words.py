"""What registries say and are told, read without any network: challenges, headers, hosts, redirects, platforms, pace."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.config import Settings
from jupyter_containers.engine.registries import access as configured
from jupyter_containers.errors import InvalidArgument, RegistryDenied, RegistryError, WrongPlatform
from jupyter_containers.image import media
from jupyter_containers.image.media import Descriptor
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.registry import answers, challenge, redirects, sources
from jupyter_containers.image.registry.access import (
    HUB,
    Access,
    Endpoint,
    Timing,
    endpoints,
    is_insecure,
    is_loopback,
    may_have_password,
    own,
)
from jupyter_containers.image.registry.choose import from_index
from jupyter_containers.image.registry.credentials import HUB_KEY, Credentials, Login
from jupyter_containers.image.registry.login import domain_of
from jupyter_containers.image.registry.retries import Retries, trying
from jupyter_containers.image.registry.secret import Secret, redacted
from jupyter_containers.image.registry.transport import Failed

# --- challenges ---


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ('Bearer realm="https://a/t",service="s",scope="repository:x:pull"',
         [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull"})]),
        ('Basic realm="a \\"b\\" c"', [("basic", {"realm": 'a "b" c'})]),
        ('Bearer realm=x, Basic realm="y"', [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})]),
        ('BEARER Realm="X" , Service = "s"', [("bearer", {"realm": "X", "service": "s"})]),
        ("Negotiate", [("negotiate", {})]),
        ('Negotiate, Basic realm="y"', [("negotiate", {}), ("basic", {"realm": "y"})]),
        ("", []),
        ('Bearer realm="a,b=c",service=""', [("bearer", {"realm": "a,b=c", "service": ""})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
    ],
)  # fmt: skip
def test_challenges(header: str, wanted: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, dict(found.parameters)) for found in challenge.parse(header)] == wanted


@given(st.text(max_size=300))
def test_any_header_is_read_without_a_crash(header: str) -> None:
    for found in challenge.parse(header):
        assert found.scheme
    answers.retry_after(header)
    answers.content_range(header)
    answers.uploaded(header)
    answers.next_page(header)
    answers.length(header)


@given(st.binary(max_size=300))
def test_any_error_document_is_read_without_a_crash(body: bytes) -> None:
    assert len(answers.error_text(body)) <= 300


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, "manifest unknown: manifest unknown"),
        ({"errors": [{"code": "DENIED"}]}, "denied"),
        ({"errors": [{"message": "a"}, {"code": "B", "message": "c"}, 7]}, "a; b: c"),
        ({"errors": "x"}, ""), ([], ""), ({"errors": [None]}, ""), ("x", ""),
    ],
)  # fmt: skip
def test_error_documents(body: object, wanted: str) -> None:
    assert answers.error_text(json.dumps(body).encode()) == wanted


# --- headers ---


def test_retry_after() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert answers.retry_after("17") == 17
    assert answers.retry_after("Thu, 01 Jan 2026 00:01:30 GMT", now) == 90
    assert answers.retry_after("Thu, 01 Jan 2020 00:00:00 GMT", now) == 0
    assert answers.retry_after(None) is answers.retry_after("soon") is answers.retry_after("-3") is None


def test_ranges() -> None:
    assert answers.content_range("bytes 5-9/10") == (5, 9, 10)
    assert answers.content_range("bytes 5-9/*") == (5, 9, None)
    for odd in (None, "", "bytes 9-5/10", "bytes */10", "items 0-1/2", "bytes 0-1/2, 3-4/5"):
        assert answers.content_range(odd) is None
    assert [answers.uploaded(text) for text in ("0-9", "bytes=0-9", "0-0", "5-9", "", None, "x")] == [
        10,
        10,
        0,
        0,
        0,
        0,
        0,
    ]
    assert answers.next_page('</v2/x/tags/list?n=2>; rel="next"') == "/v2/x/tags/list?n=2"
    assert answers.next_page('</v2/x>; rel="prev"') == ""


# --- where registries are ---


def shown(ways: list[list[Endpoint]]) -> list[list[str]]:
    return [[way.url for way in place] for place in ways]


def test_hosts() -> None:
    assert shown(endpoints("docker.io", Access())) == [[f"https://{HUB}:443"]]
    assert shown(endpoints("ghcr.io", Access())) == [["https://ghcr.io:443"]]
    assert shown(endpoints("ghcr.io:5000", Access())) == [["https://ghcr.io:5000"]]
    assert shown(endpoints("localhost:5000", Access())) == [["http://localhost:5000", "https://localhost:5000"]]
    assert shown(endpoints("[::1]:5000", Access())) == [["http://[::1]:5000", "https://[::1]:5000"]]
    assert shown(endpoints("127.3.2.1", Access())) == [["http://127.3.2.1:80", "https://127.3.2.1:443"]]


def test_insecure_registries_are_tried_with_tls_first() -> None:
    for entry in ("r.example:5000", "r.example"):
        (ways,) = endpoints("r.example:5000", Access(insecure=(entry,)))
        assert [(way.scheme, way.verify) for way in ways] == [("https", False), ("http", False)]
    assert len(endpoints("r.example:5000", Access(insecure=("r.example:80",)))[0]) == 1
    assert is_insecure("10.1.2.3", None, Access(insecure=("10.0.0.0/8",)))
    assert not is_insecure("11.1.2.3", None, Access(insecure=("10.0.0.0/8", "x/y")))


def test_mirrors_are_docker_ios_and_come_first() -> None:
    access = Access(mirrors=("https://m.example", "http://127.0.0.1:5000/"))
    assert shown(endpoints("docker.io", access))[:2] == [["https://m.example:443"], ["http://127.0.0.1:5000"]]
    assert len(endpoints("ghcr.io", access)) == 1
    assert endpoints("docker.io", access)[0][0].domain == "m.example"  # its own credentials, not docker.io's
    for bad in ("m.example", "http://m.example", "https://m.example/path", "https://u:p@m.example", "ftp://m.example"):
        with pytest.raises(InvalidArgument):
            endpoints("docker.io", Access(mirrors=(bad,)))


def test_loopback_is_only_what_is_so_for_sure() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.255.0.1", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "my.localhost", "10.0.0.1", "::2", "example")))


def test_who_may_have_the_password() -> None:
    hub, lab, other = (
        own("docker.io", Access())[0],
        own("registry.gitlab.com", Access())[0],
        own("r.example", Access())[0],
    )
    assert may_have_password(hub, "auth.docker.io", Access())
    assert may_have_password(lab, "gitlab.com", Access())
    assert may_have_password(other, "r.example", Access())
    for host in ("auth.docker.io", "example", "auth.example", "xr.example", "r.example.evil"):
        assert not may_have_password(other, host, Access())
    assert may_have_password(other, "auth.example", Access(token_hosts={"r.example": ("auth.example",)}))


# --- redirects ---


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("/v2/x/blobs/a", "https://r.example:443/v2/x/blobs/a"),
        ("b", "https://r.example:443/v2/x/blobs/b"),
        ("https://cdn.example/a?sig=1", "https://cdn.example/a?sig=1"),
        ("https://R.EXAMPLE/x#f", "https://R.EXAMPLE/x"),
        ("//cdn.example/a", "https://cdn.example/a"),
    ],
)
def test_where_answers_lead(location: str, wanted: str) -> None:
    (endpoint,) = own("r.example", Access())
    found = redirects.leads_to(location, redirects.of_endpoint(endpoint, "/v2/x/blobs/c"), endpoint)
    assert found.url == wanted


@given(st.text(max_size=80))
def test_no_location_leads_to_a_secret_place(location: str) -> None:
    (endpoint,) = own("r.example", Access())
    try:
        found = redirects.leads_to(location, redirects.of_endpoint(endpoint, "/v2/"), endpoint)
    except RegistryError:
        return
    assert found.scheme == "https"
    assert not redirects.is_forbidden(found.host, False)


# --- credentials ---


def write(path: Path, value: object) -> Credentials:
    path.write_text(json.dumps(value))
    return Credentials(path)


def test_docker_s_file_in_all_its_forms(tmp_path: Path) -> None:
    code = base64.b64encode(b"me:pass:word").decode()
    for key, domain in ((HUB_KEY, "docker.io"), ("docker.io", "docker.io"), ("index.docker.io", "docker.io"), ("ghcr.io", "ghcr.io"),
                        ("https://ghcr.io/v2/", "ghcr.io"), ("h:5000", "h:5000")):  # fmt: skip
        found = write(tmp_path / "c", {"auths": {key: {"auth": code}}}).find(domain)
        assert found and (found.username, found.password.reveal()) == ("me", "pass:word")
    assert write(tmp_path / "c", {"auths": {"h": {"auth": code}}}).find("h:5000") is None
    token = write(tmp_path / "c", {"auths": {"h": {"auth": code, "identitytoken": "T"}}}).find("h")
    assert token and token.identity and token.password.reveal() == "T"
    plain = write(tmp_path / "c", {"auths": {"h": {"username": "u", "password": "p"}}}).find("h")
    assert plain and plain.password.reveal() == "p"
    assert write(tmp_path / "c", {"auths": {"h": {}}}).find("h") is None
    assert Credentials(tmp_path / "none").find("h") is None


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"auths": {"h": {"auth": "%%%"}}}'])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(RegistryDenied):
        Credentials(tmp_path / "c").find("h")


def test_storing_keeps_what_others_wrote_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('{"psFormat": "x", "auths": {"other": {"auth": "eDp5"}}}')
    (tmp_path / "config.json").symlink_to("real")
    credentials = Credentials(tmp_path / "config.json")
    credentials.store("docker.io", Login("me", Secret("pw")))
    assert (tmp_path / "config.json").is_symlink()
    value = json.loads((tmp_path / "real").read_text())
    assert value["psFormat"] == "x"
    assert set(value["auths"]) == {"other", HUB_KEY}
    assert credentials.erase("docker.io")
    assert set(json.loads((tmp_path / "real").read_text())["auths"]) == {"other"}


def test_which_registry_login_means() -> None:
    for server in ("", "docker.io", HUB_KEY, "index.docker.io"):
        assert domain_of(server) == "docker.io"
    assert domain_of("https://ghcr.io/v2/") == domain_of("ghcr.io") == "ghcr.io"
    assert domain_of("localhost") == "localhost"
    assert domain_of("h:5000") == "h:5000"


def test_redacting() -> None:
    assert redacted("a token1234 b", [Secret("token1234"), Secret("a")]) == "a ••• b"


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONTAINERS_INSECURE_REGISTRIES", "a:1, b")
    monkeypatch.setenv("JUPYTER_CONTAINERS_TOKEN_HOSTS", "r.example=a.example,r.example=b.example")
    monkeypatch.setenv("DOCKER_CONFIG", "/etc/somewhere")
    found = configured(Settings())
    assert found.insecure == ("a:1", "b")
    assert found.token_hosts == {"r.example": ("a.example", "b.example")}
    assert found.docker_config == Path("/etc/somewhere/config.json")
    with pytest.raises(InvalidArgument):
        configured(Settings(token_hosts=("x",)))


# --- choosing, remembering, trying again ---


def entry(os: str, architecture: str, kind: str = media.OCI_MANIFEST, **annotations: str) -> Descriptor:
    return Descriptor(
        kind,
        f"sha256:{len(annotations)}{architecture:0>63}".replace("m", "0")[:71],
        1,
        annotations,
        Platform(os, architecture),
    )


def test_the_platform_of_an_index() -> None:
    entries = [entry("linux", "arm64"), entry("linux", "amd64"), entry("windows", "amd64")]
    assert from_index(entries, Platform("linux", "amd64"), "x") is entries[1]
    attested = [entry("linux", "amd64", **{"vnd.docker.reference.type": "attestation-manifest"}), *entries]
    assert from_index(attested, Platform("linux", "amd64"), "x") is entries[1]
    with pytest.raises(WrongPlatform, match="It has linux/amd64, linux/arm64"):
        from_index(entries, Platform("linux", "s390x"), "x")
    nested = Descriptor(media.OCI_INDEX, "sha256:" + "0" * 64, 1)
    assert from_index([nested], Platform("linux", "amd64"), "x") is nested


def test_sources_are_remembered_newest_first(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    for name in ("h:1/a", "h:1/b", "docker.io/library/c", "h:1/a", "h:1/a"):
        sources.note(tmp_path / "s", digest, name)
    assert sources.others(tmp_path / "s", digest, "h:1", "x") == ["a", "b"]
    assert sources.others(tmp_path / "s", digest, "h:1", "a") == ["b"]
    (tmp_path / "s" / ("a" * 64)).write_text("../../x\nh:1/UPPER\nh:1/ok\n")
    assert sources.others(tmp_path / "s", digest, "h:1", "x") == ["ok"]


def test_tries_are_bounded_in_number_and_time() -> None:
    timing = Timing(attempts=3, first=0.001, longest=1, total=0.02)
    calls = []

    def work() -> None:
        calls.append(1)
        raise Failed(RegistryError("no"), True)

    with pytest.raises(RegistryError, match="3 tries"):
        trying(work, timing, threading.Event())
    assert len(calls) == 3
    retries = Retries(timing, threading.Event())
    retries.failed(Failed(RegistryError("a"), True, 0.015))
    with pytest.raises(RegistryError, match="it asks to wait"):
        retries.failed(Failed(RegistryError("b"), True, 0.01))
    with pytest.raises(RegistryError, match="^no"):
        Retries(timing, threading.Event()).failed(Failed(RegistryError("no"), False))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(RegistryError):
        Retries(timing, cancelled).failed(Failed(RegistryError("no"), True))


def test_a_request_is_imported_only_when_one_is_made() -> None:
    import subprocess
    import sys

    code = (
        "import sys, jupyter_containers.engine.registries, jupyter_containers.cli.registry\n"
        "assert 'urllib3' not in sys.modules and 'http.client' not in sys.modules and 'ssl' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
