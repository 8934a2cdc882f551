"""``rmi``, ``image prune`` and ``tag`` with real containers, and against those who begin to use an image meanwhile."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import dockerd as docker_rig
from tests.rigs import roots
from tests.rigs.users import User


def _root(word: str) -> bytes:
    """Busybox with one more file, so that it is another image."""
    out = io.BytesIO(roots.busybox_tar().read_bytes())
    with tarfile.open(fileobj=out, mode="a") as tar:
        entry = tarfile.TarInfo("word")
        entry.size = len(word)
        tar.addfile(entry, io.BytesIO(word.encode()))
    return out.getvalue()


def _messages(how: list[list[str]]) -> list[str]:
    """What each call of ``remove`` says or raises, where ``gone:1`` has a created container ``user1``."""
    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError

    engine = from_env()
    image = engine.images.import_image(io.BytesIO(_root("messages")), "gone", "1", changes=['CMD ["true"]'])
    engine.images.tag("gone:1", "gone:2")
    container = engine.containers.create("gone:1", name="user1")
    said = []
    for name, *force in how:
        try:
            rows = engine.images.remove(image.id if name == "ID" else name, force=bool(force))
            said += [" ".join(f"{what}: {text}" for what, text in row.items()) for row in rows]
        except ContainersError as error:
            said.append(error.what.replace(container.id[:12], "CONTAINER").replace(image.id[7:19], "IMAGE"))
    container.remove()
    engine.images.remove(image.id, force=True)
    return said


_CALLS = [["ID"], ["gone:2"], ["gone:1"], ["ID"]]


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_conflicts_are_told_in_dockers_words(as_user: User, dockerd: Path) -> None:
    ours = as_user.call(_messages, _CALLS)
    image = docker_rig.docker(dockerd, "import", "-", "gone:1", stdin=_root("messages")).strip()
    docker_rig.docker(dockerd, "tag", "gone:1", "gone:2")
    container = docker_rig.docker(dockerd, "create", "--name", "user1", "gone:1", "true").strip()
    theirs = []
    for name, *_ in _CALLS:
        command = ["docker", "-H", f"unix://{dockerd}", "rmi", image if name == "ID" else name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = (done.stdout + done.stderr).strip().removeprefix("Error response from daemon: ")
        theirs += text.replace(container[:12], "CONTAINER").replace(image[7:19], "IMAGE").splitlines()
    docker_rig.docker(dockerd, "rm", "user1")
    docker_rig.docker(dockerd, "rmi", "gone:1")
    assert ours == theirs


def _prune() -> dict[str, Any]:
    from jupyter_containers import from_env

    engine = from_env()
    engine.images.import_image(io.BytesIO(_root("used")), "used", "1", changes=['CMD ["true"]'])
    engine.images.import_image(io.BytesIO(_root("idle")), "idle", "1", changes=["LABEL keep=yes"])
    container = engine.containers.create("used:1")
    size = next(image.attrs["Size"] for image in engine.images.list() if "idle:1" in image.tags)
    kept = engine.images.prune({"dangling": False, "label!": "keep"})
    young = engine.images.prune({"dangling": False, "until": "1h"})
    done = engine.images.prune({"dangling": False})
    left = [tag for image in engine.images.list() for tag in image.tags if tag != "host:latest"]
    container.start()
    container.wait()
    exit_code = container.attrs["State"]["ExitCode"]
    container.remove()
    engine.images.prune({"dangling": False})
    return {"kept": kept, "young": young, "rows": done["ImagesDeleted"], "bytes": done["SpaceReclaimed"], "size": size,
            "left": left, "exit": exit_code}  # fmt: skip


def test_prune_spares_what_containers_use_and_tells_what_it_gave_back(as_user: User) -> None:
    user = as_user.with_store("prune")
    found = user.call(_prune)
    assert found["kept"] == found["young"] == {"ImagesDeleted": [], "SpaceReclaimed": 0}
    assert found["rows"][0] == {"Untagged": "idle:1"}
    assert [list(row) for row in found["rows"][1:]] == [["Deleted"], ["Deleted"]]
    assert (found["bytes"], found["left"], found["exit"]) == (found["size"], ["used:1"], 0)


_ROUNDS = 40
_RUN = f"""
import io, sys
from jupyter_containers import from_env
from jupyter_containers.errors import ImageNotFound
engine, data, ran = from_env(), open(sys.argv[1], "rb").read(), 0
for number in range({_ROUNDS}):
    engine.images.import_image(io.BytesIO(data), "both", "1")
    try:
        assert engine.containers.run("both:1", ["cat", "/word"], remove=True, network="none", pull="never") == b"together"
        ran += 1
    except ImageNotFound:
        continue
print(ran)
"""
_PRUNE = """
import random, sys, time
from jupyter_containers import from_env
engine = from_env()
while time.monotonic() < float(sys.argv[1]):
    engine.images.prune({"dangling": False})
    time.sleep(random.random() / 4)
"""


def test_running_and_pruning_at_once_never_give_a_broken_container(as_user: User) -> None:
    """Either the image is whole while the container runs, or it was gone before it began."""
    import time

    user = as_user.with_store("both")
    archive = user.home / "both.tar"
    archive.write_bytes(_root("together"))
    archive.chmod(0o644)
    prune = user.popen([sys.executable, "-c", _PRUNE, str(time.monotonic() + 60)], stderr=subprocess.PIPE, text=True)
    try:
        done = user.python(_RUN, str(archive), timeout=110)
    finally:
        prune.terminate()
        said = prune.communicate()[1]
    assert "Traceback" not in said
    assert int(done.stdout) > 0
