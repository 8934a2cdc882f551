"""Which stages a build needs, what a cache remembers, what a state says, how stages run side by side."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_containers.build import inline, state
from jupyter_containers.build.cache import BuildCache, Entry, Result, key_of
from jupyter_containers.build.dockerfile import parse
from jupyter_containers.build.events import Cancelled
from jupyter_containers.build.plan import plan
from jupyter_containers.build.stages import Once, Stages
from jupyter_containers.build.state import Layer, State
from jupyter_containers.errors import ContainersError, InvalidArgument
from jupyter_containers.image import media
from jupyter_containers.image.platforms import Platform

FILE = """ARG BASE=base
FROM $BASE AS one
RUN true
FROM scratch AS unneeded
RUN false
FROM one AS two
COPY --from=alpine:3 /x /
FROM scratch
COPY --from=two / /
RUN --mount=from=one,target=/m true
FROM 0
"""
EMPTY = State(Platform("linux", "amd64"), state.EARLIEST)


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def layer(letter: str) -> Layer:
    return Layer(media.Descriptor(f"{media.OCI_LAYER}+gzip", digest(letter), 10), digest(letter))


# --- the plan ---


@pytest.mark.parametrize(
    ("target", "needed"), [("3", {0, 2, 3}), ("two", {0, 2}), ("TWO", {0, 2}), ("unneeded", {1}), ("0", {0}), ("", {4})]
)
def test_only_needed_stages_are_planned(target: str, needed: set[int]) -> None:
    assert set(plan(parse(FILE), {"BASE": "base"}, target).stages) == needed


def test_a_number_after_from_is_an_image() -> None:
    """``FROM 0`` never means a stage, ``--from=0`` does: as docker has it."""
    assert plan(parse(FILE), {"BASE": "base"}).stages[4].below is None


def test_a_stage_cannot_need_a_later_one() -> None:
    found = plan(parse("FROM b AS a\nCOPY --from=b / /\nFROM scratch AS b\n"), {}, "a")
    assert found.stages[0].needs == frozenset()


def test_a_target_that_is_misspelt_is_suggested() -> None:
    with pytest.raises(InvalidArgument, match="target stage 'tow' could not be found. Did you mean .*two"):
        plan(parse(FILE), {"BASE": "base"}, "tow")


# --- states ---


def test_a_state_is_told_by_its_layers_alone() -> None:
    one = EMPTY.then("RUN a", layer("a")).then("LABEL x=y", config={"Labels": {"x": "y"}})
    other = EMPTY.then("COPY b /", layer("a"))
    assert one.chain_id == other.chain_id != EMPTY.chain_id
    assert [entry.get("empty_layer", False) for entry in one.history] == [False, True]


def test_equal_states_have_equal_configurations() -> None:
    one, other = (EMPTY.then("RUN a", layer("a")).image_config() for _ in range(2))
    assert one == other
    assert json.loads(one)["created"] == "1980-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("created", "seconds"),
    [("2020-01-01T00:00:00Z", 1577836800), ("2020-01-01T00:00:00.123456789Z", 1577836800), ("", state.EARLIEST),
     ("0001-01-01T00:00:00Z", state.EARLIEST), ("nonsense", state.EARLIEST)],
)  # fmt: skip
def test_the_epoch_is_the_bases_time(created: str, seconds: int) -> None:
    assert state.seconds(created) == seconds


# --- the cache ---


@pytest.fixture
def cache(tmp_path: Path) -> BuildCache:
    return BuildCache(tmp_path / "build-cache")


def test_a_key_hangs_on_every_part() -> None:
    assert key_of("a", {"x": 1, "y": 2}) == key_of("a", {"y": 2, "x": 1})
    assert len({key_of(*parts) for parts in (["a", "b"], ["ab"], ["a", "b", ""], [["a", "b"]])}) == 4


@pytest.mark.parametrize("made", [layer("a"), None])
def test_a_result_comes_back(cache: BuildCache, made: Layer | None) -> None:
    result = Result(made, digest("c"), 7, "RUN true")
    cache.put(key_of("k"), result)
    assert BuildCache(cache.root).get(key_of("k")) == result
    assert cache.get(key_of("other")) is None
    assert list(cache.blobs()) == ([digest("a")] if made else [])
    assert list(cache.chain_ids()) == [digest("c")]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"about": 1, "chain_id": "", "size": "x", "layer": null}'])
def test_a_damaged_result_is_none(cache: BuildCache, text: str) -> None:
    cache.put(key_of("k"), Result(None, "", 0, ""))
    next(cache.root.glob("*.json")).write_text(text)
    assert cache.get(key_of("k")) is None
    assert cache.entries() == []


def test_what_was_used_last_is_kept_longest(cache: BuildCache) -> None:
    for number in range(4):
        cache.put(key_of(number), Result(None, "", 100, f"{number}"))
        os.utime(cache.root / f"{key_of(number)[7:]}.json", (number, number))
    cache.get(key_of(0))
    gone = cache.prune(lambda _: True, keep=200)
    assert [entry.result.about for entry in gone] == ["1", "2"]
    assert [entry.result.about for entry in cache.entries()] == ["0", "3"]
    assert [entry.result.about for entry in cache.prune(lambda entry: _is_old(entry))] == ["3"]


def _is_old(entry: Entry) -> bool:
    return entry.used < 1000


def test_one_at_a_time_makes_a_result(cache: BuildCache) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with cache.making(key_of("k")):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(cache.root.iterdir()) == []


# --- a cache in an image ---


def test_only_layers_of_the_image_are_written_into_it() -> None:
    final = EMPTY.then("RUN a", layer("a")).then("RUN b", layer("b"))
    results = {
        key_of(name): Result(made, "", 0, "") for name, made in (("a", layer("a")), ("x", layer("c")), ("n", None))
    }
    written = json.loads(inline.written(results, final)[inline.ANNOTATION])
    assert written == {key_of("a"): digest("a"), key_of("n"): ""}


# --- side by side ---


def test_every_stage_is_carried_out_once_and_waits_for_those_it_needs() -> None:
    begun: list[int] = []

    def carry_out(index: int) -> State:
        begun.append(index)
        return replace(stages.state(index - 1), about=str(index)) if index else EMPTY

    with Stages(3, carry_out, lambda: None) as stages:
        for index in range(3):
            stages.begin(index)
        assert stages.state(2).about == "2"
    assert sorted(begun) == [0, 1, 2]


def test_the_first_failure_is_everybodys() -> None:
    stopped = threading.Event()

    def carry_out(index: int) -> State:
        if index == 0:
            raise ContainersError("the real one")
        assert stopped.wait(5)
        raise Cancelled("canceled")

    with pytest.raises(ContainersError, match="the real one"), Stages(2, carry_out, stopped.set) as stages:
        stages.begin(0)
        stages.state(1)


def test_a_value_is_made_once_for_many_who_ask() -> None:
    made: list[str] = []
    once: Once[str, int] = Once()

    def make() -> int:
        made.append("x")
        time.sleep(0.02)
        return 7

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(once.get("k", make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, made) == ([7] * 5, ["x"])
