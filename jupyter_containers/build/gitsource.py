"""ADD of a git repository (``https://host/repo.git#ref:subdir``), by the program git.

Git is told nothing by the URL but where and what: schemes are https, http, ssh and git, a host, ref or path that could
be an option is refused (CVE-2019-13139), everything stands behind ``--``, hooks, prompts and configuration files are
off, and submodules may use the same schemes alone. The checkout depends on the commit, not on who makes it.
https://docs.docker.com/reference/dockerfile/#adding-files-from-a-git-repository
Not here: other URLs (``fetch``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from jupyter_containers.errors import ApiError, DigestMismatch, InvalidArgument, NotFound
from jupyter_containers.image.rooted import split
from jupyter_containers.text.neutral import one_line

SCHEMES = ("https", "http", "ssh", "git")
PATIENCE = 900.0  # seconds for all of it
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!/*-)[^:\s]+")
_REF = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./@+=,#-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SETTINGS = {
    "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.autocrlf": "false", "advice.detachedHead": "false",
    "init.defaultBranch": "master", "core.symlinks": "true", "gc.auto": "0",
}  # fmt: skip


class GitRef(NamedTuple):
    """What is wanted of a repository.

    Attributes:
        remote: its URL, without fragment and query.
        ref: a branch, tag or commit; empty for the repository's own choice.
        subdir: a directory in it, without a leading slash; empty for all.
        checksum: the commit, or its beginning, that it must be.
        keep: whether ``.git`` stays. submodules: whether they come, too.
    """

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep: bool = False
    submodules: bool = True


def is_git(source: str) -> bool:
    """Whether *source* is a git URL: ``git://``, ``ssh://``, ``user@host:path``, or http(s) that ends in ``.git``.

    >>> [is_git(source) for source in ("https://host/repo.git#main", "https://host/x.tgz", "git@host:a/b", "a.git")]
    [True, False, True, False]
    """
    if source.startswith(("git://", "ssh://")):
        return True
    if source.startswith(("http://", "https://")):
        return source.partition("#")[0].partition("?")[0].endswith(".git")
    return bool(_SCP.fullmatch(source.partition("#")[0].partition("?")[0]))


def shown(url: str) -> str:
    """How errors name a URL: without a user's name and password, and without a query, which may hold a secret too."""
    return re.sub(r"//[^/@]*@", "//", one_line(url.partition("?")[0]))[:200]


def parse(source: str, checksum: str = "", keep: bool | None = None) -> GitRef:
    """The repository and what is wanted of it, by fragment (``#ref:subdir``) or query (``?branch=..&subdir=..``).

    Raises:
        InvalidArgument: a part is not acceptable, or fragment, query and flags contradict each other.
    """
    address, _, fragment = source.partition("#")
    remote, _, query = address.partition("?")
    ref, _, subdir = fragment.partition(":")
    wanted = {"ref": ref, "subdir": subdir, "checksum": checksum}
    if keep is not None:
        wanted["keep-git-dir"] = str(keep).lower()
    for name, value in _asked(query, source):
        if wanted.get(name) and wanted[name] != value:
            raise _bad(f"it says two things about {name}: {wanted[name]!r} and {value!r}", source)
        wanted[name] = value
    _check(remote, wanted, source)
    path = "/".join(part.decode() for part in split(os.fsencode("/" + wanted["subdir"])) or [])
    flags = wanted.get("keep-git-dir") == "true", wanted.get("submodules") != "false"
    return GitRef(remote, wanted["ref"], path, wanted["checksum"], *flags)


def known_digest(ref: GitRef) -> str | None:
    """The digest of a checkout whose whole commit is given."""
    commit = ref.checksum if _COMMIT.fullmatch(ref.checksum) else ref.ref
    return _digest(ref, commit) if _COMMIT.fullmatch(commit) else None


def checkout(ref: GitRef, folder: Path, cancelled: threading.Event) -> str:
    """Fetch *ref* and put its files into the empty *folder*; the digest of what is there.

    Raises:
        NotFound: git is not installed. ApiError: the repository cannot be had, or has no such ref.
        DigestMismatch: it is another commit.
    """
    git = _Git(folder, ref, cancelled)
    git.run("init", "--quiet", "--template=", *(["--object-format=sha256"] if len(ref.checksum) == 64 else []))
    git.run("remote", "add", "--", "origin", ref.remote)
    commit = git.fetched(ref.ref or "HEAD")
    if ref.checksum and not commit.startswith(ref.checksum):
        what = f"its commit is {commit} instead of {ref.checksum}"
        raise DigestMismatch(what, git.shown, "Correct --checksum, or do not trust the repository.")
    git.run("checkout", "--quiet", "--detach", commit)
    if ref.submodules and (folder / ".gitmodules").is_file():
        git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    if ref.keep:
        _settle(git, folder)
    else:
        _remove_git(folder)
    return _digest(ref, commit)


class _Git:
    """The program git in one repository, all of whose runs have one patience."""

    def __init__(self, folder: Path, ref: GitRef, cancelled: threading.Event) -> None:
        self._program = shutil.which("git")
        self.shown = shown(ref.remote)
        if not self._program:
            raise NotFound("git is needed for it and not installed", self.shown, "Install the package `git`.")
        self._folder, self._cancelled, self._end = folder, cancelled, time.monotonic() + PATIENCE

    def run(self, *words: str) -> str:
        """What ``git WORDS`` prints.

        Raises:
            ApiError: it failed; the text is git's own.
        """
        code, out = self._try(*words)
        if code:
            last = [one_line(line) for line in out.strip().splitlines()[-3:]]
            raise ApiError(f"git {words[0]}: {' '.join(last)[-400:] or f'exit code {code}'}", self.shown)
        return out.strip()

    def fetched(self, ref: str) -> str:
        """The commit of *ref*, fetched: alone where the server can do that, else with all there is."""
        code, _ = self._try("fetch", "--quiet", "--depth=1", "--no-tags", "--", "origin", ref)
        if code == 0:
            return self.run("rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}")
        self.run(
            "fetch",
            "--quiet",
            "--tags",
            "--",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
            "+HEAD:refs/remotes/origin/HEAD",
        )
        for name in (f"refs/remotes/origin/{ref}", f"refs/tags/{ref}", ref):
            code, out = self._try("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
            if code == 0:
                return out.strip()
        raise ApiError(f"it has no branch, tag or commit {ref!r:.100}", self.shown)

    def _try(self, *words: str) -> tuple[int, str]:
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        assert self._program
        with subprocess.Popen(
            [self._program, *settings, *words], cwd=self._folder, env=_environment(), umask=0o022, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:  # fmt: skip
            out = self._wait(process)
        return process.returncode, out

    def _wait(self, process: subprocess.Popen[str]) -> str:
        while True:
            try:
                return process.communicate(timeout=0.25)[0]
            except subprocess.TimeoutExpired:
                if not self._cancelled.is_set() and time.monotonic() < self._end:
                    continue
            except BaseException:
                _kill(process)
                raise
            _kill(process)
            why = "cancelled" if self._cancelled.is_set() else f"it took longer than {PATIENCE:g} s"
            raise ApiError(f"git did not end: {why}", self.shown)


def _kill(process: subprocess.Popen[str]) -> None:
    """End git and what it started, ssh for example: it leads a session."""
    os.killpg(process.pid, 9)


def _environment() -> dict[str, str]:
    """The caller's own, for proxies and ssh keys, without anything that changes what git does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "LC_"))}
    return {
        **kept, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES), "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "GIT_ASKPASS": "true",
        "LC_ALL": "C",
    }  # fmt: skip


def _asked(query: str, source: str) -> list[tuple[str, str]]:
    """What the query of a URL says, by the names that :func:`parse` uses."""
    found = []
    for key, text in parse_qsl(query, keep_blank_values=True):
        name, value = key, text
        if name in ("tag", "branch"):
            prefix = "refs/tags/" if name == "tag" else "refs/heads/"
            name, value = "ref", value if value.startswith(prefix) else prefix + value
        elif name == "commit":
            name = "checksum"
        elif name in ("keep-git-dir", "submodules"):
            value = {"": "true", "1": "true", "0": "false"}.get(value.lower(), value.lower())
        if name not in ("ref", "subdir", "checksum", "keep-git-dir", "submodules") or not value:
            raise _bad(f"its query has {key}={text!r}, which means nothing", source)
        found.append((name, value))
    return found


def _check(remote: str, wanted: dict[str, str], source: str) -> None:
    """That nothing of it is taken for an option, or for more than one thing.

    Raises:
        InvalidArgument: something is.
    """
    if "://" in remote:
        try:
            parts = urlsplit(remote)
            host = parts.hostname or ""
        except ValueError:
            raise _bad("it is no proper URL", source) from None
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9a-fA-F:.]+", host) or parts.scheme not in SCHEMES:
            raise _bad("its host is no host name", source)
        if parts.password is not None or (parts.username or "").startswith("-"):
            raise _bad("a password in it would stay in the image's history", source)
        if parts.path.lstrip("/").startswith("-"):
            raise _bad("its path begins with a dash", source)
    if re.search(r"[\x00-\x20\x7f\\]", source):
        raise _bad("it has blanks or control characters in it", source)
    if wanted["ref"] and (not _REF.fullmatch(wanted["ref"]) or ".." in wanted["ref"]):
        raise _bad(f"{wanted['ref']!r:.100} is no name of a branch, tag or commit", source)
    if wanted["checksum"] and not re.fullmatch(r"[0-9a-f]{7,64}", wanted["checksum"]):
        raise _bad(f"{wanted['checksum']!r:.100} is no commit", source)
    for name in ("keep-git-dir", "submodules"):
        if wanted.get(name, "true") not in ("true", "false"):
            raise _bad(f"{name} is true or false", source)


def _bad(why: str, source: str) -> InvalidArgument:
    mend = "Write it as https://HOST/REPOSITORY.git#REF:DIRECTORY."
    return InvalidArgument(f"not a git URL to add: {why}", shown(source), mend)


def _settle(git: _Git, folder: Path) -> None:
    """Take out of ``.git`` what depends on when and where it was made: times in the index, logs."""
    for name in ("index", "FETCH_HEAD", "ORIG_HEAD"):
        (folder / ".git" / name).unlink(missing_ok=True)
    shutil.rmtree(folder / ".git/logs", ignore_errors=True)
    git.run("read-tree", "HEAD")


def _remove_git(folder: Path) -> None:
    """Remove the repository, and the files by which submodules name theirs."""
    shutil.rmtree(folder / ".git")
    for at, folders, files in os.walk(folder):
        if ".git" in files:
            Path(at, ".git").unlink()
        folders[:] = [name for name in folders if not Path(at, name).is_symlink()]


def _digest(ref: GitRef, commit: str) -> str:
    words = ("git", commit, ref.subdir, str(ref.keep), str(ref.submodules))
    return "sha256:" + hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()
