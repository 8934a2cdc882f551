"""The world of a hostile layer, on each rung that can be had here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from layers_kit import World, drop, make_world


@pytest.fixture(params=["root", "rootless", "rootless-single"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    found = make_world(request.param)
    try:
        yield found
        found.check()
    finally:
        drop(found)
