"""What docker itself says of the same image: its JSON, its history, its archives, and what it makes of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import dockerd as docker_rig
from tests.rigs.users import User

_DOCKERFILE = """FROM busybox:test
ENV A=1
LABEL x=y
RUN mkdir -p /d && echo hi >/d/f && ln /d/f /d/g && ln -s f /d/s && chown 5:6 /d/f && chmod 4755 /d/f && rm /etc/group
RUN rm -r /d && mkdir /d && echo again >/d/f
CMD ["sh", "-c", "echo"]
EXPOSE 80/tcp
VOLUME /data
HEALTHCHECK --interval=5s CMD true
STOPSIGNAL SIGINT
USER 5
ONBUILD RUN true
"""
_NAME = "built:1"


@pytest.fixture(scope="session")
def archive(dockerd: Path, rig_folder: Path) -> Iterator[Path]:
    """``docker save`` of an image that docker built; docker has loaded it again, so that it knows no more than we do."""
    folder = rig_folder / "oracle"
    folder.mkdir(mode=0o755)
    command = ["docker", "-H", f"unix://{dockerd}", "build", "-t", _NAME, "-"]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, input=_DOCKERFILE.encode(), env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    path = folder / "built.tar"
    docker_rig.docker(dockerd, "save", "-o", str(path), _NAME)
    path.chmod(0o644)
    docker_rig.docker(dockerd, "rmi", "-f", _NAME)
    docker_rig.docker(dockerd, "load", "-q", "-i", str(path))
    yield path
    docker_rig.docker(dockerd, "rmi", "-f", _NAME)


def _told(archive: str) -> dict[str, Any]:
    from jupyter_containers import from_env
    from jupyter_containers.cli import run_verb

    engine = from_env()
    engine.images.load(archive)
    lines = {word: run_verb(["history", *word.split(), _NAME], engine).text for word in _HISTORIES}
    return {"inspect": engine.images.get(_NAME).attrs, "history": lines}


_HISTORIES = (
    "--no-trunc --human=false",
    "-q",
    "--format {{.ID}}|{{.Size}}|{{.CreatedBy}}|{{.Comment}}",
    "--no-trunc -q",
    "--format json",
    "--format json --no-trunc",
)


def test_inspect_is_dockers_in_every_key_and_value(as_user: User, dockerd: Path, archive: Path) -> None:
    ours = as_user.call(_told, archive)["inspect"]
    [theirs] = json.loads(docker_rig.docker(dockerd, "image", "inspect", _NAME))
    assert list(ours) == list(theirs)
    assert set(ours["GraphDriver"]["Data"]) <= set(theirs["GraphDriver"]["Data"])
    for found in (ours, theirs):
        del found["GraphDriver"]["Data"]
        del found["Metadata"]["LastTagTime"]
    assert ours == theirs
    assert list(ours["Config"]) == list(theirs["Config"])


def test_history_is_dockers_line_for_line(as_user: User, dockerd: Path, archive: Path) -> None:
    ours = as_user.call(_told, archive)["history"]
    for words in _HISTORIES:
        theirs = docker_rig.docker(dockerd, "history", *words.split(), _NAME)
        assert _without_now(ours[words]) == _without_now(theirs)


def _without_now(text: str) -> str:
    """How long ago something was is another text a second later."""
    return re.sub(r'"CreatedSince":"[^"]*"', "", text)


def _layers_of(archive: str) -> list[str]:
    from jupyter_containers import from_env

    [image] = from_env().images.load(archive)
    layers: list[str] = image.attrs["RootFS"]["Layers"]
    return layers


def _saved(archive: str, target: str, form: str) -> dict[str, Any]:
    from jupyter_containers import from_env

    engine = from_env()
    [image] = engine.images.load(archive)
    Path(target).write_bytes(b"".join(engine.images.save([_NAME], form)))
    return {"id": image.id, "layers": image.attrs["RootFS"]["Layers"]}


def test_docker_loads_what_we_save_and_has_the_same_image(as_user: User, dockerd: Path, archive: Path) -> None:
    target = as_user.home / "ours.tar"
    ours = as_user.call(_saved, archive, target, "docker-archive")
    docker_rig.docker(dockerd, "rmi", "-f", _NAME)
    assert docker_rig.docker(dockerd, "load", "-i", str(target)) == f"Loaded image: {_NAME}\n"
    [theirs] = json.loads(docker_rig.docker(dockerd, "image", "inspect", _NAME))
    assert (theirs["Id"], theirs["RootFS"]["Layers"]) == (ours["id"], ours["layers"])


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_podman_loads_what_we_save_and_we_what_it_saves(
    as_user: User, archive: Path, form: str, tmp_path: Path
) -> None:
    from tests.rigs.abilities import need_program

    need_program("podman")
    target, back = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    ours = as_user.call(_saved, archive, target, form)
    folder = as_user.base / f"p{form[0]}"  # podman wants a short one
    store = ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver=vfs"]

    def podman(*words: str) -> str:
        done = subprocess.run([*store, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    podman("load", "-q", "-i", str(target))
    [name] = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert name == f"docker.io/library/{_NAME}"
    podman("save", "-q", "--format", form, "-o", str(back), name)
    again = as_user.call(_layers_of, back)
    assert again == ours["layers"]
