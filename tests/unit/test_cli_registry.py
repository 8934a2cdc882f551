"""The words of ``pull``, ``push``, ``login`` and ``logout``, and what ``run`` says of an image that it pulls first."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_containers.cli import dispatch
from jupyter_containers.cli.out import Terminal
from jupyter_containers.cli.registry import ensure
from jupyter_containers.errors import ImageNotFound
from jupyter_containers.image import reference
from jupyter_containers.options import RunOptions


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
        on_event, say = words
        self.calls.append(("ensure", options.image))
        if say:
            say(f"Unable to find image '{options.image}' locally\n")
        if on_event:
            on_event({"status": "Pulling from x", "id": "latest"})


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
    assert run(registries, capfd, "pull", "--progress", "quiet", "x:1")[1] == "docker.io/library/x:1\n"
    assert run(registries, capfd, "pull")[0] == 1


def test_a_pull_that_fails_ends_the_json_with_the_error(
    registries: Registries, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*_: Any) -> list[Any]:
        raise ImageNotFound("manifest for x:1 not found")

    monkeypatch.setattr(registries, "pull", pull)
    code, out, err = run(registries, capfd, "pull", "--progress", "json", "x:1")
    assert (code, "manifest for x:1 not found" in err) == (1, True)
    assert json.loads(out)["error"].startswith("manifest for x:1 not found")


def test_run_tells_of_a_pull_on_standard_error(registries: Registries, capfd: pytest.CaptureFixture[str]) -> None:
    engine: Any = SimpleNamespace(images=SimpleNamespace(registries=registries))
    ensure(engine, RunOptions(image="x"), Terminal())
    said = capfd.readouterr()
    assert said == ("", "Unable to find image 'x' locally\nlatest: Pulling from x\n")
    ensure(engine, RunOptions(image="x", quiet=True), Terminal())
    assert capfd.readouterr() == ("", "")


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
