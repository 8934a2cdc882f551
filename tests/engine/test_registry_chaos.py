"""Pulls beside pulls and prunes, killed ones, and cells that pull: a store that is never broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.errors import ImageNotFound, RegistryDenied, RegistryUnreachable
from jupyter_containers.image import removal
from jupyter_containers.image.registry.access import Access
from jupyter_containers.image.registry.pull import pull
from jupyter_containers.image.store import ImageStore
from tests.rigs import bad_registry as bad
from tests.rigs.bad_registry import BadRegistry, tar_of
from tests.rigs.users import User

ROUNDS = 100
HERE = Path(__file__).resolve()


@pytest.fixture
def registry() -> Iterator[BadRegistry]:
    with bad.running() as found:
        yield found


def open_store(home: str | Path) -> ImageStore:
    if os.geteuid() == 0:
        return ImageStore(Path(home), "root")
    return ImageStore(Path(home), "rootless-single", lambda argv: ["unshare", "-Ur", *argv])


def program(source: str, *words: str | Path) -> subprocess.Popen[str]:
    """A Python process of its own, with this module as ``me``."""
    path = f"import sys; sys.path.insert(0, {str(HERE.parents[2])!r})\nimport tests.engine.test_registry_chaos as me\n"
    command = [sys.executable, "-c", path + source, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pull_once(home: str, name: str) -> None:
    pull(open_store(home), name, Access(docker_config=Path(home) / "none.json"))


def prune_until_told(home: str, name: str) -> None:
    """Remove the image and prune, again and again, until standard input ends."""
    import select

    while not select.select([sys.stdin], [], [], 0)[0]:
        store = open_store(home)
        try:
            store.remove(name)
        except ImageNotFound:
            pass
        tidy(store)


def tidy(store: ImageStore) -> int:
    """As ``image prune``, of which no filter lets an image pass; the bytes that it gave back."""
    return removal.prune(store, lambda _: False, False, lambda _: {}).bytes


# --- at once ---


@pytest.mark.slow
def test_two_pulls_and_a_prune_at_once_never_break_an_image(registry: BadRegistry, tmp_path: Path) -> None:
    """After each round the image is there whole, or not at all, and nothing is left over."""
    registry.image("x:latest", tar_of(200_000), tar_of(50_000, "b"), tar_of(1000, "c"))
    home, name = tmp_path / "home", f"{registry.host}/x:latest"
    open_store(home)
    loop = (
        "for line in sys.stdin:\n    try:\n        me.{act}(sys.argv[1], sys.argv[2]); print('ok', flush=True)\n"
        "    except BaseException as error: print(repr(error), flush=True)\n"
    )
    pullers = [_worker(loop.format(act="pull_once"), home, name) for _ in range(2)]
    pruner = _worker(loop.format(act="prune_once"), home, name)
    there = 0
    try:
        for _ in range(ROUNDS):
            for worker in (*pullers, pruner):
                _tell(worker)
            said = [_hear(worker) for worker in (*pullers, pruner)]
            assert said == ["ok"] * 3
            there += is_whole_or_gone(home, name)
    finally:
        for worker in (*pullers, pruner):
            worker.kill()
            worker.wait()
    assert 0 < there < ROUNDS  # both ends were seen
    store = open_store(home)
    pull_once(str(home), name)
    assert is_whole_or_gone(home, name)
    store.remove(name)
    tidy(store)
    assert list((home / "images" / "blobs" / "sha256").iterdir()) == []
    assert store.unpacked.chain_ids() == []


def prune_once(home: str, name: str) -> None:
    store = open_store(home)
    time.sleep(0.02 * (time.time_ns() % 5))
    try:
        store.remove(name)
    except ImageNotFound:
        pass
    tidy(store)


def _worker(source: str, home: Path, name: str) -> subprocess.Popen[str]:
    path = f"import sys; sys.path.insert(0, {str(HERE.parents[2])!r})\nimport tests.engine.test_registry_chaos as me\n"
    command = [sys.executable, "-c", path + source, str(home), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _tell(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin
    worker.stdin.write("go\n")
    worker.stdin.flush()


def _hear(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout
    return worker.stdout.readline().strip()


def is_whole_or_gone(home: Path, name: str) -> bool:
    """Whether the image is there; if so, every blob is what its name says, and its layers have their files."""
    store = open_store(home)
    try:
        image = store.resolve(name)
    except ImageNotFound:
        return False
    for part in (image.target, image.manifest.config, *image.manifest.layers):
        with store.open_blob(part.digest, part.size) as blob:
            blob.read()
    names = sorted(file.name for layer in store.layers(image) for file in layer.iterdir())
    assert names == ["b", "c", "data"]
    return True


def test_two_processes_that_pull_one_image_fetch_it_once(registry: BadRegistry, tmp_path: Path) -> None:
    manifest = registry.image("x:latest", *(tar_of(300_000, name) for name in ("data", "b", "c")))
    registry.fault("blobs", lambda handler: handler.wait(0.3) or False)
    home, name = tmp_path / "home", f"{registry.host}/x:latest"
    open_store(home)
    both = [program("me.pull_once(*sys.argv[1:])", home, name) for _ in range(2)]
    assert [(one.communicate()[0], one.returncode) for one in both] == [("", 0)] * 2
    assert is_whole_or_gone(home, name)
    assert registry.count("blobs") == len(manifest["layers"]) + 1


# --- killed ---


def test_a_killed_pull_leaves_nothing_that_counts_and_the_next_goes_on(registry: BadRegistry, tmp_path: Path) -> None:
    manifest = registry.image("x:latest", tar_of(3_000_000), tar_of(10, "b"), tar_of(10, "c"))
    digest = manifest["layers"][0]["digest"]
    registry.fault("blobs", lambda handler: handler.path.endswith(digest) and bad.stalls(2_000_000)(handler), times=3)
    home, name = tmp_path / "home", f"{registry.host}/x:latest"
    store = open_store(home)
    killed = program("me.pull_once(*sys.argv[1:])", home, name)
    partial = store.layout.partial(digest)
    _until(lambda: partial.exists() and partial.stat().st_size == 2_000_000)
    killed.kill()
    killed.wait()
    registry.faults.clear()
    fresh = open_store(home)  # sweeps what the killed one left
    assert fresh.list() == []
    assert list((home / "images" / ".incoming").iterdir()) == []
    pull_once(str(home), name)
    assert is_whole_or_gone(home, name)
    asked = [request.headers.get("Range") for request in registry.requests if request.path.endswith(digest)]
    assert asked == [None, "bytes=2000000-"]


@pytest.mark.slow
def test_a_kill_at_any_moment_breaks_nothing(registry: BadRegistry, tmp_path: Path) -> None:
    registry.image("x:latest", tar_of(400_000), tar_of(100_000, "b"), tar_of(10, "c"))
    registry.fault("blobs", lambda handler: handler.wait(0.02) or False)
    home, name = tmp_path / "home", f"{registry.host}/x:latest"
    open_store(home)
    for step in range(20):
        victim = program("me.pull_once(*sys.argv[1:])", home, name)
        time.sleep(0.1 + 0.02 * step)
        victim.kill()
        victim.wait()
        if is_whole_or_gone(home, name):
            open_store(home).remove(name)
    pull_once(str(home), name)
    assert is_whole_or_gone(home, name)


def _until(holds: Any, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_old_partial_blobs_go_and_prune_takes_all(registry: BadRegistry, tmp_path: Path) -> None:
    store = open_store(tmp_path / "home")
    for number, age in enumerate((0, 8 * 86400)):
        path = store.layout.partial(f"sha256:{str(number) * 64}")
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    folder = tmp_path / "home" / "images" / ".partial"
    store.sweep()
    assert [path.name[:8] for path in folder.iterdir()] == ["sha256-0"]
    with store.layout.adding():
        assert tidy(store) == 0
    assert tidy(store) == 1
    assert list(folder.iterdir()) == []


def test_a_layer_that_was_needed_while_its_image_went_is_pruned_later(registry: BadRegistry, tmp_path: Path) -> None:
    registry.image("x:latest", tar_of(1000), tar_of(10, "b"), tar_of(10, "c"))
    home, name = tmp_path / "home", f"{registry.host}/x:latest"
    store = open_store(home)
    pull_once(str(home), name)
    with store.layout.adding():
        store.remove(name)
        assert len(store.unpacked.chain_ids()) == 3
    assert tidy(store) == 1020
    assert store.unpacked.chain_ids() == []


# --- what runs pulls first ---


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_run_pulls_what_is_missing_as_pull_says(as_user: User, registry: BadRegistry) -> None:
    user = as_user.with_store(f"ensure-{os.getpid()}")
    assert user.call(_policies, registry.host) is None


def _policies(host: str) -> None:
    from jupyter_containers import from_env
    from tests.rigs import roots

    engine = from_env()
    name = f"{host}/bb"
    with bad.running() as own:
        own.image("bb:latest", roots.busybox_tar().read_bytes())
        name = f"{own.host}/bb"
        with pytest.raises(ImageNotFound):
            engine.containers.run(name, ["true"], pull="never", remove=True, network="none")
        assert own.requests == []
        said = engine.containers.run(name, ["echo", "hi"], remove=True, network="none")
        assert said == b"hi\n"
        before = len(own.requests)
        engine.containers.run(name, ["true"], remove=True, network="none")
        assert len(own.requests) == before
        engine.containers.run(name, ["true"], pull="always", remove=True, network="none")
        assert own.count("manifests") == 2
        with pytest.raises(ImageNotFound, match="No such image: .*/bbb, and it cannot be pulled: .*not found"):
            engine.containers.run(f"{own.host}/bbb", ["true"], remove=True, network="none")
        _cell(engine, f"{own.host}/bb")
    with pytest.raises(RegistryUnreachable, match="cannot be pulled"):
        engine.containers.run(f"{own.host}/other", ["true"], remove=True)
    engine.runtime.quit()


def _cell(engine: Any, name: str) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    engine.images.remove(name, force=True)
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "jupyter_containers")
    with capture_output() as told:
        shell.run_cell_magic("container", f"--network none {name} sh", "echo from inside")
    assert told.stdout.endswith("from inside\n"), told.stdout
    assert f"Unable to find image '{name}:latest' locally" in told.stderr
    assert "Pull complete" in told.stderr
    assert "Status: Downloaded newer image for" in told.stderr


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_login_by_the_command(as_user: User, registry: BadRegistry) -> None:
    registry.fault("ping", bad.challenges('Basic realm="r"', unless="Basic bWU6cHctb2YtbWluZQ=="))
    user = as_user
    wrong = user.run(
        "jupyter-containers", "login", "-u", "me", "--password-stdin", registry.host, input="no\n", check=False
    )
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "unauthorized" in wrong.stderr
    done = user.run("jupyter-containers", "login", "-u", "me", "--password-stdin", registry.host, input="pw-of-mine\n")
    assert done.stdout == "Login Succeeded\n"
    assert "stored unencrypted" in done.stderr
    kept = json.loads((user.home / ".docker" / "config.json").read_text())
    assert kept == {"auths": {registry.host: {"auth": "bWU6cHctb2YtbWluZQ=="}}}
    assert (
        "WARNING! Using --password"
        in user.run("jupyter-containers", "login", "-u", "me", "-p", "pw-of-mine", registry.host).stderr
    )
    asked = user.run("jupyter-containers", "login", registry.host, check=False)
    assert "Cannot perform an interactive login" in asked.stderr
    assert (
        user.run("jupyter-containers", "logout", registry.host).stdout
        == f"Removing login credentials for {registry.host}\n"
    )
    assert user.run("jupyter-containers", "logout", registry.host).stdout == f"Not logged in to {registry.host}\n"


def test_denied_is_said_as_docker_says_it(registry: BadRegistry, tmp_path: Path) -> None:
    registry.fault("manifests", bad.status(403))
    with pytest.raises(
        RegistryDenied, match="pull access denied for .*, repository does not exist or may require 'docker login'"
    ):
        pull_once(str(tmp_path / "home"), f"{registry.host}/x")


# --- memory ---


def test_memory_does_not_grow_with_the_image(registry: BadRegistry, tmp_path: Path) -> None:
    """Pulling ten times as much takes no more memory, here and in the programs that unpack (peaks, kilobytes).

    Not ru_maxrss for ourselves: a process begins with its parent's.
    """
    peaks = []
    for size in (8 << 20, 80 << 20):
        name = f"{registry.host}/m{size}:1"
        registry.image(f"m{size}:1", tar_of(size, f"m{size}"))
        source = (
            "import resource; me.pull_once(*sys.argv[1:])\n"
            "own = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
            "print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        done = program(source, tmp_path / f"home{size}", name)
        text = done.communicate()[0]
        assert done.returncode == 0, text
        peaks.append([int(word) for word in text.split()])
    assert all(large < small + 16_000 for small, large in zip(*peaks, strict=True)), peaks
