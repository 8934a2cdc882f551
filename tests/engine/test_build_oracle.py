"""Builds beside docker's: the same Dockerfile gives the same files and the same configuration, or both refuse it.

The cases are in ``dockerfiles/*.cases``; ``rig_build_oracle`` says how to read and write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine import rig_build_oracle as oracle
from tests.engine.rig_build_oracle import Case, Theirs
from tests.engine.rig_builds import Built, Workshop, unpacked
from tests.rigs import trees, users
from tests.rigs.users import User

ALL = oracle.cases()
SAME = [case for case in ALL if not case.differs]
DIFFERENT = [case for case in ALL if case.differs]

DockerBuild = Callable[[Case], Theirs]


@pytest.fixture(scope="module")
def theirs(
    dockerd: Path, busybox_docker_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerBuild]:
    """Builds with docker, all begun at once: it waits more than it works, and a test for its own case alone."""
    oracle.load(dockerd, busybox_docker_archive)
    folder = tmp_path_factory.mktemp("theirs")
    with ThreadPoolExecutor(4) as threads:
        done = {
            str(case): threads.submit(oracle.docker_build, dockerd, case, folder / f"{n}") for n, case in enumerate(ALL)
        }
        yield lambda case: done[str(case)].result()
        threads.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    """Builds of ours."""
    return Workshop(as_user, "oracle")


def _both(shop: Workshop, theirs: DockerBuild, case: Case) -> tuple[Built, dict[str, Any], trees.Tree, Theirs]:
    context = shop.context("oracle", case.context, case.dockerfile)
    options = {name: str(context / word) if name == "dockerfile" else word for name, word in case.ours.items()}
    ours = shop.build(context, **options)
    config, tree = unpacked(shop.saved(ours.id)) if ours.id else ({}, {})
    return ours, config, tree, theirs(case)


def test_each_instruction_of_the_old_builder_is_compared() -> None:
    words = {line.split()[0] for case in SAME for line in case.dockerfile.upper().splitlines() if line.strip()}
    known = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER"
    assert {*known.split(), "VOLUME", "WORKDIR"} <= words
    assert len(SAME) >= 60


@pytest.mark.parametrize("case", SAME, ids=str)
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_it_is_what_docker_makes(shop: Workshop, theirs: DockerBuild, case: Case) -> None:
    ours, config, tree, docker = _both(shop, theirs, case)
    refused = case.topic == "refused"
    assert (bool(ours.error), bool(docker.error)) == (refused, refused), (ours.error, docker.error, ours.output)
    assert config == docker.config
    assert trees.compared(tree, docker.tree) == {}


@pytest.mark.parametrize("case", DIFFERENT, ids=str)
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_it_is_what_buildkit_makes_where_the_old_builder_differs(
    shop: Workshop, theirs: DockerBuild, case: Case
) -> None:
    ours, config, tree, docker = _both(shop, theirs, case)
    assert case.expect, "say what ours must be"
    assert (config, tree, bool(ours.error)) != (docker.config, docker.tree, bool(docker.error)), "they do not differ"
    assert bool(ours.error) == ("error" in case.expect), (ours.error, ours.output)
    assert case.expect.get("error", "") in ours.error
    for key, value in case.expect.get("config", {}).items():
        assert config.get(key) == value, key
    for path, columns in case.expect.get("tree", {}).items():
        row = tree.get(path)
        assert (row and row[: len(columns)]) == columns if columns else row is None, (path, row)


# Whoever builds: all that needs no owner which a step gives (``rootless-single`` can't record those).
FOR_EVERYBODY = (
    "copy: a file to a file and to a folder", "copy: modes stay as they are", "copy: odd names",
    "copy: symbolic links in a folder stay links", "copy: hard links in a folder", "copy: --chown by name",
    "copy: setuid, setgid and sticky", "copy: to a symbolic link that leads to a folder", "add: archives are unpacked",
    "add: an archive merges with what is there", "config: ONBUILD before a child's own instructions",
    "ignore: .dockerignore with exceptions", "run: a folder becomes a file, a link, and a folder again",
    "run: big and sparse files", "run: hard links", "run: names change", "run: fifos are kept and sockets are not",
    "run: what is made and removed in one step was never there", "stages: COPY --from a stage by name and by number",
    "stages: COPY --from an image", "stages: links of a stage stay links", "stages: scratch with files",
    "variables: words are expanded in each instruction that has words",
)  # fmt: skip
OWNERS = (
    "run: modes and owners",
    "stages: files of a stage keep their owners",
    "run: WORKDIR after USER is the user's",
)


@pytest.fixture(scope="module")
def roots_shop(rig_folder: Path) -> Workshop:
    """Builds of root's, which the comparison with docker is about."""
    return Workshop(users.make("root", rig_folder / "root"), "oracle")


def _same(shop: Workshop, roots_shop: Workshop, name: str) -> None:
    case = next(case for case in ALL if str(case) == name)
    ids = [one.must_build(one.context("same", case.context, case.dockerfile)).id for one in (roots_shop, shop)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("name", FOR_EVERYBODY)
@pytest.mark.parametrize("as_user", ["subids", "nosubids"], indirect=True)
def test_an_ordinary_user_builds_the_very_same_image(shop: Workshop, roots_shop: Workshop, name: str) -> None:
    _same(shop, roots_shop, name)


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("as_user", ["subids"], indirect=True)
def test_with_subordinate_ids_owners_are_the_very_same(shop: Workshop, roots_shop: Workshop, name: str) -> None:
    _same(shop, roots_shop, name)
