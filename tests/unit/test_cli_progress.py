"""What a pull looks like: in a pipe, in a terminal, in a notebook, as JSON; and the verbs' own words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_containers.cli import dispatch, progress
from jupyter_containers.cli.out import Notebook, Terminal
from jupyter_containers.image import reference
from jupyter_containers.options import RunOptions

EVENTS: list[dict[str, Any]] = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 500, "total": 1000}, "id": "aaa"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"progressDetail": {}, "aux": {"Tag": "x"}},
    {"status": "Digest: sha256:1"},
]


def test_a_pipe_gets_changes_of_status_only() -> None:
    out = io.StringIO()
    for event in EVENTS:
        progress.Lines(out)(event)
    assert (
        out.getvalue()
        == "latest: Pulling from library/x\naaa: Pulling fs layer\naaa: Pull complete\nDigest: sha256:1\n"
    )


def test_a_terminal_gets_a_line_for_each_layer_drawn_again() -> None:
    out = io.StringIO()
    show = progress.Bars(out)
    for event in EVENTS:
        show(event)
    rows, at = [""], 0
    for piece in out.getvalue().replace("\x1b[2K\r", "\0").split("\x1b["):
        if piece[1:2] == "A":
            at -= int(piece[0])
            piece = piece[2:]
        elif piece[1:2] == "B":
            at += int(piece[0])
            piece = piece[2:]
        if "\0" in piece:
            rows[at] = piece.partition("\0")[2].rstrip("\r")
        elif piece.strip():
            rows[at] = piece.strip()
        at += piece.count("\n")
        rows += [""] * (at + 1 - len(rows))
    assert rows[:3] == ["latest: Pulling from library/x", "aaa: Pull complete", "Digest: sha256:1"]


def test_bars_are_dockers() -> None:
    assert progress.bar({"current": 500, "total": 1000}) == "[" + "=" * 25 + ">" + " " * 25 + "]     500B/1kB"
    assert progress.bar({"current": 1500}) == "   1.5kB"
    assert progress.bar({}) == ""


def test_json_is_one_message_a_line() -> None:
    out = io.StringIO()
    show = progress.shown(Terminal(), "json", out)
    for event in EVENTS:
        show(event)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == EVENTS


def test_a_notebook_gets_one_table_that_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, str]] = []
    handle = SimpleNamespace(update=lambda bundle, raw: drawn.append(bundle))

    def display(bundle: dict[str, str], **_: object) -> object:
        drawn.append(bundle)
        return handle

    show = progress.Cell()
    show._display = display
    monkeypatch.setattr(progress, "_REDRAW", 0)
    for event in [*EVENTS, {"status": "<script>", "id": "\x1b[2J<b>"}]:
        show(event)
    assert drawn[-1]["text/plain"].splitlines()[1] == "aaa: Pull complete"
    assert "<script>" not in drawn[-1]["text/html"] and "&lt;script&gt;" in drawn[-1]["text/html"]
    assert "\x1b" not in drawn[-1]["text/html"] + drawn[-1]["text/plain"]
    assert any("<progress value='500' max='1000'>" in bundle["text/html"] for bundle in drawn)


def test_ipython_in_a_terminal_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress.shown(Notebook()), progress.Lines)


# --- verbs ---


class Registries:
    """Says what it was asked."""

    access = SimpleNamespace(docker_config="/home/x/.docker/config.json")

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.helper = ""

    def pull(self, name: str, platform: str, every: bool, on_event: Any) -> list[Any]:
        self.calls.append(("pull", name, platform, every))
        if on_event:
            on_event({"status": "Pulling from x", "id": "latest"})
        return [SimpleNamespace(newer=True, name=reference.parse(name))]

    def push(self, name: str, every: bool, on_event: Any) -> None:
        self.calls.append(("push", name, every))
        if on_event:
            on_event({"status": "Pushed", "id": "aaa"})

    def login(self, server: str, user: str, password: Any) -> str:
        self.calls.append(("login", server, user, password.reveal()))
        return self.helper

    def ensure(self, options: RunOptions, *words: Any) -> None:
        self.calls.append(("ensure", options.image, options.pull, len(words)))


@pytest.fixture
def registries() -> Registries:
    return Registries()


def run(registries: Registries, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    engine = SimpleNamespace(images=SimpleNamespace(registries=registries))
    before = dispatch._engine
    dispatch._engine = lambda: engine  # type: ignore[assignment, return-value]
    try:
        code = dispatch.run(list(words), "jupyter containers", Terminal())
    finally:
        dispatch._engine = before
    told = capfd.readouterr()
    return code, told.out, told.err


def test_pull_in_dockers_words(registries: Registries, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(registries, capfd, "pull", "x") == (
        0, "Using default tag: latest\nlatest: Pulling from x\ndocker.io/library/x:latest\n", "")  # fmt: skip
    assert run(registries, capfd, "pull", "-q", "x:1")[1] == "docker.io/library/x:1\n"
    assert run(registries, capfd, "image", "pull", "--platform", "linux/arm64", "x:1")[1].endswith(
        "docker.io/library/x:1\n"
    )
    assert registries.calls[-1] == ("pull", "x:1", "linux/arm64", False)
    assert run(registries, capfd, "pull", "-a", "h:1/x")[1].endswith(
        "Status: Downloaded newer image for h:1/x\nh:1/x\n"
    )
    assert (
        run(registries, capfd, "pull", "--progress", "json", "x")[1] == '{"status": "Pulling from x", "id": "latest"}\n'
    )
    assert run(registries, capfd, "pull", "--progress", "jso", "x")[2].endswith("Did you mean json?\n")
    assert run(registries, capfd, "pull")[0] == 1


def test_push_in_dockers_words(registries: Registries, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(registries, capfd, "push", "x") == (0, "Using default tag: latest\naaa: Pushed\n", "")
    assert run(registries, capfd, "push", "-q", "x:1")[1] == "docker.io/library/x:1\n"


def test_login_wants_both_and_warns(
    registries: Registries, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("pw\n"))
    code, out, err = run(registries, capfd, "login", "-u", "me", "--password-stdin", "h:1")
    assert (code, out) == (0, "Login Succeeded\n")
    assert "stored unencrypted in '/home/x/.docker/config.json'" in err
    assert registries.calls[-1] == ("login", "h:1", "me", "pw")
    registries.helper = "pass"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(registries, capfd, "login", "-u", "me", "-p", "x")[2].startswith(
        "WARNING! Using --password via the CLI is insecure"
    )
    assert "required" in run(registries, capfd, "login", "-u", "me", "--password-stdin")[2]
    assert "Must provide --username" in run(registries, capfd, "login", "--password-stdin")[2]
    assert "mutually exclusive" in run(registries, capfd, "login", "-u", "a", "-p", "b", "--password-stdin")[2]
    assert "non TTY device" in run(registries, capfd, "login", "-u", "me")[2]


def test_the_config_is_found_where_docker_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_containers.config import Settings
    from jupyter_containers.engine.registries import access

    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert access(Settings()).docker_config == tmp_path / ".docker" / "config.json"
