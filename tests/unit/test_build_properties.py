"""Any text at all is a Dockerfile or a located error, and soon."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyter_containers.build.configure import apply
from jupyter_containers.build.dockerfile import Dockerfile, instruction, parse
from jupyter_containers.build.expand import expand
from jupyter_containers.build.instructions import KEYWORDS
from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import Lexer
from jupyter_containers.errors import DockerfileError

PIECES = [*KEYWORDS, *"\n\n\n   \\\\`'\"$#=,-/<>{}[]:*?%.09az\t\r", "<<A", "A\n", "<<-", "--", "--mount=", "--from=", "type=", "cache",
          "secret", "target=/x", "${A:-", "${A/", "}", "${A#", '["a"]', "\\\n", " AS ", "NONE", "CMD", "# escape=`\n", "é", "\u2028",
          "\ufeff", "\x00", "\ud800"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=80)
files = texts.map("FROM a\n".__add__) | texts
ENV = {"A": "x y", "B": "$A", "E": ""}


@settings(max_examples=1500, deadline=None)
@given(files)
@example("FROM a\nRUN <<A\n")
@example("FROM a\n" + "ONBUILD " * 2000)
@example("# escape=`\r\n\r\nFROM a`\r\n")
def test_any_text_parses_or_is_refused_within_the_file(text: str) -> None:
    try:
        file = parse(text)
    except DockerfileError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert error.column >= 1
        assert "\n" not in str(error)
        assert error.excerpt.splitlines()[0] == f"Dockerfile:{error.line}"
        return
    check(file)


def check(file: Dockerfile) -> None:
    """Lines rise, and every instruction is expanded and applied, or refused."""
    last = 0
    for stage in file.stages:
        for one in (stage.base, *stage.instructions):
            assert last < one.location.first <= one.location.last <= len(file.source.lines)
            assert "\n" not in one.text
            last = one.location.last
            try:
                apply({}, expand(one, ENV, file.directives.escape))
            except DockerfileError as error:
                assert one.location.first <= error.line <= one.location.last


@settings(max_examples=1500, deadline=None)
@given(texts)
def test_any_word_is_expanded_or_refused(text: str) -> None:
    for lexer in (Lexer(), Lexer("`", skip_quotes=True), Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)):
        try:
            found = lexer.expand(text, ENV)
        except Fault:
            continue
        assert all(found.words)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_characters="'\n\r", exclude_categories=["Cs"])))
def test_what_is_in_single_quotes_stays(text: str) -> None:
    assert Lexer().word(f"'{text}'", ENV) == text


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?.", max_size=30), st.text("ab*?", min_size=1, max_size=12))
def test_patterns_are_as_a_shells(text: str, pattern: str) -> None:
    import fnmatch
    import re

    shell = re.compile(fnmatch.translate(pattern))
    ends = [end for end in range(len(text) + 1) if shell.match(text[:end])]
    env = {"X": text}
    assert Lexer().word(f"${{X#{pattern}}}" if pattern[0] != "#" else "", env) == text[ends[0] if ends else 0 :]
    assert Lexer().word(f"${{X##{pattern}}}", env) == text[ends[-1] if ends else 0 :]
    starts = [start for start in range(len(text) + 1) if shell.match(text[start:])]
    assert Lexer().word(f"${{X%{pattern}}}", env) == text[: starts[-1] if starts else None]
    assert Lexer().word(f"${{X%%{pattern}}}", env) == text[: starts[0] if starts else None]


@pytest.mark.parametrize(
    "line",
    ["RUN a\n", "RUN a \\\n b\n", "ENV a=b \\\n", "ENV a='b c' ", "RUN <<a <<b\na\nb\n", "COPY <<a ", "'", '"', "${a:-", "${a/", "\\ ", " ",
     "--mount=type=cache,target=/a ", "[", '["a"', "#\n", "FROM a AS a\n", "<", "<<", "ONBUILD ", "ARG a=${b}\n", "$a", "RUN it's <<a\n", "LABEL x\n"],
)  # fmt: skip
def test_a_hundred_kilobytes_take_less_than_a_second(line: str) -> None:
    body = line * (100_000 // len(line))
    for before in ("FROM a\n", "FROM a\nRUN <<x ", "FROM a\nCOPY ", "# escape="):
        # A line may have 65535 bytes: longer ones are continued.
        text = before + (body if "\n" in line else "\\\n".join([body[:50_000], body[50_000:]]))
        begin = time.perf_counter()
        try:
            check(parse(text))
        except DockerfileError:
            pass
        assert time.perf_counter() - begin < 1, before


def test_a_very_long_instruction_is_expanded_in_time() -> None:
    begin = time.perf_counter()
    found = expand(instruction("ENV " + ("a=$A " * 10000 + "\\\n") * 2), ENV)
    assert len(found.pairs) == 20000  # type: ignore[attr-defined]
    assert time.perf_counter() - begin < 1
