"""Fixtures for tests that use the real thing: users, roots, archives, the watch for leaks, a dockerd.

Not here: how they are made (:mod:`tests.rigs`), and fixtures that only one folder of tests needs.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rigs import dockerd as docker_rig
from tests.rigs import engines, leaks, reaper, roots, users
from tests.rigs.abilities import must
from tests.rigs.users import User


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give the run an init of its own, before anything is started."""
    if not config.option.collectonly and not hasattr(config, "workerinput"):
        reaper.become_init()


# A shell has what it runs in the background ignore SIGINT, and so do children; some tests press the stop button.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rig_folder() -> Iterator[Path]:
    """Where users' homes and stores of this run lie: on a disk (overlay), short (sockets), open to every user."""
    for old in Path("/var/tmp").glob(f"{leaks.RIG_PREFIX}*-*"):
        if not Path("/proc", old.name.split("-")[1]).exists():  # of a run that was killed
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{leaks.RIG_PREFIX}{os.getpid()}-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    for kind in users.KINDS:
        if (folder / kind).exists():
            engines.tear_down(users.make(kind, folder / kind))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def own_folders(rig_folder: Path) -> Iterator[User]:
    """Tests in the suite's own process, too, use a store and a runtime folder of this run, never the developer's."""
    user = users.make(users.own_kind(), rig_folder / users.own_kind())
    names = ("XDG_RUNTIME_DIR", "JUPYTER_CONTAINERS_HOME")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, user.environment[name])
        yield user


@pytest.fixture(scope="session", params=users.KINDS)
def as_user(request: pytest.FixtureRequest, rig_folder: Path) -> User:
    """The same test as root, as a user with subordinate ids, and as one without.

    Fewer by ``@pytest.mark.parametrize("as_user", ["root"], indirect=True)``. The store is shared by the tests of a
    run; ``as_user.with_store("name")`` is a fresh one.
    """
    return users.make(request.param, rig_folder / request.param)


@pytest.fixture
def leak_watch(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test if anything is there afterwards that was not before; the launcher itself is started first."""
    user: User = request.getfixturevalue("as_user" if "as_user" in request.fixturenames else "own_folders")
    engines.warm(user)
    engines.settle(user)
    folders = [user.store / "containers", user.store / "waiting", user.base / "run", user.tmp]
    before = leaks.settled(folders)
    yield
    engines.settle(user)
    left = leaks.left_behind(before, folders)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def without_user_namespaces() -> Callable[[User], User]:
    """Makes of a user one on a machine that forbids user namespaces."""
    return users.without_user_namespaces


@pytest.fixture(scope="session")
def busybox_root_tar() -> Path:
    """A root tar of busybox, 2 MB."""
    return roots.busybox_tar()


@pytest.fixture(scope="session")
def busybox_root() -> Path:
    """The same unpacked; read-only by agreement."""
    return roots.busybox_root()


@pytest.fixture(scope="session")
def debian_root_tar() -> Path:
    """A root tar of Debian bookworm with python3-minimal, 170 MB; a minute to make, then cached."""
    return roots.debian_tar()


@pytest.fixture(scope="session")
def busybox_docker_archive(busybox_root_tar: Path) -> Path:
    """``docker save`` of ``busybox:test``."""
    return roots.archive(busybox_root_tar, "busybox:test", "docker")


@pytest.fixture(scope="session")
def busybox_oci_archive(busybox_root_tar: Path) -> Path:
    """An oci-archive of ``busybox:test``."""
    return roots.archive(busybox_root_tar, "busybox:test", "oci")


@pytest.fixture(scope="session")
def debian_docker_archive(debian_root_tar: Path) -> Path:
    """``docker save`` of ``debian:bookworm``."""
    return roots.archive(debian_root_tar, "debian:bookworm", "docker")


@pytest.fixture(scope="session")
def debian_oci_archive(debian_root_tar: Path) -> Path:
    """An oci-archive of ``debian:bookworm``."""
    return roots.archive(debian_root_tar, "debian:bookworm", "oci")


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Path]:
    """The socket of a real dockerd with ``busybox:test``: the oracle for what docker does."""
    must(os.geteuid() == 0, "dockerd needs root")
    try:
        with docker_rig.running() as socket:
            docker_rig.docker(socket, "import", str(roots.busybox_tar()), "busybox:test")
            yield socket
    except docker_rig.DockerMissing as error:
        must(None, str(error))
