"""Fixtures of the isolation tests: an engine on each rung, and what a container with Docker's defaults sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.rig_isolation import Box
from tests.rigs.abilities import must
from tests.rigs.users import User


@pytest.fixture(scope="session")
def box(as_user: User) -> Iterator[Box]:
    """An engine in a process of each kind of user: a question costs no start of Python."""
    with Box(as_user) as made:
        yield made


@pytest.fixture(scope="session")
def networked(box: Box) -> Box:
    """A box whose containers have a way to the outside."""
    report = box.info()["network"]
    must(report["outside"], f"no default network on {box.rung}: {report['why']}. {report['mend']}")
    return box


@pytest.fixture(scope="session", params=["python", "ready", "host"])
def facts(request: pytest.FixtureRequest, box: Box) -> dict[str, Any]:
    """What the probe found once in an image with Python, and in the ``host`` image, in which cells run by default.

    In the first one twice: in a container made when it was asked for, and in one made ready beforehand.
    """
    return box.facts(request.param)
