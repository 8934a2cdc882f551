"""References read, normalised and written back as distribution/reference does; ISOLATION 104."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidReference
from jupyter_containers.image import digest, reference

SHA = "sha256:" + "0123456789abcdef" * 4

NORMAL = [
    # written, normal, familiar
    ("debian", "docker.io/library/debian:latest", "debian:latest"),
    ("debian:bookworm", "docker.io/library/debian:bookworm", "debian:bookworm"),
    ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
    ("user/tool", "docker.io/user/tool:latest", "user/tool:latest"),
    ("a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("ghcr.io/x/y", "ghcr.io/x/y:latest", "ghcr.io/x/y:latest"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:v1", "localhost:5000/x:v1", "localhost:5000/x:v1"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b:latest"),
    ("REGISTRY/x", "REGISTRY/x:latest", "REGISTRY/x:latest"),
    ("test.io/library/x", "test.io/library/x:latest", "test.io/library/x:latest"),
    ("a__b", "docker.io/library/a__b:latest", "a__b:latest"),
    ("a---b.c_d", "docker.io/library/a---b.c_d:latest", "a---b.c_d:latest"),
    (f"debian@{SHA}", f"docker.io/library/debian@{SHA}", f"debian@{SHA}"),
    (f"debian:12@{SHA}", f"docker.io/library/debian:12@{SHA}", f"debian:12@{SHA}"),
    (f"ghcr.io/x/y@{SHA}", f"ghcr.io/x/y@{SHA}", f"ghcr.io/x/y@{SHA}"),
    ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
    ("x:_a.B-c", "docker.io/library/x:_a.B-c", "x:_a.B-c"),
    ("xn--n3h.com/myimage", "xn--n3h.com/myimage:latest", "xn--n3h.com/myimage:latest"),
    ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
     "sub-dom1.foo.com/bar/baz/quux:some-long-tag"),
]  # fmt: skip

REFUSED = [
    "", " ", "-", "-debian", "debian-", "debian ", " debian", "debian\n", "\ndebian", "debian:lat\nest", "debian:",
    "debian@", ":latest", "@" + SHA, "Debian", "debian/Foo", "a//b", "/a", "a/", "a..b", "a_.b", "a___b", "_a", ".a",
    "debian:-x", "debian:.x", "x:" + "t" * 129, "a:b:c", "debian@sha256:abc", f"debian@{SHA}0",
    "debian@md5:" + 32 * "a",
    f"debian@{SHA.upper()}", "debian@sha256:" + "A" * 64, "a" * 256, "docker.io/" + "a" * 256, "a" * 64, "0" * 64,
    "http://x/y", "../x", "a/../b", "./a", "a\0b", "a b", "a\tb", "-x/y", "$(id)", "a;b", "ä", "x:é", "[::1/x", "a@b@c",
    "\x1b[31mred", "[fe80::1%eth0]/x", "a" * 64 + "\n",
]  # fmt: skip


@pytest.mark.parametrize(("written", "normal", "familiar"), NORMAL)
def test_a_reference_has_one_normal_and_one_familiar_form(written: str, normal: str, familiar: str) -> None:
    found = reference.parse(written)
    assert (str(found), found.familiar) == (normal, familiar)
    assert reference.parse(normal) == found
    assert reference.parse(familiar) == found


@pytest.mark.parametrize("text", REFUSED)
def test_104_what_is_no_reference_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        reference.parse(text)
    assert "reference" in str(refused.value) or "digest" in str(refused.value)
    assert not any(ord(letter) < 32 for letter in str(refused.value))


def test_upper_case_is_mended_in_the_message() -> None:
    with pytest.raises(InvalidReference, match="Did you mean debian:12"):
        reference.parse("Debian:12")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = reference.parse(text)
    except InvalidReference:
        return
    assert reference.parse(str(found)) == found
    assert "/../" not in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize("bad", ["sha256:../../x", "sha256:" + "g" * 64, "sha256:", "sha1:" + 40 * "a", "sha256:ab", 3])
def test_97_a_digest_is_checked_before_it_names_a_file(bad: str) -> None:
    with pytest.raises(InvalidReference):
        digest.check(bad)


def test_chain_ids_follow_the_specification() -> None:
    a, b = "sha256:" + 64 * "a", "sha256:" + 64 * "b"
    assert digest.chain_ids([a]) == [a]
    assert digest.chain_ids([a, b]) == [a, digest.of(f"{a} {b}".encode())]
