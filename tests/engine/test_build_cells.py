"""Builds as people see them: ``%%dockerfile`` cells in a real kernel, the command on a terminal, docker-py's call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_cells import cells
from tests.rigs import engines
from tests.rigs.screen import Screen
from tests.rigs.users import User

HELLO = "%%dockerfile -t hello:cells\nFROM busybox:test\nRUN echo hello > /hello\nCMD cat /hello\n"


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


@pytest.fixture
def context(user: User) -> Path:
    """A folder of the user's with a Dockerfile and a file."""
    return Path(user.call(make_context, user.base / "context"))


def make_context(folder: str) -> str:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "note.txt").write_text("a note\n")
    (Path(folder) / "Dockerfile").write_text("FROM busybox:test\nCOPY note.txt /note\nRUN sleep $NAP 30; cat /note\n")
    return folder


# --- cells ---


def test_a_cell_builds_an_image_that_the_next_cell_runs(user: User) -> None:
    built, ran = user.call(cells, HELLO, "%container run --rm --network none hello:cells")
    assert built["error"] == ran["error"] == "''", built
    assert ran["stdout"] == "hello\n"


def test_the_value_is_the_image_and_unchanged_steps_are_cached(user: User) -> None:
    first, second, quiet = user.call(
        cells,
        HELLO + "LABEL x=1",
        HELLO + "LABEL x=1",
        HELLO.replace("%%dockerfile", "%%dockerfile -q") + "\nLABEL x=2",
    )
    assert "<Image: 'hello:cells'>" in first["stdout"]
    assert "#2 CACHED" in second["stdout"]
    assert quiet["stdout"].splitlines()[-1].endswith("<Image: 'hello:cells'>")
    assert "#1" not in quiet["stdout"]


def test_variables_are_substituted_in_the_line_and_never_in_the_dockerfile(user: User, context: Path) -> None:
    cell = "%%dockerfile -t {name}:cells \\\n  --build-arg WHO=$who $folder\nFROM busybox:test\nARG WHO\nCOPY note.txt /\nRUN echo {name} $WHO && cat note.txt"
    *_, built = user.call(cells, f"name, who, folder = 'varied', 'ada', '{context}'", cell)
    assert " {name} ada\n" in built["stdout"], built
    assert " a note\n" in built["stdout"]
    assert "varied:cells" in built["stdout"]


@pytest.mark.parametrize(
    ("line", "dockerfile", "says"),
    [
        ("", "FROM busybox:test\nRUNN true", ["unknown instruction: RUNN", "  2 | >>> RUNN true", "  |     ^", "Did you mean RUN?"]),
        ("", "FROM busybox:test\nCOPY a /", ["there is no build context", ">>> COPY a /", "Name a folder"]),
        ("", "FROM busybox:test\nRUN exit 3", ["exit code: 3", ">>> RUN exit 3", "%container run -it --rm"]),
        ("", "FROM busybox:tset", [">>> FROM busybox:tset", "busybox:tset"]),
        ("--target b", "FROM busybox:test AS a", ["target stage 'b' could not be found"]),
        ("-f x", "FROM busybox:test", ["the cell is the Dockerfile"]),
        ("/no/such", "FROM busybox:test", ["/no/such", "no such build context"]),
    ],
)  # fmt: skip
def test_an_error_is_a_card_with_the_lines(user: User, line: str, dockerfile: str, says: list[str]) -> None:
    [answer] = user.call(cells, f"%%dockerfile --network none {line}\n{dockerfile}\n")
    assert not [word for word in says if word not in answer["card"]], answer["card"]


def test_107_what_a_step_prints_draws_on_no_screen(user: User) -> None:
    dockerfile = "FROM busybox:test\nRUN printf '\\033[2Jgone\\033]0;title\\007 \\342\\200\\256 <script>\\n'; exit 1"
    [answer] = user.call(cells, f"%%dockerfile --network none --no-cache\n{dockerfile}")
    said = answer["stdout"].partition("#2 ERROR")[0]  # IPython colours the card below
    assert "gone \\u202e <script>\n" in said
    assert not any(character in answer["stdout"] for character in ("\x1b[2J", "\x1b]", "\x07", "\u202e"))


def in_kernel(cell: str, interrupt_at: str = "") -> dict[str, Any]:
    """Run a cell in a kernel, stopped once its display has *interrupt_at*; the display's states, the error, seconds."""
    from queue import Empty

    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(
        startup_timeout=60, extra_arguments=["--InteractiveShellApp.extensions=jupyter_containers"]
    )
    found: dict[str, Any] = {"first": [], "updates": [], "value": "", "error": "", "seconds": -1.0}
    stopped = 0.0
    try:
        message, end = client.execute(cell), time.monotonic() + 60
        while time.monotonic() < end:
            try:
                news = client.get_iopub_msg(timeout=0.1)
            except Empty:
                continue
            kind, content = news["msg_type"], news["content"]
            if news["parent_header"].get("msg_id") != message:
                continue
            if kind in ("display_data", "update_display_data"):
                found["first" if kind == "display_data" else "updates"].append(content["data"])
                if interrupt_at and interrupt_at in content["data"]["text/plain"] and not stopped:
                    stopped = time.monotonic()
                    manager.interrupt_kernel()
            elif kind == "execute_result":
                found["value"] = content["data"]["text/plain"]
            elif kind == "error":
                found["error"] = "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                found["seconds"] = time.monotonic() - stopped if stopped else 0.0
                return found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return {**found, "error": "the cell did not end"}


def test_a_kernel_shows_one_live_tree_and_keeps_its_last_state(user: User) -> None:
    cell = "%%dockerfile -t tree:cells --no-cache\nFROM busybox:test\nRUN echo one; sleep 1; echo two\n"
    found = user.call(in_kernel, cell)
    assert (found["value"], found["error"]) == ("<Image: 'tree:cells'>", "")
    assert len(found["first"]) == 1
    texts = [data["text/plain"] for data in found["first"] + found["updates"]]
    assert "▶ RUN echo one" in texts[0]
    assert any(text.endswith("      one") for text in texts), "while it runs"
    assert texts[-1].startswith("Built tree:cells  ")
    html = found["updates"][-1]["text/html"]
    assert "one\ntwo</pre>" in html
    assert "2 lines · 1." in html


def test_the_stop_button_ends_a_build_and_leaves_nothing(user: User, leak_watch: None) -> None:
    cell = "%%dockerfile\nFROM busybox:test\nRUN trap '' INT TERM; (sleep 1000 &) ; echo begun; sleep 1000\n"
    found = user.call(in_kernel, cell, "      begun")
    assert "the build was stopped" in found["error"], found
    assert "Traceback" not in found["error"]
    assert found["updates"][-1]["text/plain"].startswith("Stopped: ")
    assert found["seconds"] < 5


# --- the command ---


def test_the_command_builds_runs_and_says_what_is_cached(user: User, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox:test\nCOPY note.txt /note\nCMD cat /note\n")
    words = ("build", "-t", "noted:cells", str(context))
    first, second = engines.ours(user, *words), engines.ours(user, *words)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert "naming to noted:cells done" in first.stderr
    assert "#2 [2/2] COPY note.txt /note\n#2 CACHED\n" in second.stderr
    assert engines.ours(user, "run", "--rm", "--network", "none", "noted:cells").stdout == "a note\n"


def test_a_tar_and_a_dockerfile_come_from_standard_input(user: User, context: Path) -> None:
    script = f"tar -C {context} -c note.txt Dockerfile | %s build -q -f Dockerfile - --target none; echo rc $?"
    bad = user.run("sh", "-c", script % " ".join(engines.COMMAND), check=False)
    assert "target stage 'none' could not be found" in bad.stderr
    assert bad.stdout == "rc 1\n"
    text = "FROM busybox:test\nCOPY note.txt /n\n"
    done = engines.ours(user, "build", "-q", "-f", "-", str(context), input=text)
    assert done.stdout.startswith("sha256:"), done.stderr
    alone = engines.ours(user, "build", "-q", "-", input="FROM busybox:test\nENV A=1\n")
    assert alone.stdout.startswith("sha256:"), alone.stderr


def test_a_failing_step_ends_with_1_and_its_lines(user: User) -> None:
    done = engines.ours(user, "build", "-", input="FROM busybox:test\nRUN echo why; exit 42\n")
    assert done.returncode == 1
    assert (
        '#2 ERROR: process "/bin/sh -c echo why; exit 42" did not complete successfully: exit code: 42\n' in done.stderr
    )
    assert "------\n > [2/2] RUN echo why; exit 42:\nwhy\n------\n" in done.stderr
    assert "   2 | >>> RUN echo why; exit 42\n" in done.stderr


def test_a_terminal_shows_a_tree_and_ctrl_c_ends_all(user: User, context: Path, leak_watch: None) -> None:
    (context / "Dockerfile").write_text("FROM busybox:test\nRUN trap '' INT; echo begun; sleep 1000\n")
    with Screen(user, *engines.COMMAND, "build", "-t", "never:cells", str(context)) as screen:
        screen.until("Building never:cells")
        screen.until("begun")
        screen.type("\x03")
        assert screen.ended() == 130
        assert "Stopped: never:cells" in screen.shown
        assert screen.shown.rstrip().endswith("the next build goes on from there.")


def test_the_cache_is_listed_and_given_back(user: User) -> None:
    own = user.with_store("cache-cells")
    engines.load(own, _archive())
    fill = "yes | head -c 5000000 > /c/z; yes | head -c 3000000 > /x"
    text = f"FROM busybox:test\nRUN --mount=type=cache,target=/c {fill}\n"
    assert engines.ours(own, "build", "-q", "-t", "big", "-", input=text).returncode == 0
    records = [json.loads(line) for line in engines.ours(own, "builder", "du", "--json").stdout.splitlines()]
    assert [(one["CacheType"], one["Reclaimable"], one["Size"]) for one in records] == [
        ("regular", "false", "3MB"), ("exec.cachemount", "true", "5MB")]  # fmt: skip
    row = engines.ours(own, "system", "df").stdout.splitlines()[-1].split()
    assert row[:4] == ["Build", "Cache", "2", "1"]
    assert engines.ours(own, "rmi", "big").returncode == 0
    done = engines.ours(own, "builder", "prune", "-af").stdout.splitlines()
    assert (done[0], len(done)) == ("Deleted build cache objects:", 5)
    assert done[-1].endswith("MB")
    assert engines.ours(own, "builder", "du", "--json").stdout == ""


def _archive() -> Path:
    from tests.rigs import roots

    return roots.archive(roots.busybox_tar(), "busybox:test", "docker")


# --- docker-py's call ---


def test_the_call_is_docker_pys(user: User, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox:test\nARG A\nCOPY note.txt /\nRUN echo $A\nLABEL own=1\n")
    image, tags, labels, log, error = user.call(call_build, context)
    assert image.startswith("sha256:")
    assert tags == ["called:cells"]
    assert labels == {"own": "1", "given": "2"}
    assert any(line.get("stream", "").endswith(" of python\n") for line in log)
    assert log[-1] == {"aux": {"ID": image}}
    assert "no more" in error


def call_build(folder: str) -> tuple[str, list[str], dict[str, str], list[dict[str, Any]], str]:
    import io

    from jupyter_containers import from_env
    from jupyter_containers.errors import StepFailed

    images = from_env().images
    image, log = images.build(
        path=folder, tag="called:cells", buildargs={"A": "of python"}, labels={"given": "2"}, nocache=True
    )
    try:
        images.build(fileobj=io.BytesIO(b"FROM busybox:test\nRUN echo no more; false\n"))
    except StepFailed as failed:
        error = "".join(str(line["stream"]) for line in failed.build_log)
    return image.id, image.tags, dict(image.labels), list(log), error
