"""docker-py's keywords of ``images.build``: each as what the flag of the same meaning makes, the rest refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.engine import buildkeywords
from jupyter_containers.engine.builds import BuildOptions
from jupyter_containers.errors import InvalidArgument, StepFailed
from jupyter_containers.options import RunOptions

HERE = Path("/context")


def options(**keywords: Any) -> BuildOptions:
    with buildkeywords.options(keywords) as found:
        return found


@pytest.mark.parametrize(
    ("keywords", "wanted"),
    [
        ({"tag": "a:1"}, {"tags": ["a:1"]}),
        ({"buildargs": {"A": 1, "B": None}}, {"args": {"A": "1", "B": "of the environment"}}),
        ({"labels": {"a": "b"}}, {"labels": {"a": "b"}}),
        ({"nocache": True, "pull": True, "target": "t"}, {"no_cache": True, "pull": True, "target": "t"}),
        ({"nocache": False, "pull": False, "squash": False, "isolation": None}, {}),
        ({"cache_from": ["a", "b"]}, {"cache_from": ["a", "b"]}),
        ({"platform": "linux/arm64"}, {"platform": "linux/arm64"}),
        ({"network_mode": "none", "shmsize": 1 << 20}, {"run": RunOptions("", network="none", shm_size=1 << 20)}),
        (
            {"container_limits": {"memory": "64m", "memswap": -1, "cpushares": 2, "cpusetcpus": "0"}},
            {"run": RunOptions("", memory=64 << 20, memory_swap=-1, cpu_shares=2, cpuset_cpus="0")},
        ),
        ({"dockerfile": "sub/Dockerfile"}, {"dockerfile": "/context/sub/Dockerfile"}),
        ({"dockerfile": "/else/Dockerfile"}, {"dockerfile": "/else/Dockerfile"}),
        ({"quiet": True, "rm": True, "forcerm": True, "timeout": 3, "decode": True, "gzip": True}, {}),
    ],
    ids=lambda value: "+".join(value),
)
def test_keywords_are_docker_pys(
    keywords: dict[str, Any], wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("B", "of the environment")
    assert options(path=str(HERE), **keywords) == BuildOptions(**{"context": HERE, **wanted})


def test_a_file_object_is_a_dockerfile_or_with_custom_context_a_tar() -> None:
    assert options(fileobj=io.BytesIO(b"FROM x")) == BuildOptions(text="FROM x")
    assert options(fileobj=io.StringIO("FROM x")) == BuildOptions(text="FROM x")
    tar = io.BytesIO()
    found = options(fileobj=tar, custom_context=True, encoding="gzip", dockerfile="d")
    assert found == BuildOptions(archive=tar, dockerfile="d")


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"path": ".", "tags": "a"}, "unexpected keyword argument 'tags'. Did you mean tag?"),
        ({"path": ".", "build_args": {}}, "Did you mean buildargs?"),
        ({}, "Either path or fileobj needs to be provided."),
        ({"custom_context": True}, "You must specify fileobj with custom_context"),
        ({"fileobj": io.BytesIO(), "custom_context": True, "encoding": "gzpi"}, "Did you mean gzip?"),
        ({"path": "https://example.org/x.git"}, "from the network is not in this version"),
        ({"path": ".", "container_limits": {"memroy": 1}}, "Did you mean memory?"),
        ({"path": ".", "squash": True}, "it threw away the layers"),
        ({"path": ".", "extra_hosts": {"a": "b"}}, "names of hosts come with bridge networks"),
        ({"path": ".", "network_mode": "container:x"}, "container:NAME"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_word(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        buildkeywords.build(FakeBuilds(), keywords)  # type: ignore[arg-type]
    assert says in str(caught.value)


class FakeBuilds:
    """A build that prints a line, and fails where its target is ``fail``."""

    def build(self, options: BuildOptions, on_event: Any) -> Any:
        on_event(
            {"type": "stage", "stage": 0, "name": "stage-0", "base": "x", "steps": [{"id": "0.1", "text": "RUN x"}]}
        )
        on_event({"type": "step", "id": "0.1", "status": "running"})
        on_event({"type": "output", "id": "0.1", "stream": "stdout", "text": "hi\n"})
        if options.target == "fail":
            raise StepFailed("exit code: 3")
        on_event({"type": "image", "id": "sha256:1", "names": [], "seconds": 1.0})
        return type("Image", (), {"id": "sha256:1"})


def test_the_log_is_docker_pys_and_events_are_told() -> None:
    events: list[dict[str, Any]] = []
    image, log = buildkeywords.build(FakeBuilds(), {"path": ".", "on_event": events.append})  # type: ignore[arg-type]
    assert image.id == "sha256:1"
    assert log[0] == {"stream": "#1 [2/2] RUN x\n"}
    assert log[-1] == {"aux": {"ID": "sha256:1"}}
    assert len(events) == 4


def test_a_failure_has_the_log_with_it() -> None:
    with pytest.raises(StepFailed) as caught:
        buildkeywords.build(FakeBuilds(), {"path": ".", "target": "fail"})  # type: ignore[arg-type]
    said = "".join(str(line["stream"]) for line in caught.value.build_log)
    assert " hi\n" in said
    assert said.endswith("#1 CANCELED\n")


def test_until_is_a_time_or_a_duration() -> None:
    assert buildkeywords.older({}) == 0
    assert buildkeywords.older({"until": "24h"}) == pytest.approx(86400, abs=5)
    assert buildkeywords.older({"until": ["1h", "2h"]}) == pytest.approx(7200, abs=5)
    with pytest.raises(InvalidArgument, match="invalid filter 'label'"):
        buildkeywords.older({"label": "x"})
