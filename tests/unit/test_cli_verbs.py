"""The verbs over a fake engine: what they ask of it, what they print, their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fake import IMAGE_ID, FakeEngine

from jupyter_containers.cli import dispatch, run_verb
from jupyter_containers.cli.out import Terminal
from jupyter_containers.errors import ContainerExit, ContainersError, InvalidArgument, NotFound
from jupyter_containers.text.result import Table, Text

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


@pytest.fixture
def run(engine: FakeEngine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a line as the program does: exit code, stdout, stderr."""
    monkeypatch.setattr(dispatch, "_engine", lambda: engine)

    def call(*words: str) -> tuple[int, str, str]:
        code = dispatch.run(list(words), "jupyter containers", Terminal(str(tmp_path)))
        told = capfd.readouterr()
        return code, told.out, told.err

    return call


def test_run_detached_prints_the_id(run: Run, engine: FakeEngine) -> None:
    assert run("run", "-d", "--name", "web", "-e", "A=b", "busybox", "sleep", "9") == (0, "1" * 64 + "\n", "")
    options = engine.containers.get("web").options
    assert (options.command, options.env, options.detach) == (("sleep", "9"), {"A": "b"}, True)


def test_run_in_the_foreground_gives_the_programs_exit_code(run: Run, engine: FakeEngine) -> None:
    assert run("run", "--rm", "busybox", "false") == (7, "", "")
    stdio = engine.calls[-1][2]
    assert stdio[0] > 2  # without -i standard input is empty
    run("container", "run", "-i", "busybox", "true")
    assert engine.calls[-1][2] == (0, 1, 2)


def test_our_own_failures_of_run_are_125(run: Run) -> None:
    assert run("run", "nope") == (125, "", "Error: No such image: nope. Did you mean node?\n")
    assert run("run", "--nam", "x", "busybox")[0] == 125
    assert run("run", "--gpus", "all", "busybox")[0] == 125


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["ps", "--al"], 125, "unknown flag: --al. Did you mean --all?"),
        (["ps", "x"], 1, "'ps' accepts no arguments. See 'ps --help'."),
        (["rm"], 1, "'rm' requires at least 1 argument"),
        (["rename", "a"], 1, "'rename' requires 2 arguments"),
        (["container", "rename", "a"], 1, "'container rename' requires 2 arguments"),
        (["port", "a", "b", "c"], 1, "'port' requires at most 2 arguments"),
        (["stop", "-t", "x", "a"], 125, 'invalid argument "x" for "-t, --timeout" flag'),
        (["pss"], 1, "unknown command: pss. Did you mean ps?"),
        (["container", "lss"], 1, "unknown command: container lss. Did you mean container ls?"),
        (["commit", "."], 1, "'commit' is not in this version. It comes with a later one."),
        (["container", "commit", "x"], 1, "'container commit' is not in this version"),
        (["--foo"], 1, "unknown flag: --foo"),
        (["logs", "--since", "x", "c"], 1, "No such container: c"),
        (["inspect", "-f", "{{", "busybox"], 64, "template parsing error: template: :1: unclosed action"),
        (["ps", "--filter", "foo=1"], 1, "invalid filter 'foo'"),
        (["load", "-i", "/nope"], 1, "open /nope: no such file or directory"),
        (["inspect", "--type", "x", "y"], 1, '"x" is not a valid value for --type'),
        (["exec", "a", "b"], 1, "No such container: a"),
        (["tag", "nope", "x"], 1, "No such image: nope"),
    ],
)
def test_an_error_is_one_line_with_dockers_exit_code(run: Run, words: list[str], code: int, text: str) -> None:
    got, _out, err = run(*words)
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert text in err
    assert got == code


def test_ps_lists_running_containers_newest_first(run: Run) -> None:
    run("run", "-d", "--name", "aa", "busybox")
    run("create", "--name", "bb", "--label", "k=v", "busybox")
    run("run", "-d", "--name", "cc", "busybox")
    assert [line.split()[-1] for line in run("ps")[1].splitlines()] == ["NAMES", "cc", "aa"]
    assert run("ps", "-aq")[1] == "333333333333\n222222222222\n111111111111\n"
    assert run("ps", "-aq", "--no-trunc", "-f", "label=k")[1] == "2" * 64 + "\n"
    assert run("container", "ls", "-lq")[1] == "333333333333\n"
    assert run("ps", "-n", "2", "--format", "{{.Names}}")[1] == "cc\nbb\n"
    assert run("ps", "-f", "status=created", "--format", "{{.Names}}: {{.Status}}")[1] == "bb: Created\n"
    assert run("ps", "-s", "-f", "name=cc", "--format", "{{.Size}}")[1] == "3B (virtual 1.98MB)\n"
    assert json.loads(run("ps", "--json", "-l")[1])["Names"] == "cc"
    assert "Ignoring custom format" in run("ps", "-q", "--format", "{{.Names}}")[2]


def test_verbs_of_life_print_what_they_were_given(run: Run, engine: FakeEngine) -> None:
    run("run", "-d", "--name", "aa", "busybox")
    assert run("stop", "-t", "3", "aa") == (0, "aa\n", "")
    assert ("stop", "aa", 3) in engine.calls
    assert run("start", "aa") == (0, "aa\n", "")
    assert run("kill", "-s", "HUP", "aa") == (0, "aa\n", "")
    assert ("kill", "aa", "HUP") in engine.calls
    assert run("pause", "aa")[1] + run("unpause", "aa")[1] + run("restart", "aa")[1] == "aa\naa\naa\n"
    assert run("wait", "aa") == (0, "0\n", "")
    assert run("rename", "aa", "bb") == (0, "", "")
    assert run("port", "bb") == (0, "80/tcp -> 0.0.0.0:8080\n", "")
    assert run("port", "bb", "80") == (0, "0.0.0.0:8080\n", "")
    assert "No public port '81' published for bb" in run("port", "bb", "81")[2]
    assert run("top", "bb")[1].splitlines()[0] == "UID                 CMD"
    assert "You cannot remove a running container" in run("rm", "bb")[2]
    assert run("rm", "-f", "bb", "gone") == (0, "bb\n", "Error: No such container: gone\n")


def test_one_failure_does_not_keep_the_others_from_being_done(run: Run) -> None:
    run("create", "--name", "aa", "busybox")
    code, out, err = run("rm", "x", "aa", "y")
    assert (code, out) == (1, "aa\n")
    assert err == "Error: No such container: x\nError: No such container: y\n"


def test_prune_asks_first(run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    run("create", "busybox")
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert run("container", "prune")[1].startswith("WARNING! This will remove all stopped containers.")
    assert engine.containers.all
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert run("prune")[1].endswith("Deleted Containers:\n" + "1" * 64 + "\n\nTotal reclaimed space: 0B\n")
    assert run("system", "prune", "-f")[1].endswith("\nTotal reclaimed space: 2MB\n")
    assert run("image", "prune", "-f")[1] == "Total reclaimed space: 0B\n"


def test_exec_hands_on_flags_and_descriptors(run: Run, engine: FakeEngine) -> None:
    run("run", "-d", "--name", "aa", "busybox")
    assert run("exec", "-e", "A=b", "-w", "/w", "-u", "1", "aa", "ls", "-l")[0] == 4
    _verb, command, _stdio, options = engine.calls[-1]
    assert command == ["ls", "-l"]
    assert (options["environment"], options["workdir"], options["user"]) == ({"A": "b"}, "/w", "1")
    assert run("exec", "-d", "-t", "aa", "ls") == (0, "", "")
    assert engine.calls[-1][:2] == ("exec -d", ["ls"])
    assert engine.calls[-1][2]["tty"]


def test_images_inspect_and_history(run: Run) -> None:
    assert [line.split()[:2] for line in run("images")[1].splitlines()] == [
        ["REPOSITORY", "TAG"],
        ["busybox", "1.36"],
        ["busybox", "latest"],
    ]
    assert run("images", "busybox:1.36", "--format", "{{.Tag}}")[1] == "1.36\n"
    assert run("image", "ls", "-q", "none*")[1] == ""
    assert run("history", "-q", "busybox")[1] == IMAGE_ID[7:19] + "\n"
    assert run("inspect", "-f", "{{.Id}} {{len .RepoTags}}", "busybox")[1] == f"{IMAGE_ID} 2\n"
    assert json.loads(run("image", "inspect", "busybox")[1])[0]["Id"] == IMAGE_ID
    assert run("inspect", "busybox", "gone")[0] == 1
    code, out, err = run("container", "inspect", "busybox")
    assert (code, out, err) == (1, "[]\n", "Error: No such container: busybox\n")
    run("run", "-d", "--name", "aa", "busybox")
    assert run("inspect", "-s", "-f", "{{.Name}} {{.SizeRw}}", "aa")[1] == "/aa 3\n"
    assert run("tag", "busybox", "b:1")[0] == 0
    assert run("rmi", "b:1")[1] == f"Untagged: b:1\nDeleted: {IMAGE_ID}\n"


def test_load_and_import(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()
    assert run("load", "-i", "x.tar")[1] == "Loaded image: busybox:1.36\nLoaded image: busybox:latest\n"
    assert engine.calls[-1] == ("load", str(tmp_path / "x.tar"))
    assert run("load", "-q", "x.tar")[1] == ""
    assert run("import", "-c", "CMD sh", "x.tar", "host.example:5000/a:1")[1] == f"{IMAGE_ID}\n"
    assert engine.calls[-1][2] == {
        "repository": "host.example:5000/a", "tag": "1", "changes": ("CMD sh",), "message": "", "platform": "",
    }  # fmt: skip


def test_logs_keeps_the_streams_apart(run: Run, tmp_path: Path) -> None:
    run("create", "--name", "aa", "busybox")
    entries = [("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "three\n")]
    lines = [json.dumps({"log": t, "stream": s, "time": "2026-01-01T00:00:00.500000000Z"}) for s, t in entries]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert run("logs", "aa") == (0, "one\nthree\n", "two\n")
    assert run("logs", "-n", "1", "aa") == (0, "three\n", "")
    assert run("logs", "--since", "2027-01-01T00:00:00Z", "aa") == (0, "", "")
    assert run("logs", "--until", "1m", "aa")[1] == "one\nthree\n"
    assert "failed to parse value as time or duration" in run("logs", "--since", "soon", "aa")[2]


def test_the_system_tells_of_itself(run: Run) -> None:
    assert run("version", "-f", "{{.Server.Version}}")[1] == "1.2.3\n"
    assert run("version")[1].startswith("Engine: nb-containers\n Version:           1.2.3\n")
    assert json.loads(run("info", "--json")[1])["Name"] == "here"
    assert "Total Memory: 1GiB" in run("system", "info")[1]
    assert run("system", "df", "--format", "{{.Type}}={{.TotalCount}}")[1].splitlines()[0] == "Images=1"
    assert run("system", "df", "-v")[1].startswith("Images space usage:")
    assert run("doctor")[0] == 0


# -- in a notebook ---------------------------------------------------------------------------------------------


def test_a_table_comes_back_as_an_object(engine: FakeEngine) -> None:
    run_verb(["run", "-d", "--name", "a_b", "busybox"], engine)
    shown: Any = run_verb(["ps"], engine)
    assert isinstance(shown, Table)
    assert "<table" in shown._repr_html_()
    assert shown.text.startswith("CONTAINER ID")
    assert isinstance(run_verb(["version"], engine), Text)
    assert run_verb(["stop", "a_b"], engine) is None


def test_run_streams_into_the_cell_and_raises_for_a_failure(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(["run", "-it", "--rm", "busybox", "true"], engine) is None
    assert capsys.readouterr() == ("out\n", "err\n")
    with pytest.raises(ContainerExit) as caught:
        run_verb(["run", "busybox", "false"], engine)
    assert caught.value.exit_code == 7
    run_verb(["run", "-d", "--name", "aa", "busybox"], engine)
    with pytest.raises(ContainerExit):
        run_verb(["exec", "aa", "fail"], engine)


def test_errors_are_raised(engine: FakeEngine) -> None:
    with pytest.raises(NotFound, match="No such container: x"):
        run_verb(["rm", "x"], engine)
    with pytest.raises(InvalidArgument, match="Did you mean ps"):
        run_verb(["pss"], engine)
    with pytest.raises(ContainersError, match="stdin is empty"):
        run_verb(["load"], engine)


def test_relative_paths_start_at_the_notebooks_folder(engine: FakeEngine, tmp_path: Path) -> None:
    run_verb(["create", "--name", "aa", "-v", "./x:/x", "busybox"], engine, str(tmp_path))
    assert engine.containers.get("aa").options.volumes[0].source == str(tmp_path / "x")


def test_prune_passes_its_filters_on(run: Run, engine: FakeEngine) -> None:
    assert (
        run("image", "prune", "-af", "--filter", "label=a=b", "--filter", "label!=c", "--filter", "until=10m")[0] == 0
    )
    assert engine.calls[-1] == (
        "prune images", {"label": ["a=b"], "label!": ["c"], "until": ["10m"], "dangling": ["false"]})  # fmt: skip
    assert run("image", "prune", "-f", "--filter", "foo=bar")[::2] == (
        1, "Error: invalid filter 'foo'. Known are dangling, label, label!, until.\n")  # fmt: skip
    assert run("system", "prune", "-af")[0] == 0
    assert engine.calls[-2:] == [("prune images", {"dangling": False}), ("prune builds", None, 0, True)]
