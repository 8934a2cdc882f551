"""Secrets of builds: seen by their step, and in no layer, history, key, log, error or file of the store (ISOLATION 93).

What is searched is the user's whole store, runtime and temporary folder: names, links, attributes, content, and what
compressed blobs unpack to.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.rig_builds import Workshop, sleeping, until
from tests.rigs.users import User

BASE = "FROM busybox:test\n"


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "secrets")


def _needles(token: bytes) -> list[bytes]:
    return [token, base64.b64encode(token)[:-4], token.hex().encode()]


def _found(shop: Workshop, token: bytes, *texts: str) -> list[str]:
    """Where a secret, or what it looks like encoded, is in anything that the user's engine keeps or said."""
    needles = _needles(token)
    found = [text[:80] for text in texts if any(needle in text.encode() for needle in needles)]
    for top in (shop.user.store, shop.user.base / "run", shop.user.tmp):
        for folder, names, files in os.walk(top):
            for name in (*names, *files):
                path = Path(folder, name)
                if any(needle in data for data in _contents(path) for needle in needles):
                    found.append(str(path))
    return found


def _contents(path: Path) -> Iterator[bytes]:
    """What a file's name, target, attributes and content say, the last unpacked as well."""
    try:
        yield os.fsencode(path.name)
        if path.is_symlink():
            yield os.fsencode(path.readlink())
        for name in os.listxattr(path, follow_symlinks=False):
            yield os.getxattr(path, name, follow_symlinks=False)
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            yield data
            if data[:2] == b"\x1f\x8b":
                yield gzip.decompress(data)
    except OSError:  # it has just gone
        return


def test_93_the_search_finds_a_secret_that_a_step_gives_away(shop: Workshop) -> None:
    """What the tests below find nothing with would find something: in a file, a name, a blob, the output."""
    token = secrets.token_hex(20).encode()
    builder, given = _given(shop, "src", token)
    text = f"{BASE}RUN --mount=type=secret,id=it cp /run/secrets/it /kept; mkdir /d; touch /d/$(cat /kept); cat /kept\n"
    done = builder.must_build(builder.context("h93w", "", text), secrets=[given])
    found = _found(shop, token, done.output)
    assert done.output in found
    assert {Path(path).parent.name for path in found} >= {"sha256", "d"}
    assert any(path.endswith("/kept") for path in found)


SECRETS = {
    "a file": ("--mount=type=secret,id=it", "src", "test -s /run/secrets/it && wc -c < /run/secrets/it"),
    "a variable": ("--mount=type=secret,id=it", "env", "test -s /run/secrets/it && wc -c < /run/secrets/it"),
    "as a variable": ("--mount=type=secret,id=it,env=IT", "src", 'test -n "$IT" && test ! -e /run/secrets && echo ${#IT}'),
    "at another place": ("--mount=type=secret,id=it,target=/etc/token", "src", "wc -c < /etc/token"),
    "for a user": ("--mount=type=secret,id=it,uid=5,gid=6,mode=0440", "src", "stat -c '%u %g %a' /run/secrets/it; wc -c < /run/secrets/it"),
    "both": ("--mount=type=secret,id=it,env=IT,target=/s", "env", 'test "$IT" = "$(cat /s)" && wc -c < /s'),
}  # fmt: skip


def _given(shop: Workshop, how: str, token: bytes) -> tuple[Workshop, str]:
    """A secret as an option, and who gives it: a variable is the builder's."""
    if how == "env":
        other = Workshop(shop.user, shop.user.store.name)
        other.user = replace(other.user, extra={**other.user.extra, "NB_SECRET": token.decode()})
        return other, "id=it,env=NB_SECRET"
    path = shop.user.home / "secret-93"
    path.write_bytes(token)
    os.chown(path, shop.user.uid, shop.user.gid)
    path.chmod(0o600)
    return shop, f"id=it,src={path}"


@pytest.mark.parametrize("way", SECRETS)
def test_93_a_secret_is_seen_by_its_step_and_stays_nowhere(shop: Workshop, way: str) -> None:
    """ISOLATION 93: buildkit frontend/dockerfile/dockerfile_secrets_test.go."""
    mount, how, command = SECRETS[way]
    token = secrets.token_hex(20).encode()
    builder, given = _given(shop, how, token)
    text = f"{BASE}RUN {mount} {command}; echo done > /done\nRUN ls -R /run /etc/token /s 2>/dev/null; env; true\n"
    done = builder.must_build(builder.context("h93", "", text), secrets=[given], events=True, no_cache=True)
    assert "40" in done.output.split()
    if way == "for a user" and shop.user.kind != "nosubids":
        assert done.output.startswith("5 6 440\n")
    assert _found(shop, token, done.events, done.output) == []
    assert shop.tree(done.id)["done"][0] == "file"
    assert not {"run", "run/secrets", "etc/token", "s"} & set(shop.tree(done.id))
    other, given = _given(shop, how, secrets.token_hex(20).encode())
    assert other.must_build(other.context("h93", "", text), secrets=[given]).made == [], "its content is in the key"


def test_93_a_secret_of_any_bytes_arrives_as_it_is(shop: Workshop) -> None:
    data = bytes(range(256)) * 8 + b"\xff\x00\n" + secrets.token_bytes(64)
    builder, given = _given(shop, "src", data)
    text = f"{BASE}RUN --mount=type=secret,id=it sha256sum < /run/secrets/it; stat -c '%a %s' /run/secrets/it\n"
    done = builder.must_build(builder.context("h93b", "", text), secrets=[given], no_cache=True)
    assert done.output.split() == [hashlib.sha256(data).hexdigest(), "-", "400", str(len(data))]
    assert _found(shop, data[-64:]) == []


@pytest.mark.parametrize("how", ["src", "env"])
def test_93_a_secret_stays_nowhere_after_a_failure(shop: Workshop, how: str) -> None:
    """ISOLATION 93: neither in the error, nor in the state that is kept to look around in."""
    token = secrets.token_hex(20).encode()
    builder, given = _given(shop, how, token)
    text = f"{BASE}RUN --mount=type=secret,id=it,env=IT --mount=type=secret,id=it echo x > /x; test -n $IT && exit 4\n"
    done = builder.build(builder.context("h93f", "", text), secrets=[given], events=True)
    assert done.kind == "StepFailed"
    assert _found(shop, token, done.events, done.error) == []


def test_93_a_secret_stays_nowhere_while_its_step_runs_and_after_kill_9(shop: Workshop) -> None:
    """ISOLATION 93: the store is searched while the step sleeps, and again once its builder was killed."""
    token = secrets.token_hex(20).encode()
    builder, given = _given(shop, "src", token)
    text = f"{BASE}RUN --mount=type=secret,id=it,env=IT --mount=type=secret,id=it,target=/s cat /s > /dev/null; sleep 9393\n"
    process = builder.begin(builder.context("h93k", "", text), secrets=[given])
    try:
        until(lambda: sleeping("9393"), 20)
        assert _found(shop, token) == []
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until(lambda: not sleeping("9393"), 10)
        assert _found(shop, token) == []
    finally:
        process.kill()
        process.communicate()


def test_93_the_password_of_a_proxy_stays_nowhere(shop: Workshop) -> None:
    """ISOLATION 93: a proxy's variable is there for the step, and in neither image, history nor key."""
    token = secrets.token_hex(20)
    text = f'{BASE}RUN test -n "$HTTPS_PROXY" && echo there > /proxy\n'
    context = shop.context("h93p", "", text)
    done = shop.must_build(
        context, args={"HTTPS_PROXY": f"http://me:{token}@proxy.invalid"}, events=True, no_cache=True
    )
    assert _found(shop, token.encode(), done.events) == []
    assert shop.must_build(context, args={"HTTPS_PROXY": "http://other.invalid"}).made == []


def test_93_a_secret_that_is_missing_is_named_and_one_that_may_be_is_not_there(shop: Workshop) -> None:
    context = shop.context("h93m", "", f"{BASE}RUN --mount=type=secret,id=tokn,required true\n")
    other, given = _given(shop, "src", b"x")
    done = other.build(context, secrets=[given.replace("id=it", "id=token")])
    assert "Dockerfile:2" in done.error and "tokn" in done.error and "token" in done.error
    shop.must_build(context, text=f"{BASE}RUN --mount=type=secret,id=tokn test ! -e /run/secrets/tokn\n")
