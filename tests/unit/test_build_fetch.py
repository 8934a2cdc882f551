"""ADD of URLs and git repositories, from servers on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from jupyter_containers.build import fetch, gitsource
from jupyter_containers.errors import (
    ApiError,
    ContainersError,
    DigestMismatch,
    InvalidArgument,
    NotFound,
    RegistryError,
    RegistryUnreachable,
)
from jupyter_containers.image.registry.access import Access, Timing
from tests.rigs.abilities import need_program

DATA = b"the content" * 1000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
HURRY = Access(timing=Timing(connect=2, answer=0.5, window=0.5, attempts=3, first=0.01, total=2))


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        where = self.path.partition("?")[0]
        if where.startswith("/status/"):
            self._answer(int(where[8:11]))
        elif where == "/once" and self.asked.count("/once") == 1:
            self._answer(503)
        elif where == "/loop":
            self._answer(302, {"Location": "/loop"})
        elif where == "/moved":
            self._answer(302, {"Location": "/file.txt"})
        elif where == "/metadata":
            self._answer(302, {"Location": "http://169.254.169.254/latest"})
        elif where == "/local":
            self._answer(302, {"Location": "file:///etc/passwd"})
        elif where == "/short":
            self._answer(200, {"Content-Length": str(len(DATA) + 5)}, DATA)
        elif where == "/drip":
            self._answer(200, {"Content-Length": "100000"})
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.1)
        else:
            self._answer(200, {"Last-Modified": "Mon, 01 Jan 2001 00:00:00 GMT"}, DATA)

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _serving(handler: object) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:  # type: ignore[arg-type]
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[str]:
    _Handler.asked.clear()
    with _serving(_Handler) as url:
        yield url


def test_a_file_has_the_urls_name_mode_0600_and_no_time(site: str, tmp_path: Path) -> None:
    with fetch.fetched(f"{site}/a/some%20file.tgz?x=/y#z", tmp_path, checksum=DIGEST) as found:
        path = found.folder / found.source
        assert (found.source, found.digest, path.read_bytes()) == ("some file.tgz", DIGEST, DATA)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_mtime > 1_000_000_000
    assert list(tmp_path.iterdir()) == []


def test_redirects_and_passing_faults_are_followed(site: str, tmp_path: Path) -> None:
    for path in ("/moved", "/once"):
        with fetch.fetched(site + path, tmp_path, access=HURRY) as found:
            assert (found.source, found.digest) == (path[1:], DIGEST)


@pytest.mark.parametrize(
    ("path", "fields", "error", "text"),
    [
        (
            "/file",
            {"checksum": "sha256:" + "0" * 64},
            DigestMismatch,
            "/file: its digest is sha256:.* instead of sha256:0",
        ),
        ("/file", {"checksum": "sha512:" + "0" * 128}, DigestMismatch, "sha512"),
        ("/file", {"checksum": "md5:00"}, InvalidArgument, "--checksum: not a digest: 'md5:00'"),
        ("/file", {"checksum": "sha256:../../x"}, InvalidArgument, "not a digest"),
        ("/file", {"limit": 1000}, ApiError, "larger than 1000 bytes"),
        ("/status/404", {}, NotFound, "answered 404"),
        ("/status/403", {}, ApiError, "answered 403"),
        ("/status/500", {}, RegistryError, r"answered 500 \(3 tries\)"),
        ("/loop", {}, ApiError, "redirects more than 5 times"),
        ("/metadata", {}, RegistryError, "address of its own network link"),
        ("/local", {}, RegistryError, "only http and https"),
        ("/short", {}, RegistryUnreachable, "connection broke"),
        ("/drip", {}, RegistryUnreachable, "too slow"),
    ],
)
def test_what_a_server_must_not_answer(
    site: str, tmp_path: Path, path: str, fields: dict[str, object], error: type[ContainersError], text: str
) -> None:
    """ISOLATION 92 and 102: a checksum that does not fit; a redirect to the cloud's metadata."""
    with pytest.raises(error, match=text), fetch.fetched(site + path, tmp_path, access=HURRY, **fields):  # type: ignore[arg-type]
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:s3cr3t@host/x", "would stay in the image's history"),
        ("http:///x", "not a URL"),
        ("http://host:99999/x", "not a URL"),
        ("https://host/a b", "not a URL"),
        ("https://host/ü", "ASCII"),
    ],
)
def test_what_is_no_url_to_fetch(tmp_path: Path, url: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught, fetch.fetched(url, tmp_path):
        pass
    assert "s3cr3t" not in str(caught.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        with (
            pytest.raises(RegistryUnreachable, match="takes no connection") as caught,
            fetch.fetched(url, tmp_path, access=HURRY),
        ):
            pass
    assert "build context" in caught.value.mend


def test_names_from_urls_stay_names() -> None:
    for path, name in {
        "": "__unnamed__",
        "/..": "__unnamed__",
        "/%2e%2e": "__unnamed__",
        "/a/%2e%2e%2fx": "x",
        "/a%00b": "__unnamed__",
    }.items():
        assert fetch.file_name(f"https://host{path}") == name


# --- git ---


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """A repository behind ``git daemon``: its URL, the commit of the tag v1, and its folder."""
    need_program("git", "git")
    folder = tmp_path_factory.mktemp("git")
    work = folder / "repo.git"
    (work / "sub/deep").mkdir(parents=True)
    (work / "sub/deep/f").write_text("one")
    (work / "run").write_text("#!/bin/sh")
    (work / "run").chmod(0o775)
    (work / "out").symlink_to("/etc/passwd")
    _git(work, "init", "-q", "-b", "main")
    commit = _commit(work, "one")
    _git(work, "tag", "-a", "-m", "v1", "v1")
    (work / "sub/deep/f").write_text("two")
    _commit(work, "two")
    _git(work, "branch", "other/name")
    _git(work, "update-server-info")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = [
        "git",
        "daemon",
        "--reuseaddr",
        "--export-all",
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--base-path={folder}",
        str(folder),
    ]
    process = subprocess.Popen(daemon, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(port)
        yield f"git://127.0.0.1:{port}/repo.git", commit, work
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _git(work: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*"]
    return subprocess.run(["git", *who, *words], cwd=work, check=True, capture_output=True, text=True).stdout.strip()


def _commit(work: Path, message: str) -> str:
    _git(work, "add", "-A")
    _git(work, "commit", "-q", "-m", message)
    return _git(work, "rev-parse", "HEAD")


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("git daemon did not start")


def _checked_out(url: str, area: Path, **fields: object) -> dict[str, str]:
    with fetch.fetched(url, area, **fields) as found:  # type: ignore[arg-type]
        root = found.folder / found.source[1:]
        names = {str(path.relative_to(root)) for path in root.rglob("*") if ".git" not in path.parts}
        return {"digest": found.digest, "names": " ".join(sorted(names)), "f": next(root.rglob("f")).read_text(),
                "git": str((root / ".git").exists())}  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("", "two"), ("#main", "two"), ("#other/name", "two"), ("#v1", "one"), ("#refs/tags/v1", "one"), ("#v1:sub", "one"),
        ("?tag=v1", "one"), ("?branch=main&subdir=sub/deep", "two"), ("#{commit}", "one"), ("#{short}", "one"),
        ("?commit={commit}&ref=v1", "one"),
    ],
)  # fmt: skip
def test_a_ref_of_a_repository(repository: tuple[str, str, Path], tmp_path: Path, suffix: str, content: str) -> None:
    url, commit, _ = repository
    found = _checked_out(url + suffix.format(commit=commit, short=commit[:8]), tmp_path)
    assert (found["f"], found["git"]) == (content, "False")
    assert list(tmp_path.iterdir()) == []


def test_modes_do_not_depend_on_the_umask_and_a_commit_is_known_before(
    repository: tuple[str, str, Path], tmp_path: Path
) -> None:
    url, commit, _ = repository
    mask = os.umask(0o077)
    try:
        with fetch.fetched(f"{url}#{commit}", tmp_path) as found:
            modes = {path.name: oct(path.lstat().st_mode & 0o777) for path in found.folder.rglob("*")}
    finally:
        os.umask(mask)
    assert modes == {"run": "0o755", "sub": "0o755", "deep": "0o755", "f": "0o644", "out": "0o777"}
    assert fetch.known_digest(f"{url}#{commit}") == found.digest
    assert fetch.known_digest(f"{url}#v1") is None
    assert fetch.known_digest(f"{url}#v1", commit) == found.digest
    assert fetch.known_digest("https://host/x", DIGEST) == DIGEST


def test_the_git_folder_is_kept_if_asked_and_the_same_each_time(
    repository: tuple[str, str, Path], tmp_path: Path
) -> None:
    url, _, _ = repository
    found = []
    for _ in range(2):
        with fetch.fetched(f"{url}#v1", tmp_path, keep_git_dir=True) as one:
            assert _git(one.folder, "status", "--porcelain") == ""
        with fetch.fetched(f"{url}#v1", tmp_path, keep_git_dir=True) as one:
            files = [path for path in one.folder.rglob("*") if path.is_file() and not path.is_symlink()]
            found.append({str(path.relative_to(one.folder)): path.read_bytes() for path in files})
        time.sleep(1.1)
    assert found[0] == found[1]
    assert ".git/HEAD" in found[0]


def test_a_server_that_cannot_give_one_commit_gives_all(repository: tuple[str, str, Path], tmp_path: Path) -> None:
    _, commit, work = repository
    with _serving(partial(http.server.SimpleHTTPRequestHandler, directory=str(work))) as site:
        assert _checked_out(f"{site}/.git#v1", tmp_path)["f"] == "one"
        assert _checked_out(f"{site}/.git#{commit[:9]}", tmp_path)["f"] == "one"
        assert _checked_out(f"{site}/.git", tmp_path)["f"] == "two"


def test_what_a_repository_has_not(repository: tuple[str, str, Path], tmp_path: Path) -> None:
    url, commit, _ = repository
    with pytest.raises(ApiError, match="no branch, tag or commit 'none'"), fetch.fetched(f"{url}#none", tmp_path):
        pass
    with pytest.raises(DigestMismatch, match=f"its commit is {commit} instead of 0000000"):
        _checked_out(f"{url}#v1", tmp_path, checksum="0000000")
    with pytest.raises(ApiError, match="git fetch"), fetch.fetched(url.replace("repo", "nothing"), tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_git_is_ended_when_cancelled(tmp_path: Path) -> None:
    need_program("git", "git")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cancelled = threading.Event()
        threading.Timer(0.3, cancelled.set).start()
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        began = time.monotonic()
        with pytest.raises(ApiError, match="cancelled"), fetch.fetched(url, tmp_path, cancelled=cancelled):
            pass
    assert time.monotonic() - began < 5


def test_git_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NotFound, match="Install the package `git`"), fetch.fetched("git://host/x", tmp_path):
        pass


def test_parts_of_git_urls() -> None:
    parse = gitsource.parse
    assert parse("https://h/r.git#a/b:/c/../d/")[:3] == ("https://h/r.git", "a/b", "d")
    assert parse("git@h:r.git#:../../x").subdir == "x"
    assert parse("https://h/r.git?keep-git-dir&submodules=0")[4:] == (True, False)
    assert parse("https://h/r.git", keep=True).keep
    for url, text in {
        "https://h/r.git?keep-git-dir=maybe": "true or false", "https://h/r.git?what=x": "means nothing",
        "https://h/r.git?ref=a#b": "two things about ref", "https://u:p@h/r.git": "password", "https://h/r.git?subdir=": "means nothing",
    }.items():  # fmt: skip
        with pytest.raises(InvalidArgument, match=text) as caught:
            parse(url)
        assert ":p@" not in str(caught.value)
