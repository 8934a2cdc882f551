"""A build as it is shown: as a tree, as HTML, as BuildKit's plain lines."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from jupyter_containers.text.build import CANCELED, DONE, FAILED, BuildState, duration
from jupyter_containers.text.build_output import LONGEST, MOST_LINES, Output
from jupyter_containers.text.build_plain import Plain
from jupyter_containers.text.build_tree import fitted, lines

ID = "sha256:201ca15805f7e10481f9f012c85b3b36440b42d053499150c3aac9ad938d7c13"


class Clock:
    """Seconds that only :attr:`now` moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def stage(index: int, name: str, base: str, *texts: str) -> dict[str, Any]:
    steps = [{"id": f"{index}.{number}", "text": text} for number, text in enumerate(texts, 1)]
    return {"type": "stage", "stage": index, "name": name, "base": base, "steps": steps}


def step(name: str, status: str, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"type": "step", "id": name, "status": status, "seconds": seconds, **more}


def ran(name: str, seconds: float = 0.0, status: str = "done") -> list[dict[str, Any]]:
    return [step(name, "running"), step(name, status, seconds)]


def output(name: str, text: str, stream: str = "stdout") -> dict[str, Any]:
    return {"type": "output", "id": name, "stream": stream, "text": text}


TWO_STAGES = [
    stage(0, "build", "debian", "ENV A=1", "COPY . /src", "RUN make"),
    stage(1, "stage-1", "scratch", "COPY --from=build /src/x /x", 'CMD ["/x"]'),
    *ran("0.0"), *ran("1.0"), *ran("0.1"), *ran("0.2", 0.01, "cached"),
    step("0.3", "running"), output("0.3", "cc main.c\nlin"), output("0.3", "k\n"),
]  # fmt: skip
REST = [step("0.3", "done", 1.24), *ran("1.1", 0.1), *ran("1.2")]
IMAGE = {"type": "image", "id": ID, "names": ["app:latest", "app:2"], "seconds": 2.5}


def state(*events: dict[str, Any], names: tuple[str, ...] = ("app",)) -> BuildState:
    found = BuildState(names, Clock())
    for event in events:
        found.add(event)
    return found


# --- the tree ---


def test_a_build_that_runs_is_a_tree_with_the_last_lines_of_what_runs() -> None:
    found = state(*TWO_STAGES)
    found.clock.now = 1.0  # type: ignore[attr-defined]
    assert lines(found, 50) == [
        "Building app  1.0s  1/3 steps, 1 cached",
        "build  FROM debian",
        "  ✓ ENV A=1",
        "  ✓ COPY . /src                             cached",
        "  ▶ RUN make                                  1.0s",
        "      cc main.c",
        "      link",
        "stage-1  FROM scratch",
        "  · COPY --from=build /src/x /x",
        '  · CMD ["/x"]',
    ]


def test_at_its_end_it_says_what_was_built_and_how_long_each_step_took() -> None:
    assert str(state(*TWO_STAGES, *REST, IMAGE)).splitlines() == [
        "Built app:latest, app:2  201ca15805f7  2.5s  3 steps, 1 cached",
        "build  FROM debian",
        "  ✓ ENV A=1",
        f"  ✓ {'COPY . /src':<90}cached",
        f"  ✓ {'RUN make':<92}1.2s",
        "stage-1  FROM scratch",
        f"  ✓ {'COPY --from=build /src/x /x':<92}0.1s",
        '  ✓ CMD ["/x"]',
    ]


def test_a_failed_step_keeps_its_last_lines_and_those_beside_it_are_canceled() -> None:
    found = state(*TWO_STAGES, step("1.0", "running"), step("0.3", "failed", 2.0, error="exit code: 2"))
    found.end(stopped=False)
    text = str(found)
    assert text.startswith("Failed: app")
    assert "  ✗ RUN make" in text
    assert "      link" in text
    assert (found.outcome, found.stages[1].base.status, found.failed) == (
        FAILED,
        CANCELED,
        found.stages[0].steps["0.3"],
    )


def test_a_step_that_failed_without_a_word_says_why() -> None:
    found = state(
        stage(0, "stage-0", "nope", "RUN x"), step("0.0", "running"), step("0.0", "failed", error="No such image")
    )
    assert "      No such image" in lines(found)


def test_what_the_user_stopped_is_not_called_failed() -> None:
    found = state(*TWO_STAGES)
    found.end(stopped=True)
    assert str(found).startswith("Stopped: app")
    assert found.stages[0].steps["0.3"].status == CANCELED


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (10, ["  ✓ ENV A=1", "  · COPY --from=build /src/x /x"]),
        (9, ["  ✓ ENV A=1", "stage-1  FROM scratch  (· 2 to do)"]),
        (7, ["  … ✓ 2 done", "stage-1  FROM scratch  (· 2 to do)"]),
        (6, ["  … ✓ 2 done", "      link"]),
        (2, ["build  FROM debian"]),
    ],
)
def test_a_small_screen_gets_a_folded_tree(room: int, kept: list[str]) -> None:
    found = fitted(state(*TWO_STAGES), 80, room)
    assert len(found) <= room
    assert set(kept) <= set(found)


def test_stages_that_have_ended_are_folded_first() -> None:
    found = state(*TWO_STAGES, step("0.3", "done", 1.0), step("1.1", "running"))
    assert fitted(found, 80, 7)[:3] == [
        "Building app  0.0s  2/3 steps, 1 cached",
        "build  FROM debian  (✓ 3 done)",
        "stage-1  FROM scratch",
    ]


def test_lines_are_never_wider_than_the_screen() -> None:
    found = state(stage(0, "s", "b", "RUN " + "x" * 500), step("0.1", "running"), output("0.1", "y" * 500))
    for width in (20, 50, 200):
        assert max(map(len, lines(found, width))) <= width


def test_colours_are_only_there_where_they_are_wanted() -> None:
    assert "\x1b" not in "".join(lines(state(*TWO_STAGES)))
    assert any(line.startswith("\x1b[1m  ▶ RUN make") for line in lines(state(*TWO_STAGES), colours=True))


def test_onbuild_steps_of_a_base_come_first_when_they_are_known() -> None:
    found = state(
        stage(0, "stage-0", "b", "RUN own"),
        *ran("0.0"),
        stage(0, "stage-0", "b", "RUN trigger", "RUN own"),
        *ran("0.1"),
    )
    assert [one.text for one in found.all_steps()] == ["FROM b", "RUN trigger", "RUN own"]
    assert [one.status for one in found.all_steps()] == [DONE, DONE, "waiting"]


def test_steps_of_an_unknown_stage_are_shown_all_the_same() -> None:
    assert "  ✓" in str(state(*ran("7.2")))


def test_warnings_have_their_line() -> None:
    assert lines(state({"type": "warning", "text": "mind", "line": 3}, {"type": "warning", "text": "b", "line": 0}))[1:] == [
        "⚠ mind (line 3)", "⚠ b"]  # fmt: skip


def test_what_is_pulled_is_shown_while_it_comes() -> None:
    message = {"status": "Downloading", "id": "abc", "progressDetail": {"current": 5, "total": 10}}
    found = state(
        stage(0, "stage-0", "debian"), step("0.0", "running"), {"type": "progress", "id": "0.0", "message": message}
    )
    assert lines(found)[2].startswith("      abc: Downloading")
    assert "progressbar" in found._repr_html_()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0s"), (59.94, "59.9s"), (60, "1m00s"), (3725, "62m05s")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- output ---


def test_output_is_cut_into_lines_of_each_stream() -> None:
    found = Output()
    assert found.add("stdout", "a", 0) == []
    assert [line.text for line in found.add("stderr", "x\ny", 0)] == ["x"]
    assert [line.text for line in found.add("stdout", "b\nc\n", 1)] == ["ab", "c"]
    assert found.last(9) == ["x", "ab", "c", "y"]
    assert [line.text for line in found.end(2)] == ["y"]
    assert found.count == 4


def test_progress_bars_leave_what_a_screen_would_show() -> None:
    found = Output()
    for text in ("10%\r", "20%", "\r\x1b[32m30", "%\x1b[0m"):
        found.add("stdout", text, 0)
    assert found.last(9) == ["30%"]
    assert [line.text for line in found.add("stdout", "\r\n", 0)] == ["30%"]


def test_what_is_kept_of_output_is_bounded() -> None:
    found = Output()
    found.add("stdout", "z\n" * (MOST_LINES + 7), 0)
    assert (len(found.lines), found.dropped) == (MOST_LINES, 7)
    found.add("stdout", "y" * 200_000, 0)
    assert len(found.lines[-1].text) == LONGEST
    for _ in range(50):
        found.add("stdout", "progress\r" * 1000, 0)
    assert sum(map(len, found._parts.values())) < 100


# --- HTML ---

HOSTILE = "<script>alert(1)</script>'\"&\x1b]0;title\x07\x1b[2J\u202e<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Which tags and attributes there are, and that each is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def hostile() -> BuildState:
    return state(
        stage(0, HOSTILE, HOSTILE, f"RUN {HOSTILE}", f"COPY {HOSTILE} /"), step("0.0", "running"),
        {"type": "progress", "id": "0.0", "message": {"status": HOSTILE, "id": HOSTILE, "progressDetail": {"current": 1}}},
        step("0.1", "running"), output("0.1", HOSTILE + "\n"), step("0.1", "failed", error=HOSTILE),
        step("0.2", "failed", error=HOSTILE),
        {"type": "warning", "text": HOSTILE, "line": 1}, names=(HOSTILE,),
    )  # fmt: skip


def test_107_what_strangers_write_is_text_and_nothing_else() -> None:
    """As HTML and on a terminal: no tags, no attributes, no control characters of theirs."""
    for found in (hostile(), state(*TWO_STAGES, *REST, IMAGE)):
        tags = Tags(found._repr_html_())
        assert tags.open == []
        assert tags.tags <= {"div", "span", "b", "code", "details", "summary", "pre", "table", "tr", "td"}
        assert not {name for name in tags.attributes if name.startswith("on") or name in ("src", "href")}
    text = f"{hostile()}{hostile()._repr_html_()}{Plain(hostile()).end(False)}"
    assert not any(character in text for character in "\x1b\x07\u202e")


def test_html_takes_its_colours_from_the_front_end() -> None:
    html = hostile()._repr_html_()
    assert "#" not in html.replace("&#x27;", "").replace("&#39;", "")
    assert "var(--jp-error-color1, currentColor)" in html


def test_html_is_small_while_it_runs_and_whole_at_the_end() -> None:
    many = [step("0.3", "running"), output("0.3", "".join(f"part {number}\n" for number in range(100)))]
    running = state(*TWO_STAGES, *many)
    assert "part 99" in running._repr_html_()
    assert "part 9\n" not in running._repr_html_()
    done = state(*TWO_STAGES, *many, *REST, IMAGE)._repr_html_()
    assert "part 9\n" in done
    assert "102 lines · 1.2s" in done
    assert "<details><summary" in done, "folded: it is the reader's choice"


def test_html_opens_the_output_of_what_failed() -> None:
    found = state(*TWO_STAGES, step("0.3", "failed", 1, error="exit code: 2"))
    found.end(stopped=False)
    assert "<details open><summary style='display:flex" in found._repr_html_()


# --- plain ---


def plain(*events: dict[str, Any], clock: Clock | None = None) -> tuple[Plain, list[str]]:
    found = Plain(BuildState(clock=clock or Clock()))
    return found, [line for event in events for line in found.add(event)]


def test_plain_lines_are_buildkits() -> None:
    clock = Clock()
    printer, said = plain(*TWO_STAGES[:-2], clock=clock)
    clock.now = 0.132
    for event in (*TWO_STAGES[-2:], *REST, {"type": "warning", "text": "mind", "line": 3}, IMAGE):
        said += printer.add(event)
    assert said == [
        "#1 [build 1/3] FROM debian",
        "#1 DONE 0.0s",
        "",
        "#2 [stage-1 1/2] FROM scratch",
        "#2 DONE 0.0s",
        "",
        "#3 [build 2/3] COPY . /src",
        "#3 CACHED",
        "",
        "#4 [build 3/3] RUN make",
        "#4 0.132 cc main.c",
        "#4 0.132 link",
        "#4 DONE 1.2s",
        "",
        "#5 [stage-1 2/2] COPY --from=build /src/x /x",
        "#5 DONE 0.1s",
        "",
        "#6 exporting to image",
        f"#6 writing image {ID} done",
        "#6 naming to app:latest done",
        "#6 naming to app:2 done",
        "#6 DONE 2.5s",
        "",
        " 1 warning found:",
        " - mind (line 3)",
    ]


def test_a_single_stage_without_a_name_needs_none() -> None:
    _, said = plain(stage(0, "stage-0", "debian", "RUN x"), *ran("0.0"))
    assert said[0] == "#1 [1/2] FROM debian"


def test_one_step_has_the_floor_and_others_wait_for_it() -> None:
    clock = Clock()
    printer, said = plain(
        stage(0, "a", "x", "RUN one"), stage(1, "b", "x", "RUN two"),
        step("0.1", "running"), step("1.1", "running"), output("1.1", "of two\n"), output("0.1", "of one\n"),
        clock=clock)  # fmt: skip
    assert said == ["#1 [a 2/2] RUN one", "#1 0.000 of one"]
    clock.now = 3.0
    assert printer.add(output("1.1", "more\n")) == [
        "#1 ...",
        "",
        "#2 [b 2/2] RUN two",
        "#2 0.000 of two",
        "#2 3.000 more",
    ]
    assert printer.add(step("0.1", "done", 3.2)) == []
    assert printer.add(step("1.1", "done", 3.3)) == ["#2 DONE 3.3s", "", "#1 [a 2/2] RUN one", "#1 DONE 3.2s"]


def test_a_chatty_step_gives_the_floor_away_after_a_while() -> None:
    clock = Clock()
    printer, _ = plain(
        stage(0, "a", "x", "RUN one"), stage(1, "b", "x", "RUN two"), step("0.1", "running"), clock=clock
    )
    printer.add(step("1.1", "running"))
    said = []
    for _ in range(60):
        clock.now += 0.1
        said += printer.add(output("0.1", "chat\n"))
    assert "#2 [b 2/2] RUN two" in said


def test_plain_repeats_what_the_failed_step_said_last() -> None:
    printer, said = plain(*TWO_STAGES, step("0.3", "failed", 1.0, error="exit code: 2"))
    assert said[-1] == "#4 ERROR: exit code: 2"
    assert printer.end(stopped=False) == ["------", " > [build 3/3] RUN make:", "cc main.c", "link", "------"]


def test_plain_says_what_was_stopped() -> None:
    printer, _ = plain(*TWO_STAGES)
    assert printer.end(stopped=True) == ["#4 CANCELED"]


def test_an_instruction_that_only_configures_is_told_when_it_fails() -> None:
    _, said = plain(
        stage(0, "stage-0", "x", "ENV A=${"), *ran("0.0"), step("0.1", "running"), step("0.1", "failed", error="no end")
    )
    assert said[-2:] == ["#2 [2/2] ENV A=${", "#2 ERROR: no end"]
