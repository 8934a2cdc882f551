"""A store on a full disk: one clear line with the mend, nothing left behind, and the rest goes on. As root, who mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.test_cells import cells
from tests.rigs.engines import ours
from tests.rigs.users import User

PAGE = os.sysconf("SC_PAGE_SIZE")
pytestmark = pytest.mark.parametrize("as_user", ["root"], indirect=True)


@contextmanager
def small_store(user: User, options: str) -> Iterator[User]:
    """*user* with a store on a file system of its own."""
    found = user.with_store("small")
    found.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", found.store], check=True)
    try:
        yield found
    finally:
        found.python("from jupyter_containers import from_env; from_env().runtime.quit()", check=False)
        subprocess.run(["umount", found.store], check=True)
        found.store.rmdir()


def files(user: User) -> list[str]:
    """All in the store but locks, when a container that has just ended is removed."""
    end = time.monotonic() + 5
    while list(user.store.glob("containers/.gone*")) and time.monotonic() < end:
        time.sleep(0.02)
    found = [str(path.relative_to(user.store)) for path in user.store.rglob("*")]
    return sorted(path for path in found if not path.endswith(".lock") and not path.startswith("filler"))


def leave_bytes(user: User, pages: int) -> None:
    """Fill the disk but for some pages."""
    filler = user.store / "filler"
    filler.unlink(missing_ok=True)
    disk = os.statvfs(user.store)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - pages * PAGE)


def leave_files(user: User, count: int) -> None:
    """Use up the inodes but for some."""
    folder = user.store / "filler"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(os.statvfs(user.store).f_favail - count):
        (folder / str(number)).touch()


def is_one_line_about_the_disk(text: str) -> None:
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert "too full" in text or "no room" in text or "no space left" in text.lower(), text
    assert "ree some space" in text, text


@pytest.fixture
def store(as_user: User, busybox_docker_archive: Path) -> Iterator[User]:
    """A small store with an image in it, unpacked."""
    with small_store(as_user, "size=100m,nr_inodes=3000") as user:
        ours(user, "load", "-i", str(busybox_docker_archive))
        assert ours(user, "run", "--rm", "--network", "none", "busybox:test", "true").returncode == 0
        user.call(cells, "%%container --network none busybox:test sh\ntrue")
        yield user


@pytest.mark.parametrize("size", ["1m", "3m"], ids=["blob", "unpacked"])
def test_an_image_that_does_not_fit_is_not_loaded(as_user: User, busybox_docker_archive: Path, size: str) -> None:
    with small_store(as_user, f"size={size}") as user:
        ours(user, "images")
        before = files(user)
        done = ours(user, "load", "-i", str(busybox_docker_archive))
        assert done.returncode == 1, done
        is_one_line_about_the_disk(done.stderr)
        assert files(user) == before


@pytest.mark.parametrize("leave", [leave_bytes, leave_files])
@pytest.mark.parametrize("flags", [("--rm",), ("-d",)], ids=["foreground", "background"])
def test_wherever_a_start_meets_the_full_disk_it_is_one_line(
    store: User, flags: tuple[str, ...], leave: Callable[[User, int], None]
) -> None:
    before, refused = files(store), 0
    for rest in range(24):
        leave(store, rest)
        done = ours(store, "run", *flags, "--network", "none", "busybox:test", "true")
        if done.returncode == 0:
            ours(store, "rm", "-f", done.stdout.strip()) if done.stdout else None
            break
        refused += 1
        assert done.returncode == 125, (rest, done)
        is_one_line_about_the_disk(done.stderr)
        if "-d" in flags:  # as docker's: made, and not started
            [ours(store, "rm", name) for name in ours(store, "ps", "-aq").stdout.split()]
        assert files(store) == before, rest
    assert 0 < refused < 24


@pytest.mark.parametrize("leave", [leave_bytes, leave_files])
def test_a_cell_on_a_full_disk_has_a_card(store: User, leave: Callable[[User, int], None]) -> None:
    before = files(store)
    leave(store, 2)
    [answer] = store.call(cells, "%%container --network none busybox:test sh\nsleep 20")
    assert "ree some space" in answer["card"], answer
    assert len(answer["card"].splitlines()) <= 3
    assert files(store) == before


def test_a_program_meets_the_full_disk_itself(store: User) -> None:
    before = files(store)
    fill = ("busybox:test", "dd", "if=/dev/zero", "of=/x", "bs=64k")
    done = ours(store, "run", "--rm", "--network", "none", *fill)
    assert done.returncode == 1
    assert "dd: error writing '/x': No space left on device" in done.stderr
    assert files(store) == before


def test_the_end_is_recorded_on_a_disk_that_the_container_filled(store: User) -> None:
    fill = "dd if=/dev/zero of=/x bs=64k 2>/dev/null; dd if=/dev/zero of=/y bs=1 2>/dev/null; exit 7"
    done = ours(store, "run", "--name", "filler", "--network", "none", "busybox:test", "sh", "-c", fill)
    assert done.returncode == 7, done
    state = "{{.State.Status}} {{.State.ExitCode}}"
    assert ours(store, "inspect", "-f", state, "filler").stdout == "exited 7\n"
    assert ours(store, "start", "-a", "filler").returncode in (7, 125)
    assert ours(store, "rm", "filler").returncode == 0
    assert ours(store, "run", "--rm", "--network", "none", "busybox:test", "true").returncode == 0
