"""Long work as it is shown: bars on a terminal, lines in a pipe, JSON on demand, one display in a notebook."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_fake import IMAGE_ID, FakeEngine

from jupyter_containers.cli import dispatch, progress, run_verb
from jupyter_containers.cli.drawing import drawing
from jupyter_containers.cli.out import Notebook, Out, Terminal
from jupyter_containers.errors import ContainersError, ImageNotFound, InvalidArgument
from jupyter_containers.text.progress import Progress, plain


def moving(name: str, current: int, total: int = 0, status: str = "Downloading") -> dict[str, Any]:
    return {"status": status, "id": name, "progressDetail": {"current": current, "total": total}}


EVENTS = [
    {"status": "Pulling from library/debian", "id": "12"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    moving("aaa", 0, 2_000_000), moving("bbb", 10, 40), moving("aaa", 1_000_000, 2_000_000),
    {"status": "Download complete", "progressDetail": {}, "id": "bbb"},
    moving("bbb", 5, 0, "Extracting"),
    {"status": "Pull complete", "progressDetail": {}, "id": "bbb"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"progressDetail": {}, "aux": {"Tag": "12", "Size": 3}},
    {"status": "Digest: sha256:1"},
    {"status": "Status: Downloaded newer image for debian:latest"},
    {"stream": "done\n"},
]  # fmt: skip


def state() -> Progress:
    found = Progress()
    for event in EVENTS[:5]:
        found.add(event)
    return found


# --- the state ---


def test_a_row_looks_as_dockers() -> None:
    row = state().rows["aaa"]
    assert row.text(120) == f"aaa: Downloading [{'=' * 25}>{' ' * 25}]      1MB/2MB"
    assert row.text(80) == "aaa: Downloading      1MB/2MB"
    assert row.text(12) == "aaa: Downlo…"
    assert (row.share, row.is_done, row.numbers()) == (0.5, False, "1MB / 2MB")


def test_rows_end_and_lines_are_kept() -> None:
    found = Progress()
    for event in EVENTS:
        found.add(event)
    assert [row.text(80) for row in found.rows.values()] == ["aaa: Pull complete", "bbb: Pull complete"]
    assert found.lines == [
        "12: Pulling from library/debian", "Digest: sha256:1", "Status: Downloaded newer image for debian:latest",
        "done"]  # fmt: skip
    assert str(found).splitlines() == [
        found.lines[0], "aaa: Pull complete", "bbb: Pull complete", *found.lines[1:]]  # fmt: skip


def test_what_has_two_parts_keeps_their_order() -> None:
    found = Progress()
    for tag in ("1", "2"):
        found.add({"status": "Pulling from x", "id": tag})
        found.add({"status": "Pull complete", "progressDetail": {}, "id": f"layer{tag}"})
    html = found._repr_html_()
    places = [html.index(word) for word in ("1: Pulling", "layer1</code>", "2: Pulling", "layer2</code>")]
    assert places == sorted(places)
    assert html.count("<table") == html.count("</table>") == 2


def test_more_than_the_total_and_no_total() -> None:
    found = Progress()
    row, _ = found.add(moving("a", 5000, 1000))
    assert row
    assert (row.share, row.text(200)) == (1.0, "a: Downloading      5kB")
    found.add({"status": "Importing", "progressDetail": {"current": 1000}})
    assert str(found).splitlines()[-1] == "Importing      1kB"


def test_107_hostile_names_are_neutral_as_text_and_html() -> None:
    found = Progress()
    found.add(
        {"status": "\x1b[2JDone<script>", "id": "<img src=x onerror=alert(1)>'\x1b]0;x\x07", "progressDetail": {}}
    )
    found.add({"stream": "<script>\x1b[31m\u202e\n"})
    shown, html = str(found), found._repr_html_()
    assert not any(mark in shown + html for mark in "\x1b\x07\u202e")
    assert "<script" not in html
    assert "<img" not in html
    assert "aria-label='&lt;img" in html


def test_html_is_whole_accessible_and_without_colours_of_its_own() -> None:
    html = state()._repr_html_()
    assert html.count("role='progressbar'") == 2
    assert "aria-valuenow='50'" in html
    assert "#" not in html
    assert html.count("<tr>") == html.count("</tr>") == 2


# --- how it is drawn ---


def drawn(mode: str, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    with progress.shown(Out(), mode) as on_event:
        assert on_event
        for event in EVENTS:
            on_event(event)
    return stream.getvalue()


def test_lines_without_a_terminal_count_nothing_and_have_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn("auto", io.StringIO(), monkeypatch)
    assert text.splitlines() == [
        "12: Pulling from library/debian", "aaa: Pulling fs layer", "aaa: Downloading", "bbb: Download complete",
        "bbb: Pull complete", "aaa: Pull complete", "Digest: sha256:1",
        "Status: Downloaded newer image for debian:latest", "done"]  # fmt: skip
    assert "\x1b" not in text
    assert "\r" not in text


def test_json_lines_are_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn("json", io.StringIO(), monkeypatch)
    assert [json.loads(line) for line in text.splitlines()] == EVENTS


def test_a_failure_is_a_message_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
    with pytest.raises(ImageNotFound), progress.shown(Out(), "json"):
        raise ImageNotFound("no such image: x", mend="Look.")
    text = "no such image: x. Look."
    assert json.loads(stream.getvalue()) == {"error": text, "errorDetail": {"message": text}}


def test_an_unknown_mode_has_a_near_one() -> None:
    with pytest.raises(InvalidArgument, match="plain"), progress.shown(Out(), "plane"):
        pass


def on_terminal(rows: int = 10, columns: int = 80) -> str:
    """What bars write to a terminal of that size."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    said: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                return
            said.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(theirs, "w") as stream:
        bars = drawing(progress._KINDS, Terminal(), "", stream)
        for event in EVENTS:
            bars.take(event)
            bars._last = 0.0  # type: ignore[attr-defined]
        bars.finish()
    thread.join()
    os.close(ours)
    return b"".join(said).decode()


def screen(text: str) -> list[str]:
    """What stands on a terminal in the end; knows only what bars use."""
    lines: list[str] = [""]
    at = 0
    for piece in re.findall(r"\x1b\[\d*[AJ]|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif piece.endswith("A") and piece[0] == "\x1b":
            at -= int(piece[2:-1])
        elif piece.endswith("J") and piece[0] == "\x1b":
            del lines[at:]
            lines.append("")
        elif piece != "\r":
            lines[at] = piece
    return [line for line in lines if line]


def test_bars_on_a_terminal_end_with_each_row_once() -> None:
    lines = screen(on_terminal())
    assert lines[0] == "12: Pulling from library/debian"
    assert sorted(lines[1:3]) == ["aaa: Pull complete", "bbb: Pull complete"]
    assert lines[3:] == ["Digest: sha256:1", "Status: Downloaded newer image for debian:latest", "done"]


def test_bars_never_write_more_lines_than_the_terminal_has() -> None:
    text = on_terminal(rows=3, columns=40)
    assert all(int(number) <= 2 for number in re.findall(r"\x1b\[(\d+)A", text))
    plain_text = re.sub(r"\x1b\[\d*[AJ]", "", text).replace("\r", "\n")
    assert all(len(line) < 40 for line in plain_text.split("\n") if not line.startswith("Status"))


def test_a_notebook_has_one_display_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.display

    displays: list[Any] = []

    class Handle:
        updates = 0

        def update(self, _: object) -> None:
            self.updates += 1

    def display(what: object, display_id: bool) -> Handle:
        displays.append((what, display_id))
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    with progress.shown(Notebook()) as on_event:
        assert on_event
        for event in EVENTS * 100:
            on_event(event)
    [(what, with_id)] = displays
    assert with_id
    assert isinstance(what, Progress)
    assert "Pull complete" in what._repr_html_()
    assert "Pull complete" in repr(what)


def test_ipython_in_a_terminal_has_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython

    monkeypatch.setattr(IPython, "get_ipython", SimpleNamespace)
    assert isinstance(drawing(progress._KINDS, Notebook(), "", io.StringIO()), progress._Lines)


# --- the verbs ---


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


def run(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(dispatch, "_engine", lambda: engine)
    return dispatch.run(list(words), "jupyter containers", Terminal())


def test_save_writes_a_file_or_standard_output(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: Any
) -> None:
    target = tmp_path / "a.tar"
    assert run(engine, monkeypatch, "save", "-o", str(target), "busybox", "busybox:1.36") == 0
    assert target.read_bytes() == b"busyboxbusybox:1.36"
    assert run(engine, monkeypatch, "image", "save", "--format", "oci-archive", "busybox") == 0
    assert capfdbinary.readouterr() == (b"busybox", b"")
    assert engine.calls[-1] == ("save", ["busybox"], "oci-archive")
    assert run(engine, monkeypatch, "save", "-o", str(tmp_path / "b.tar"), "busybox", "nope") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]
    with pytest.raises(InvalidArgument, match="cowardly refusing to save to the cell"):
        run_verb(["save", "busybox"], engine)  # type: ignore[arg-type]


def test_export_writes_a_file_or_standard_output(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: Any
) -> None:
    assert run(engine, monkeypatch, "create", "--name", "web", "busybox") == 0
    capfdbinary.readouterr()
    assert run(engine, monkeypatch, "export", "web") == 0
    assert capfdbinary.readouterr().out == b"root of web"
    assert run(engine, monkeypatch, "container", "export", "-o", str(tmp_path / "w.tar"), "web") == 0
    assert (tmp_path / "w.tar").read_bytes() == b"root of web"
    with pytest.raises(ContainersError, match="cowardly"):
        run_verb(["export", "web"], engine)  # type: ignore[arg-type]


def test_load_and_import_tell_their_progress(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    for verb in (["load", "-i", "/dev/null"], ["import", "/dev/null"]):
        assert run(engine, monkeypatch, *verb, "--progress", "json") == 0
        assert all(json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert run(engine, monkeypatch, "import", "/dev/null") == 0
    assert capfd.readouterr().out == f"{IMAGE_ID}\n"
    assert run(engine, monkeypatch, "import", "--progress", "quiet", "/dev/null") == 0
    assert capfd.readouterr().out == f"{IMAGE_ID}\n"
    assert run(engine, monkeypatch, "load", "-q", "-i", "/dev/null") == 0
    assert capfd.readouterr().out == ""


def test_plain_says_a_step_once() -> None:
    found = Progress()
    assert [plain(event, *found.add(event)) for event in (moving("a", 0, 9), moving("a", 5, 9))] == [
        "a: Downloading",
        "",
    ]
