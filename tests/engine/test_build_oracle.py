"""Builds beside docker's: the same Dockerfile gives the same files and the same configuration, or both refuse it.

The cases are in ``dockerfiles/*.cases``; ``rig_build_oracle`` says how to read and write them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine import rig_build_oracle as oracle
from tests.engine.rig_build_oracle import Case, Theirs
from tests.engine.rig_builds import Built, Workshop, unpacked
from tests.rigs import trees
from tests.rigs.users import User

ALL = oracle.cases()
SAME = [case for case in ALL if not case.differs]
DIFFERENT = [case for case in ALL if case.differs]

DockerBuild = Callable[[Case, Path], Theirs]


@pytest.fixture(scope="module")
def theirs(dockerd: Path, busybox_docker_archive: Path) -> DockerBuild:
    """Builds with docker."""
    oracle.load(dockerd, busybox_docker_archive)
    return lambda case, context: oracle.docker_build(dockerd, case, context)


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    """Builds of ours."""
    return Workshop(as_user, "oracle")


def _both(shop: Workshop, theirs: DockerBuild, case: Case) -> tuple[Built, dict[str, Any], trees.Tree, Theirs]:
    context = shop.context("oracle", case.context, case.dockerfile)
    options = {name: str(context / word) if name == "dockerfile" else word for name, word in case.ours.items()}
    ours = shop.build(context, **options)
    config, tree = unpacked(shop.saved(ours.id)) if ours.id else ({}, {})
    return ours, config, tree, theirs(case, context)


def test_each_instruction_of_the_old_builder_is_compared() -> None:
    words = {line.split()[0] for case in SAME for line in case.dockerfile.upper().splitlines() if line.strip()}
    known = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER"
    assert {*known.split(), "VOLUME", "WORKDIR"} <= words
    assert len(SAME) >= 60


@pytest.mark.parametrize("case", SAME, ids=str)
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_it_is_what_docker_makes(shop: Workshop, theirs: DockerBuild, case: Case) -> None:
    ours, config, tree, docker = _both(shop, theirs, case)
    assert (bool(ours.error), bool(docker.error)) == (bool(docker.error),) * 2, (ours.error, docker.error, ours.output)
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
