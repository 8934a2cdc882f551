"""``build``, ``builder`` and ``%%dockerfile``: flags, contexts, what goes to which stream, exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_fake import IMAGE_ID, FakeEngine

from jupyter_containers.cli import dispatch, run_dockerfile, run_verb
from jupyter_containers.cli.building import CELL_FLAGS, FLAGS
from jupyter_containers.cli.out import Terminal
from jupyter_containers.engine.builds import BuildOptions
from jupyter_containers.errors import InvalidArgument, StepFailed
from jupyter_containers.options import RunOptions, Ulimit


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, beside it a tar; the current folder has both."""
    folder = tmp_path / "app"
    folder.mkdir()
    (tmp_path / "app.tar").write_bytes(b"a tar")
    monkeypatch.chdir(tmp_path)
    return folder


def run(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *words: str, stdin: bytes = b"") -> int:
    monkeypatch.setattr(dispatch, "_engine", lambda: engine)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return dispatch.run(list(words), "jupyter containers", Terminal())


def asked(engine: FakeEngine) -> BuildOptions:
    """The options of the last build."""
    options: BuildOptions = next(call[1] for call in reversed(engine.calls) if call[0] == "build")
    return options


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("-t a -t b:2", {"tags": ["a", "b:2"]}),
    ("--build-arg A=1 --build-arg=B=x=y", {"args": {"A": "1", "B": "x=y"}}),
    ("--build-arg FROM_ENVIRONMENT", {"args": {"FROM_ENVIRONMENT": "yes"}}),
    ("--build-arg NOT_IN_THE_ENVIRONMENT", {"args": {}}),
    ("--label a=1 --label b", {"labels": {"a": "1", "b": ""}}),
    ("--target t", {"target": "t"}),
    ("--no-cache --pull", {"no_cache": True, "pull": True}),
    ("--cache-from a --cache-from type=registry,ref=b/c:1", {"cache_from": ["a", "b/c:1"]}),
    ("--cache-from host:5000/a=b", {"cache_from": ["host:5000/a=b"]}),
    ("--cache-to type=inline", {"inline_cache": True}),
    ("--platform linux/arm64", {"platform": "linux/arm64"}),
    ("--secret id=a,src=b --ssh default", {"secrets": ["id=a,src=b"], "agents": ["default"]}),
    ("-m 64m --shm-size 1m --network none", {"run": RunOptions("", memory=64 << 20, shm_size=1 << 20, network="none")}),
    ("--ulimit nofile=9", {"run": RunOptions("", ulimits=(Ulimit("nofile", 9, 9),))}),
    ("--rm --force-rm=false --load --compress", {}),
    ("-f app/Dockerfile.dev", {"dockerfile": "app/Dockerfile.dev"}),
    ("-f /x/Dockerfile", {"dockerfile": "/x/Dockerfile"}),
]


@pytest.mark.parametrize(("words", "wanted"), ROWS, ids=[words for words, _ in ROWS])
def test_flags_are_docker_builds(
    words: str, wanted: dict[str, Any], engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_ENVIRONMENT", "yes")
    assert run(engine, monkeypatch, "build", *words.split(), "app") == 0
    assert asked(engine) == BuildOptions(**{"context": context, **wanted})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--squash app", "--squash: it threw away the layers"),
        ("--isolation x app", "--isolation: it chooses between technologies of Windows"),
        ("--add-host a:b app", "--add-host: names of hosts come with bridge networks"),
        ("-o out app", "-o, --output: the image goes into the store"),
        ("--platform linux/amd64,linux/arm64 app", "one platform at a time"),
        ("--platform lunix/x/y/z app", "unknown operating system"),
        ("--cache-to type=local,dest=x app", "Write --cache-to type=inline."),
        ("--cache-from type=local,src=x app", "only images have a cache"),
        ("--network web app", "user networks"),
        ("--targett x app", "Did you mean --target?"),
        ("--progress plane app", "Did you mean plain?"),
        ("https://example.org/a.git", "a build context from the network is not in this version"),
        ("git@example.org:a", "Clone or download it"),
        ("-f - -", "can't be both the build context and the Dockerfile"),
        ("", "'build' requires 1 argument"),
        ("app other", "'build' requires 1 argument"),
        ("-m 1k app", "Minimum memory limit allowed is 6MB"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    words: str, says: str, engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", *words.split()) in (1, 125)
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not engine.calls


def test_the_long_forms_build_too(engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("image build", "builder build", "buildx build"):
        assert run(engine, monkeypatch, *form.split(), "-q", "app") == 0
    assert len(engine.calls) == 3


def test_a_context_may_be_a_tar_from_a_file_or_from_standard_input(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(engine, monkeypatch, "build", "-q", "-f", "sub/Dockerfile", "app.tar") == 0
    assert (engine.calls[-1][2], asked(engine).dockerfile) == (b"a tar", "sub/Dockerfile")
    assert run(engine, monkeypatch, "build", "-q", "-", stdin=b"piped") == 0
    assert engine.calls[-1][2] == b"piped"


def test_a_dockerfile_may_come_from_standard_input(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(engine, monkeypatch, "build", "-q", "-f", "-", "app", stdin=b"FROM x\n") == 0
    assert asked(engine) == BuildOptions(context=context, text="FROM x\n", text_name="-")


def test_a_terminal_is_no_context(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(dispatch, "_engine", lambda: engine)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert dispatch.run(["build", "-"], "x", Terminal()) == 1
    assert "stdin is a terminal" in capsys.readouterr().err


# --- streams and exit codes ---


def test_progress_is_on_standard_error_and_standard_output_is_empty(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", "-t", "a", "app") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("#1 [2/2] RUN make\n#1 0.0")
    assert "#2 naming to a done\n" in err


@pytest.mark.parametrize("flag", ["-q", "--progress=quiet"])
def test_quiet_prints_the_id_alone(
    flag: str, engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", flag, "app") == 0
    assert capsys.readouterr() == (f"{IMAGE_ID}\n", "")


def test_json_is_the_events_on_standard_output(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", "--progress", "json", "--target", "fail", "app") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in events] == ["stage", "step", "output", "step", "error"]
    assert (events[-1]["kind"], events[-1]["line"], events[-1]["exit_code"]) == ("StepFailed", 2, 3)


def test_a_failure_shows_the_lines_and_ends_with_1_as_docker(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", "-q", "--target", "fail", "app") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "------", " > [2/2] RUN make:", "made", "------", "Dockerfile:2", " 2 | >>> RUN make",
        "Error: Dockerfile:2: exit code: 3. Look."]  # fmt: skip


def test_what_the_user_stops_ends_with_130_and_says_so(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "build", "--target", "stop", "app") == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2] == "#1 CANCELED"
    assert lines[-1].startswith("Error: the build was stopped.")


def test_the_iidfile_has_the_id_of_this_build_or_is_not_there(
    engine: FakeEngine, context: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "id"
    assert run(engine, monkeypatch, "build", "--iidfile", "id", "app") == 0
    assert file.read_text() == IMAGE_ID
    assert run(engine, monkeypatch, "build", "--iidfile", "id", "--target", "fail", "app") == 1
    assert not file.exists()


# --- cells ---


def test_a_cell_has_the_flags_of_the_command_but_its_own_dockerfile() -> None:
    assert [flag.name for flag in CELL_FLAGS] == [flag.name for flag in FLAGS]
    assert [flag.name for flag in CELL_FLAGS if flag.refuse and flag not in FLAGS] == ["file"]


def test_a_cell_needs_no_context_and_may_have_one(engine: FakeEngine, context: Path, capsys: Any) -> None:
    image = run_dockerfile(["-q", "-t", "a"], "FROM x\n", engine)  # type: ignore[arg-type]
    assert asked(engine) == BuildOptions(text="FROM x\n", tags=["a"])
    assert image.id == IMAGE_ID
    run_dockerfile(["app", "-q", "--build-arg", "A=1"], "FROM x\n", engine)  # type: ignore[arg-type]
    assert asked(engine) == BuildOptions(context=context, text="FROM x\n", args={"A": "1"})
    assert capsys.readouterr() == ("", "")


def test_a_cell_says_what_it_cannot_do(engine: FakeEngine, context: Path) -> None:
    for words, says in (
        (["-f", "x"], "the cell is the Dockerfile"),
        (["a", "b"], "'%%dockerfile' requires at most 1 argument"),
        (["-"], "a cell has no standard input"),
        (["--tga", "x"], "Did you mean --tag?"),
    ):
        with pytest.raises(InvalidArgument, match=says):
            run_dockerfile(words, "FROM x\n", engine)  # type: ignore[arg-type]
    with pytest.raises(StepFailed):
        run_dockerfile(["-q", "--target", "fail"], "FROM x\n", engine)  # type: ignore[arg-type]


def test_a_cells_help_is_its_own(engine: FakeEngine, capsys: Any) -> None:
    assert run_dockerfile(["--help"], "", engine) is None  # type: ignore[arg-type]
    text = capsys.readouterr().out
    assert text.startswith(
        "Usage:  %%dockerfile [OPTIONS] [CONTEXT]\n\nBuild an image: the cell is the Dockerfile\n\nOptions:\n"
    )
    assert "--build-arg list" in text
    assert "--file" not in text


def test_the_verb_in_a_cell_has_the_image_as_its_value(engine: FakeEngine, context: Path) -> None:
    assert run_verb(["build", "-t", "a", "app"], engine).id == IMAGE_ID  # type: ignore[arg-type]


# --- the cache ---


def test_prune_asks_in_dockers_words(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("builtins.input", lambda question: print(question) or "y")  # type: ignore[func-returns-value]
    assert run(engine, monkeypatch, "builder", "prune") == 0
    assert capsys.readouterr().out.splitlines() == [
        "WARNING! This will remove all dangling build cache.", "Are you sure you want to continue? [y/N] ",
        "Deleted build cache objects:", "sha256:0123", "", "Total reclaimed space: 2MB"]  # fmt: skip
    assert engine.calls == [("prune builds", {}, 0, False)]
    assert run(engine, monkeypatch, "builder", "prune", "-a") == 0
    assert capsys.readouterr().out.startswith("WARNING! This will remove all build cache.\n")


def test_prune_is_told_what_to_keep(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = ["builder", "prune", "-af", "--filter", "until=24h", "--keep-storage", "1g"]
    assert run(engine, monkeypatch, *words) == 0
    assert engine.calls == [("prune builds", {"until": ["24h"]}, 1 << 30, True)]
    assert run(engine, monkeypatch, "builder", "prune", "-f", "--filter", "unused=1h") == 1
    assert "invalid filter 'unused'" in capsys.readouterr().err


def test_du_is_buildxs_table(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert run(engine, monkeypatch, "builder", "du") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED", "DESCRIPTION"]
    assert lines[1].split()[:3] == ["abababababab", "false", "3kB"]
    assert lines[3:] == ["Shared:         3kB", "Private:        5kB", "Reclaimable:    5kB", "Total:          8kB"]
    assert run(engine, monkeypatch, "builder", "du", "--format", "{{.ID}} {{.CacheType}}") == 0
    assert capsys.readouterr().out.splitlines() == ["abababababab regular", "0f0f0f0f0f0f exec.cachemount"]


def test_system_df_has_dockers_row_of_the_cache(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(engine, monkeypatch, "system", "df") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["Build", "Cache", "2", "1", "8kB", "5kB"]
    assert run(engine, monkeypatch, "system", "df", "-v") == 0
    text = capsys.readouterr().out
    assert "Build cache usage: 8kB\n\nCACHE ID" in text
    assert text.splitlines()[-1].split()[:3] == ["0f0f0f0f0f0f", "exec.cachemount", "5kB"]


def test_system_prune_prunes_the_cache_too(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert run(engine, monkeypatch, "system", "prune") == 0
    text = capsys.readouterr().out
    assert "  - all dangling images\n  - unused build cache\n" in text
    assert "Deleted build cache objects:\nsha256:0123\n" in text
    assert text.endswith("Total reclaimed space: 2MB\n")
    assert run(engine, monkeypatch, "system", "prune", "-a") == 0
    assert "  - all build cache\n" in capsys.readouterr().out
    assert engine.calls[-1] == ("prune builds", None, 0, True)
