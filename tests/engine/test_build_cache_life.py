"""The cache's life: builds at once, builds that are killed, what is removed meanwhile, damage, prune."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_builds import Workshop, engine, forget, forget_image, sleeping, until
from tests.rigs.users import User

STEPS = 8
CONTEXT = "for name in a b c; do echo $name >$name; done"
DOCKERFILE = """FROM busybox:test AS one
COPY a /a
RUN wc -c < /a > /size
COPY b /b
FROM busybox:test AS two
COPY c /c
RUN cat /c > /all
FROM busybox:test
COPY --from=one /size /
COPY --from=two /all /
RUN cat /size /all > /both
"""

pytestmark = pytest.mark.parametrize("as_user", ["root", "nosubids"], indirect=True)


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "cached")


@pytest.fixture
def context(shop: Workshop) -> Path:
    """A context that was built."""
    folder = shop.context("cached", CONTEXT, DOCKERFILE)
    shop.must_build(folder)
    return folder


@pytest.mark.parametrize("damage", ["garbage", "empty", "null", "a blob is missing", "another blob"])
def test_a_damaged_cache_is_made_again(shop: Workshop, damage: str) -> None:
    folder = shop.context(
        "damaged", "", "FROM busybox:test\nRUN echo $RANDOM > /dev/null; echo x > /x\nRUN cat /x > /y\n"
    )
    first = shop.must_build(folder, no_cache=True)
    shop.user.call(forget, first.id)
    shop.must_build(folder)
    shop.user.call(spoil, damage)
    assert shop.must_build(folder).id == first.id


def test_two_processes_that_build_the_same_at_once_do_the_work_once(shop: Workshop) -> None:
    text = "FROM busybox:test\nRUN echo carried out; sleep 1; echo x > /x\nRUN echo and again; cat /x > /y\n"
    folder = shop.context("twice", "", text)
    processes = [shop.begin(folder, tags=[f"twice:{number}"]) for number in range(3)]
    done = [shop.finish(process) for process in processes]
    assert {one.id for one in done} == {done[0].id} != {""}
    assert sorted("".join(one.output for one in done).splitlines()) == ["and again", "carried out"]  # by either of them
    assert sum(len(one.made) for one in done) == 2


def test_a_build_that_is_killed_leaves_nothing_and_the_next_one_goes_on(as_user: User, leak_watch: None) -> None:
    """SIGKILL of the builder in the middle of a RUN: its container ends, what it had done stays done."""
    shop = Workshop(as_user, "")
    text = "FROM busybox:test\nRUN echo x > /x\nRUN [ -z $WAIT ] || sleep 7654; cat /x > /y\n"
    folder = shop.context("killed", "", text)
    waits = text.replace("RUN [", "ARG WAIT\nRUN [")
    try:
        process = shop.begin(folder, text=waits, args={"WAIT": "1"})
        until(lambda: sleeping("7654"), 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until(lambda: not sleeping("7654"), 5)
        done = shop.must_build(folder, text=waits)
        assert (done.cached, done.made) == (["0.1"], ["0.3"])
    finally:
        as_user.call(tidy)


def test_a_build_that_is_interrupted_ends_its_containers(as_user: User, leak_watch: None) -> None:
    """The stop button (SIGINT) in the middle of two RUNs side by side."""
    shop = Workshop(as_user, "")
    text = "FROM busybox:test AS one\nRUN sleep 7655\nFROM busybox:test\nRUN sleep 7655; true\nCOPY --from=one /etc /etc2\n"
    process = shop.begin(shop.context("stopped", "", text))
    try:
        until(lambda: len(sleeping("7655")) == 2, 20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert "KeyboardInterrupt" in err
        assert not sleeping("7655")
    finally:
        process.kill()
        as_user.call(tidy)


def test_images_and_results_removed_meanwhile_do_not_harm_a_build(shop: Workshop, context: Path) -> None:
    text = (
        "FROM gone:1\nCOPY a /a\nRUN sleep 1.5432\n"
        + "".join(f"RUN sleep 0.2; echo {n} > /f{n}\n" for n in range(6))
        + "RUN cat /f* > /all\n"
    )
    shop.user.call(tag, "busybox:test", "gone:1")
    process = shop.begin(context, text=text, tags=["kept:1"], no_cache=True)
    until(lambda: sleeping("1.5432"), 20)
    removed = 0
    while process.poll() is None:
        removed += shop.user.call(remove_everything)
    done = shop.finish(process)
    assert done.id, done.error
    assert removed > 1
    assert shop.run("kept:1", "cat", "/all") == "0\n1\n2\n3\n4\n5\n"


def test_prune_forgets_results_and_gives_the_room_back(shop: Workshop, context: Path) -> None:
    done = shop.must_build(context, tags=["pruned:1"])
    shop.user.call(forget_image, "pruned:1")
    before = shop.user.call(room)
    pruned = shop.user.call(prune, {})
    after = shop.user.call(room)
    assert len(pruned["CachesDeleted"]) >= STEPS
    assert after["blobs"] < before["blobs"] and after["layers"] < before["layers"] and after["results"] == 0
    assert pruned["SpaceReclaimed"] > 0
    assert len(shop.must_build(context).made) == STEPS
    assert shop.must_build(context).id == done.id


def test_prune_leaves_what_an_image_or_a_bound_keeps(shop: Workshop, context: Path) -> None:
    shop.user.call(forget, "")
    made = shop.must_build(context, tags=["stays:1"])
    shop.user.call(prune, {"all_unused": False})
    assert shop.run("stays:1", "cat", "/size") == "2\n"
    assert {"2.1", "2.2", "2.3"} <= {*shop.must_build(context).cached}
    assert shop.user.call(prune, {"older": 3600})["CachesDeleted"] == []
    assert shop.user.call(prune, {"keep": 1 << 40})["CachesDeleted"] == []
    shop.user.call(prune, {})
    assert shop.run(made.id, "cat", "/size") == "2\n"


# --- what is called as the user ---


def tag(name: str, new: str) -> None:
    engine().images.tag(name, new)


def prune(options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = engine().builds.prune(**options)
    return found


def tidy() -> None:
    """Sweep what a killed build left, and forget what it did."""
    ours = engine()
    ours.containers.list(all=True)
    for image in ours.images.list():
        if not image.tags:
            ours.images.remove(image.id, force=True)
    ours.builds.prune()


def remove_everything() -> int:
    """All that anybody can remove while a build runs; but the base that other tests need."""
    from jupyter_containers.errors import ContainersError

    ours = engine()
    try:
        ours.images.remove("gone:1", force=True)
    except ContainersError:
        pass
    ours.images.prune()
    ours.builds.prune()
    ours.containers.list(all=True)
    return 1


def spoil(damage: str) -> None:
    """Damage the results in the cache."""
    ours = engine()
    for path in ours.builds.cache.root.glob("*.json"):
        data = json.loads(path.read_text())
        blob = ours.settings.home / "images/blobs/sha256" / data["layer"]["digest"][7:] if data["layer"] else None
        if damage == "garbage":
            path.write_bytes(b"{\xff")
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "null":
            path.write_text("null")
        elif damage == "a blob is missing" and blob:
            blob.unlink(missing_ok=True)
        elif damage == "another blob" and blob and blob.exists():
            blob.chmod(0o600)
            os.truncate(blob, 10)


def room() -> dict[str, int]:
    """How many blobs, unpacked layers and results there are."""
    home, owners = engine().settings.home, engine().images.store.unpacked.owners
    places = {"blobs": "images/blobs/sha256/*", "layers": f"layers/{owners}/*", "results": "build-cache/*.json"}
    return {name: len(list(home.glob(place))) for name, place in places.items()}
