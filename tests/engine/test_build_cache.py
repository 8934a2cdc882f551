"""The cache of builds: a step is done again when something that it reads has changed, and only then.

Each build runs in a process of its own, so all that is cached here has survived one. A step is named by its stage and
its place in it: ``1.2`` is the second instruction after the second ``FROM``. Not here: builds at once, removal, damage
(``test_build_cache_life``).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_builds import Workshop, engine, forget, load
from tests.rigs.users import User

CONTEXT = "mkdir d; for name in a b c d/x d/y unread; do echo 1 >$name; done"
DOCKERFILE = """FROM busybox:test AS one
COPY a /a
RUN wc -c < /a > /size
COPY b /b
FROM busybox:test AS two
COPY c /c
RUN --mount=type=bind,source=d,target=/d cat /d/* > /all
FROM busybox:test
COPY --from=one /size /
COPY --from=two /all /
RUN cat /size /all > /both
ARG LAST=1
LABEL made=$LAST
"""

# What of the context changes, and the steps that are done again: those that read it, and those that read what
# these made, as far as that has changed.
CONTEXT_CHANGES = {
    "echo 2 >unread; mkdir new": [],
    "touch -d '2030-01-01' a b c d d/x; touch -h .": [],
    "cp -p a n; mv n a": [],
    "echo 2 >a": ["0.1", "0.2", "0.3", "2.1"],  # as long as before, so /size is the same
    "echo longer >a": ["0.1", "0.2", "0.3", "2.1", "2.2", "2.3"],
    "chmod 600 a": ["0.1", "0.2", "0.3", "2.1"],
    "echo 2 >b": ["0.3", "2.1"],
    "echo 2 >c": ["1.1", "1.2", "2.2"],
    "echo 2 >d/x": ["1.2", "2.2", "2.3"],
    "mv d/y d/z": ["1.2"],
    "echo unread >.dockerignore": [],
    "ln -sf c b": [],  # a source is what its link leads to
}
# Text that is replaced, by what, and the steps that are done again.
TEXT_CHANGES = {
    "a label": ("made=$LAST", "made=2", []),
    "a comment": ("FROM busybox:test\n", "# now\nFROM busybox:test\n", []),
    "how it is written": ("COPY a /a", "copy  a  \\\n  /a", []),
    "a stage's name": ("two", "second", []),
    "the command": ("LABEL", 'CMD ["x"]\nLABEL', []),
    "a variable after all steps": ("ARG LAST=1", "ARG LAST=1\nENV A=1", []),
    "a variable before a step": ("RUN cat", "ENV A=1\nRUN cat", ["2.4"]),
    "an argument before a step": ("RUN cat", "ARG A=1\nRUN cat", ["2.4"]),
    "an argument with its default": ("LAST=1", "LAST=7", []),
    "a command line": ("RUN cat /size /all", "RUN cat  /all /size", ["2.3"]),
    "a user": ("RUN cat", "USER 0\nRUN cat", ["2.4"]),
    "the place of a copy": ("COPY b /b", "COPY b /bb", ["0.3", "2.1"]),
}

# Keys know no user: what is different on the rung with one id alone is test_build_reproducible's.
pytestmark = pytest.mark.parametrize("as_user", ["root"], indirect=True)


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "cached")


@pytest.fixture
def context(shop: Workshop) -> Path:
    """A context that was built."""
    folder = shop.context("cached", CONTEXT, DOCKERFILE)
    shop.must_build(folder)
    return folder


@pytest.mark.parametrize("change", CONTEXT_CHANGES)
def test_a_changed_file_invalidates_the_steps_that_read_it(shop: Workshop, context: Path, change: str) -> None:
    shop.user.call(forget, "")
    assert shop.must_build(context).cached == []
    shop.change(context, change)
    done = shop.must_build(context)
    assert done.made == CONTEXT_CHANGES[change]
    assert shop.must_build(context).made == []


@pytest.mark.parametrize("change", TEXT_CHANGES)
def test_a_changed_instruction_invalidates_no_more_than_it_changes(shop: Workshop, context: Path, change: str) -> None:
    before, after, steps = TEXT_CHANGES[change]
    shop.user.call(forget, "")
    shop.must_build(context)
    assert before in DOCKERFILE
    done = shop.must_build(context, text=DOCKERFILE.replace(before, after))
    assert done.made == steps


def test_a_build_argument_invalidates_the_steps_that_have_it_in_scope(shop: Workshop) -> None:
    folder = shop.context("args", "", "FROM busybox:test\nRUN echo $A > /a\nARG A\nRUN echo $A > /b\nARG B\nRUN true\n")
    shop.must_build(folder, args={"A": "1"})
    assert shop.must_build(folder, args={"A": "2"}).made == ["0.3", "0.5"]
    assert shop.must_build(folder, args={"A": "2", "HTTP_PROXY": "http://proxy.invalid"}).made == []
    assert shop.must_build(folder, args={"A": "1"}).made == []


def test_changed_content_of_a_bind_mount_invalidates(shop: Workshop) -> None:
    """ISOLATION 94; https://github.com/containers/podman/issues/22450"""
    text = "FROM busybox:test\nRUN --mount=type=bind,target=/src cat /src/d/f > /f\n"
    folder = shop.context("bound", "mkdir d; echo one >d/f", text)
    assert shop.run(shop.must_build(folder).id, "cat", "/f") == "one\n"
    shop.change(folder, "echo two >d/f")
    assert shop.run(shop.must_build(folder).id, "cat", "/f") == "two\n"


@pytest.mark.parametrize(
    "reading", ["COPY --from=one /f /f", "RUN --mount=type=bind,from=one,target=/m cp /m/f /f",
                "RUN --mount=type=bind,from=one,source=/f,target=/m cp /m /f"],
)  # fmt: skip
def test_a_changed_stage_that_is_read_from_invalidates(shop: Workshop, reading: str) -> None:
    """ISOLATION 94; https://github.com/containers/buildah/issues/4522"""
    text = f"FROM busybox:test AS one\nARG WHAT\nRUN echo $WHAT > /f\nFROM busybox:test\n{reading}\n"
    folder = shop.context("stage", "", text)
    for what in ("one", "two", "one"):
        done = shop.must_build(folder, args={"WHAT": what})
        assert shop.run(done.id, "cat", "/f") == f"{what}\n"
    assert done.made == []


def test_a_changed_image_that_is_begun_with_or_read_from_invalidates(shop: Workshop) -> None:
    base = shop.context("base", "echo 1 >f", "FROM busybox:test\nCOPY f /f\n")
    child = shop.context("child", "", "FROM base:1\nRUN cat /f > /g\nFROM busybox:test\nCOPY --from=base:1 /f /h\n")
    for what in ("1", "2"):
        shop.change(base, f"echo {what} >f")
        shop.must_build(base, tags=["base:1"])
        assert shop.run(shop.must_build(child, target="").id, "cat", "/h") == f"{what}\n"


def test_a_base_built_again_to_the_same_files_invalidates_nothing(shop: Workshop) -> None:
    """Files count, not how they came about: another label in the base, other times, no cache."""
    base = shop.context("base2", "echo 1 >f", "FROM busybox:test\nARG L\nLABEL l=$L\nCOPY f /f\n")
    child = shop.context("child2", "", "FROM base2:1\nRUN cat /f > /g\n")
    shop.must_build(base, tags=["base2:1"])
    assert shop.must_build(child).made == ["0.1"]
    shop.must_build(base, tags=["base2:1"], args={"L": "other"}, no_cache=True)
    assert shop.must_build(child).made == []


def test_without_the_cache_each_step_is_done_and_its_result_is_kept(shop: Workshop, context: Path) -> None:
    again = shop.must_build(context, no_cache=True)
    assert (len(again.made), again.cached) == (8, [])
    assert shop.must_build(context).made == []


def test_a_step_that_failed_is_done_again(shop: Workshop) -> None:
    folder = shop.context("fails", "", "FROM busybox:test\nRUN echo one > /one\nRUN echo here; cat /one; exit 3\n")
    first, second = shop.build(folder), shop.build(folder)
    assert (first.kind, second.kind) == ("StepFailed", "StepFailed")
    assert second.steps == {"0.1": "cached", "0.2": "failed"}
    assert "here\none\n" in second.output
    assert shop.run(second.image, "cat", "/one") == "one\n"


# --- what is in an image is no reason to skip a step ---


@pytest.mark.parametrize("options", [{}, {"cache_from": ["forged:1"]}], ids=["as-it-lies-there", "named-as-a-cache"])
def test_an_image_with_a_forged_history_is_never_a_hit(shop: Workshop, options: dict[str, Any]) -> None:
    """ISOLATION 94, CVE-2024-24557: an image claims to be what a step gives upon the base, with other files."""
    folder = shop.context("forged", "", "FROM busybox:test\nRUN echo good > /proof\n")
    good = shop.must_build(folder)
    shop.user.call(forget, good.id)
    path = shop.user.tmp / "forged.tar"
    path.write_bytes(_forged(shop.saved("busybox:test")))
    path.chmod(0o644)
    shop.user.call(load, path)
    done = shop.must_build(folder, **options)
    assert (done.id, done.made) == (good.id, ["0.1"])
    assert shop.run(done.id, "cat", "/proof") == "good\n"
    assert shop.run("forged:1", "cat", "/proof") == "evil\n"


def _forged(archive: bytes) -> bytes:
    """``forged:1``: the base with a layer of the forger's, and a history as our builds write it, and as docker's."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "proof", b"evil\n")
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as base, tarfile.open(fileobj=out, mode="w") as tar:
        [found] = json.loads(base.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = json.loads(base.extractfile(found["Config"]).read())  # type: ignore[union-attr]
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(layer.getvalue()).hexdigest())
        command = ["/bin/sh", "-c", "echo good > /proof"]
        config["history"] = [{"created_by": "base"}, {
            "created": config["created"], "created_by": f"RUN {' '.join(command)}", "comment": "nb-containers",
        }]  # fmt: skip
        config |= {"container_config": {"Cmd": command}, "parent": "sha256:" + Path(found["Config"]).name}
        for name in found["Layers"]:
            _add(tar, name, base.extractfile(name).read())  # type: ignore[union-attr]
        _add(tar, "forged/layer.tar", layer.getvalue())
        _add(tar, "config.json", json.dumps(config).encode())
        layers = [*found["Layers"], "forged/layer.tar"]
        manifest = [{"Config": "config.json", "RepoTags": ["forged:1"], "Layers": layers}]
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def test_an_inline_cache_is_used_where_its_image_is_named(shop: Workshop, context: Path) -> None:
    text = "FROM busybox:test\nCOPY a /a\nRUN cat /a > /b; echo carried out\n"
    made = shop.must_build(context, text=text, tags=["inline:1"], inline_cache=True)
    other = Workshop(shop.user, f"inline-{shop.user.kind}")
    path = shop.user.tmp / "inline.tar"
    try:
        shop.user.call(save_oci, "inline:1", path)
        other.user.call(load, path)
    finally:
        path.unlink(missing_ok=True)
    done = other.must_build(context, text=text, cache_from=["inline:1"])
    assert (done.id, done.made, done.output) == (made.id, [], "")
    other.user.call(forget, "")
    assert other.must_build(context, text=text).made == ["0.1", "0.2"]


# --- what is called as the user ---


def save_oci(image: str, path: str) -> None:
    Path(path).write_bytes(b"".join(engine().images.save([image], "oci-archive")))
