"""The layer view as text and HTML: readable, and harmless whatever an image calls its files."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli_fake import FakeEngine

from jupyter_containers.cli import dispatch, run_verb
from jupyter_containers.cli.out import Terminal
from jupyter_containers.text import layers as text

HOSTILE = "\x1b[2J<script>alert('1')</script>\u202e\r\n\t\"onmouseover=x"


def file(kind: str, path: str, size: int = 1, count: int = 1) -> dict[str, Any]:
    return {"Kind": kind, "Path": path, "Size": size, "Count": count}


def layer(number: int, by: str, *files: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {
        "Layer": number, "DiffId": f"sha256:{str(number) * 64}", "Size": 2_000_000 // number, "CreatedBy": by,
        "Comment": "", "Added": 3, "Changed": 1, "Removed": 0, "WastedBytes": 0, "Files": list(files), **more,
    }  # fmt: skip
    return found if files else {key: value for key, value in found.items() if key != "Files"}


def view(*layers: dict[str, Any], tags: tuple[str, ...] = ("app:1",)) -> dict[str, Any]:
    wasted = sum(one["WastedBytes"] for one in layers)
    return {"Id": "sha256:" + "a" * 64, "RepoTags": list(tags), "Size": 3_000_000, "WastedBytes": wasted,
            "Efficiency": 0.75, "Layers": list(layers)}  # fmt: skip


VIEW = view(
    layer(1, "/bin/sh -c #(nop) ADD file:1 in / ", WastedBytes=1_000),
    layer(2, "|1 A=b /bin/sh -c apt-get   install x", file("C", "etc/passwd"), file("D", "var/", 2000, 7), Removed=7),
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
        ("/bin/sh -c echo hi", "RUN echo hi"),
        ("RUN /bin/sh -c echo hi # buildkit", "RUN echo hi"),
        ("|2 A=1 B=2 /bin/sh -c make", "RUN make"),
        ("COPY . /app # buildkit", "COPY . /app"),
        ("bazel build", "bazel build"),
        ("", "Imported from -"),
    ],
)  # fmt: skip
def test_commands_are_what_their_author_wrote(said: str, shown: str) -> None:
    assert text.command({"CreatedBy": said, "Comment": "Imported from -"}) == shown


def test_the_table() -> None:
    assert text.written(VIEW).splitlines() == [
        "LAYER  DIFF ID       SIZE  ADDED  CHANGED  REMOVED  WASTED  COMMAND",
        "1      111111111111  2MB   3      1        0        1kB     ADD file:1 in /",
        "2      222222222222  1MB   3      1        7        0B      RUN apt-get install x",
        "",
        "Total: 3MB in 2 layers, 1kB wasted (efficiency 75.0%)",
    ]


def test_the_table_with_files() -> None:
    lines = text.written(VIEW, files=True).splitlines()
    assert lines[3:5] == ["  C  1B              etc/passwd", "  D  2kB in 7 files  var/"]


def test_the_tree_of_images() -> None:
    assert text.tree([VIEW, view(layer(1, ""), tags=())]).splitlines() == [
        "app:1  aaaaaaaaaaaa  3MB  1kB wasted",
        "├── 111111111111  2MB  +3 ~1 −0  1kB wasted  ADD file:1 in /",
        "└── 222222222222  1MB  +3 ~1 −7              RUN apt-get install x",
        "<none>  aaaaaaaaaaaa  3MB",
        "└── 111111111111  2MB  +3 ~1 −0    ",
    ]


class Checker(HTMLParser):
    """Collects tags, attributes and text; every tag must be closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.shown = ""
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_html_folds_and_has_nothing_that_runs_or_is_fetched() -> None:
    found = Checker(text.html(VIEW))
    assert {*found.tags} <= {"div", "b", "code", "details", "summary", "span"}
    assert found.names <= {"class", "style", "role", "aria-label", "title", "open"}
    assert "RUN apt-get install x" in found.shown
    assert "~ passwd" in found.shown
    assert "url(" not in text.html(VIEW)


def test_a_folder_that_is_listed_itself_has_its_files_beneath() -> None:
    one = view(layer(1, "", file("A", "d/", 0, 0), file("A", "d/e/f"), file("A", "d/g"), file("A", "z")))
    other = view(layer(1, "", file("A", "d/e/f"), file("A", "d/", 0, 0)))
    for found in (Checker(text.html(one)), Checker(text.html(other))):
        assert "+ d/" in found.shown
        assert found.tags.count("details") == 3


def test_107_hostile_names_are_neutral_as_text_and_html() -> None:
    hostile = view(layer(1, HOSTILE, file("A", f"{HOSTILE}/{HOSTILE}"), file("A", "\udcff")), tags=(HOSTILE,))
    shown = text.written(hostile, files=True) + text.tree([hostile])
    assert not any(mark in shown for mark in "\x1b\r\u202e\t")
    found = Checker(text.html(hostile))
    assert "script" not in found.tags
    assert "onmouseover" not in found.names
    assert not any(mark in text.html(hostile) for mark in "\x1b\r\u202e\t")
    text.html(hostile).encode()


def test_many_files_and_deep_trees_are_bounded_in_html() -> None:
    many = view(layer(1, "", *(file("A", f"f{number}") for number in range(5000))))
    assert "… and 3000 more" in text.html(many)
    deep = view(layer(1, "", file("A", "d/" * 3000 + "f")))
    assert len(text.html(deep)) < 100_000


# --- the verbs ---


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    found = FakeEngine(tmp_path)
    found.images.all[0].view = VIEW
    monkeypatch.setattr(dispatch, "_engine", lambda: found)
    return found


def test_layers_in_a_terminal(engine: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    assert dispatch.run(["layers", "busybox"], "x", Terminal()) == 0
    assert capfd.readouterr().out == text.written(VIEW)
    assert dispatch.run(["image", "layers", "--files", "busybox"], "x", Terminal()) == 0
    assert capfd.readouterr().out == text.written(VIEW, files=True)
    assert dispatch.run(["layers", "--json", "busybox"], "x", Terminal()) == 0
    assert json.loads(capfd.readouterr().out) == VIEW
    assert dispatch.run(["layers", "-f", "{{.WastedBytes}}", "busybox"], "x", Terminal()) == 0
    assert capfd.readouterr().out == "1000\n"
    assert dispatch.run(["images", "--tree"], "x", Terminal()) == 0
    assert capfd.readouterr().out == text.tree([VIEW])
    assert engine.calls == []


def test_layers_in_a_notebook_show_themselves(engine: FakeEngine) -> None:
    found = run_verb(["layers", "busybox"], engine)  # type: ignore[arg-type]
    assert found._repr_html_() == text.html(VIEW)
    assert repr(found) == text.written(VIEW).removesuffix("\n")
    assert run_verb(["images", "--tree"], engine)._repr_html_() == text.forest([VIEW])  # type: ignore[arg-type]
