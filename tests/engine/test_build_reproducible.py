"""Same input, same digest: twice, in two folders, whoever builds; docker's builds do not promise that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.rig_builds import Built, Workshop
from tests.rigs import users
from tests.rigs.users import User

CONTEXT = """
mkdir -p src/deep/er src/empty
for n in 9 5 1 7 3; do echo content $n >src/file$n; done
echo run >src/deep/er/tool; chmod 755 src/deep/er/tool
ln -s ../file1 src/deep/link; ln src/file9 src/deep/hard; echo 'ü' >"src/ünï code"; : >src/.hidden
"""
DOCKERFILE = """
ARG GREETING=hi
FROM busybox:test AS one
WORKDIR /work
COPY src/ ./
RUN mkdir out && for n in $(seq 40); do echo $n > out/$n; done && ln out/1 out/one && ln -s one out/link && mkfifo out/p
RUN date > /now && rm /now file5 && tar -c deep | gzip > deep.tar.gz && rm -r deep && env > /dev/null
FROM busybox:test AS two
ARG GREETING
RUN echo $GREETING > /greeting; echo $RANDOM > /tmp/random; rm /tmp/random; stat -c %Y /etc/passwd > /times
FROM busybox:test
LABEL made=twice
COPY --from=one --chown=7:8 /work/out /out
COPY --from=two /greeting /times /
COPY src /all
COPY --chmod=600 src/file1 src/file3 /secret/
RUN --mount=type=bind,source=src,target=/src --mount=type=tmpfs,target=/t cp -r /src/deep /copied; touch /t/x; chmod 700 /out
CMD ["cat", "/greeting"]
"""

# How the very same folder comes about in another way.
OTHER_ORDER = """
: >src.new; mkdir -p new/empty new/deep/er; : >new/.hidden; echo 'ü' >"new/ünï code"
echo run >new/deep/er/tool; chmod 755 new/deep/er/tool
for n in 1 3 5 7 9; do echo content $n >new/file$n; done; ln new/file9 new/deep/hard; ln -s ../file1 new/deep/link
rm -r src src.new; mv new src
"""
SAME = {
    "only times differ": "find . -exec touch -h -d '2001-02-03 04:05:06' {} +",
    "some times are in the future": "touch -d '2050-01-01' src/file1 src/deep src",
    "names were made in another order": OTHER_ORDER,
    "a file has another inode": "cp -p src/file1 x; mv x src/file1",
    "what nobody copies changes": "mkdir other; echo x >other/file",
    "it was read in between": "cat src/* >/dev/null 2>&1 || true; find . >/dev/null",
}
CHANGED = {
    "a mode": "chmod 640 src/file1",
    "the mode of a folder": "chmod 700 src/deep",
    "content of the same size": "echo content 2 >src/file1",
    "a name": "mv src/file1 src/file2; ln -s file2 src/file1",
    "a link's target": "ln -sfn ../file3 src/deep/link",
    "a hard link is a copy": "cp -p src/deep/hard x; mv x src/deep/hard",
    "an empty folder less": "rmdir src/empty",
}


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "again")


@pytest.fixture(scope="module")
def first(shop: Workshop) -> Built:
    return shop.must_build(shop.context("first", CONTEXT, DOCKERFILE))


def _again(shop: Workshop, change: str, name: str = "first") -> Built:
    """The same with a change, whatever the cache says."""
    return shop.must_build(shop.context(name, CONTEXT + change, DOCKERFILE), no_cache=True)


def test_the_same_digest_twice_the_second_time_without_the_cache(shop: Workshop, first: Built) -> None:
    cached, again = shop.must_build(shop.context("first", CONTEXT, DOCKERFILE)), _again(shop, "")
    assert not cached.made and again.made == first.made and len(again.made) > 5
    assert (cached.id, cached.digest) == (again.id, again.digest) == (first.id, first.digest)


def test_the_same_digest_in_another_folder_and_another_store(shop: Workshop, first: Built) -> None:
    assert _again(shop, "", "elsewhere/with a space").digest == first.digest
    other = Workshop(shop.user, "again-elsewhere")
    assert other.must_build(other.context("first", CONTEXT, DOCKERFILE)).digest == first.digest


@pytest.mark.parametrize("as_user", ["subids", "nosubids"], indirect=True)
def test_the_same_digest_as_root_and_as_ordinary_users(shop: Workshop, first: Built, rig_folder: Path) -> None:
    roots = Workshop(users.make("root", rig_folder / "root"), "again")
    assert roots.must_build(roots.context("first", CONTEXT, DOCKERFILE)).digest == first.digest


@pytest.mark.parametrize("change", SAME)
def test_the_same_digest_where(shop: Workshop, first: Built, change: str) -> None:
    assert _again(shop, SAME[change]).digest == first.digest


@pytest.mark.parametrize("change", CHANGED)
def test_another_digest_where_what_changes_is(shop: Workshop, first: Built, change: str) -> None:
    context = shop.context("first", CONTEXT + CHANGED[change], DOCKERFILE)
    assert shop.must_build(context).digest != first.digest


def test_the_epoch_is_the_time_of_all_that_is_new(shop: Workshop, first: Built) -> None:
    """https://reproducible-builds.org/specs/source-date-epoch/"""
    context = shop.context("first", CONTEXT, DOCKERFILE)
    then = shop.must_build(context, args={"SOURCE_DATE_EPOCH": "1234567890"})
    assert then.digest != first.digest
    assert shop.run(then.id, "stat", "-c", "%Y", "/greeting", "/out/1", "/secret") == "1234567890\n" * 3
    again = shop.must_build(context, args={"SOURCE_DATE_EPOCH": "1234567890"}, no_cache=True)
    assert again.digest == then.digest
