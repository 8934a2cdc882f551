"""Text to nodes: directives, continued lines, here-documents, flags, places and errors."""

from __future__ import annotations

import pytest

from jupyter_containers.build.dockerfile import parse as parse_file
from jupyter_containers.build.parser import Directives, Node, parse
from jupyter_containers.build.source import Location, Source
from jupyter_containers.errors import ContainersError, DockerfileError


def nodes(text: str) -> list[Node]:
    return parse(Source(text))[1]


def only(text: str) -> Node:
    [found] = nodes(text)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a", Directives()),
        ("# syntax=docker/dockerfile:1 // more\nFROM a", Directives("docker/dockerfile:1")),
        ("#ESCAPE = `\r\n#check=skip=all;error=true\r\n# syntax = x\r\nFROM a", Directives("x", "`", "skip=all;error=true")),
        ("\ufeff# syntax=x\nFROM a", Directives("x")),
        ("#!/usr/bin/env builder\n# syntax=x\n# escape=`\nFROM a", Directives("x")),
        ("# a comment\n# escape=`\nFROM a", Directives()),
        ("\n# escape=`\nFROM a", Directives()),
        ("# unknown=x\n# escape=`\nFROM a", Directives()),
        ("# syntax=x\n\n# escape=`\nFROM a", Directives("x")),
    ],
)  # fmt: skip
def test_directives_stand_at_the_top(text: str, expected: Directives) -> None:
    assert parse(Source(text))[0] == expected


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("# escape=x\nFROM a", 1, "invalid escape token"), ("# escape=\\\\\nFROM a", 1, "invalid escape token"),
        ("# escape=`\n# Escape=\\\nFROM a", 2, "only one escape"), ("# syntax=a\n# check=b\n# syntax=a", 3, "only one syntax"),
        ("", 1, "no instructions"), ("# only\n\n", 3, "no instructions"), ("\\\n\\\n", 1, "unknown instruction"),
        ("FROM a\nENV A", 2, "two arguments"), ("FROM a\nENV A=1 \\\n  B", 3, "can't find ="),
        ("FROM a\nCMD [1]", 2, "strings only"), ("FROM a\nRUN [\"a\", true]", 2, "strings only"),
        ("FROM a\nRUN <<EOF\nEOF \n", 2, "here-document EOF has no end"), ("FROM a\n\nRUN x" + "x" * 65536, 3, "longer than"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_dockerfile_is_refused_at_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(DockerfileError, match=what) as caught:
        parse_file(text, "Dockerfile")
    assert (caught.value.line, caught.value.where) == (line, f"Dockerfile:{line}")


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("RUN a \\\n  b", "RUN a   b"), ("RUN a \\ \t\n  b", "RUN a   b"), ("RUN a\\\n# no\n   # no\n\n \t\n b", "RUN a b"),
        ("  RUN a \\\r\n b\r\n", "RUN a  b"), ("RUN a \\\\\n", "RUN a \\\\"), ("RUN a \\", "RUN a"), ("\\\nRUN a", "RUN a"),
        ("RUN a # yes", "RUN a # yes"), ("# escape=`\nRUN a `\n b\\", "RUN a  b\\"), ("run a", "run a"),
        ("RUN a \\\n\\\nb", "RUN a b"), ("\ufeffRUN a", "RUN a"), ("\v RUN a\x85", "RUN a"),
    ],
)  # fmt: skip
def test_an_instruction_is_one_line(text: str, joined: str) -> None:
    assert only(text).text == joined


def test_nodes_know_their_lines() -> None:
    text = "\n\nFROM a\n# c\nRUN x \\\n\n  y\nRUN <<A\n1\nA\nUSER b"
    assert [(node.location.first, node.location.last) for node in nodes(text)] == [(3, 3), (5, 7), (8, 10), (11, 11)]


@pytest.mark.parametrize(
    ("line", "flags", "words"),
    [
        ("COPY --a --b=c x y", ("--a", "--b=c"), ("x", "y")), ("COPY --a='b c' x", ("--a=b c",), ("x",)),
        ('COPY --"a b" --c\\ d x', ("--a b", "--c d"), ("x",)), ("COPY -- --a x", (), ("--a", "x")),
        ("COPY x --a", (), ("x", "--a")), ("COPY - x", (), ("-", "x")), ("CMD --a", ("--a",), ()),
        ("COPY --chown=à:ü é x", ("--chown=à:ü",), ("é", "x")), ("COPY --a\\", ("--a",), ()),
        ("COPY\tx\v y\fz", (), ("x", "y", "z")), ("USER  a b ", (), ("a b",)), ("ARG a='b c' d", (), ("a='b c'", "d")),
        ("ENV a b  c", (), ("a", "b  c", "")), ("ENV a=b 'c d'=e", (), ("a", "b", "=", "'c d'", "e", "=")),
        ("ENV a=b\\ c d=\"e f\\\"\" g=", (), ("a", "b\\ c", "=", "d", '"e f\\""', "=", "g", "", "=")),
        ("HEALTHCHECK --a=b cmd  x y", ("--a=b",), ("cmd", "x y")), ("HEALTHCHECK NONE", (), ("NONE",)),
    ],
)  # fmt: skip
def test_flags_and_arguments(line: str, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    found = only(line)
    assert (found.flags, found.arguments.words, found.arguments.json) == (flags, words, False)


@pytest.mark.parametrize(
    ("line", "words", "json"),
    [
        ('CMD ["a", "b c"]', ("a", "b c"), True), ('cmd [ ]', (), True), ("CMD ['a']", ("['a']",), False),
        ('CMD ["a"', ('["a"',), False), ('CMD ["\\ud800\\u0041"]', ("\ufffdA",), True), ("CMD [NaN]", ("[NaN]",), False),
        ('VOLUME ["/a", "/b"]', ("/a", "/b"), True), ("VOLUME /a  /b", ("/a", "/b"), False), ('COPY ["a b", "c"]', ("a b", "c"), True),
        ('HEALTHCHECK CMD ["a"]', ("CMD", "a"), True), ("EXPOSE [1]", ("[1]",), False), ('CMD "a"', ('"a"',), False),
        ("CMD " + "[" * 60000, ("[" * 60000,), False),
    ],
)  # fmt: skip
def test_the_exec_form_is_a_json_list(line: str, words: tuple[str, ...], json: bool) -> None:
    found = only(line)
    assert (found.arguments.words, found.arguments.json) == (words, json)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN <<EOF\na\nEOF", [("EOF", "a\n", True, False, 0)]), ("RUN 3<<EOF\nEOF", [("EOF", "", True, False, 3)]),
        ("RUN <<-EOF\n\ta\n\tEOF", [("EOF", "\ta\n", True, True, 0)]), ("RUN <<-'E'\n\ta\nE", [("E", "\ta\n", False, True, 0)]),
        ('RUN <<"EOF"\n$a\nEOF', [("EOF", "$a\n", False, False, 0)]), ("RUN <<e'o'f\neof", [("eof", "", False, False, 0)]),
        ("RUN <<e\\'f\ne'f", [("e'f", "", True, False, 0)]), ("RUN <<'a b'\na b", [("a b", "", False, False, 0)]),
        ("RUN <<  EOF > x\nEOF", [("EOF", "", True, False, 0)]), ("RUN <<$EOF\n$EOF", [("$EOF", "", True, False, 0)]),
        ("COPY <<a <<b /x/\n1\na\n2\nb", [("a", "1\n", True, False, 0), ("b", "2\n", True, False, 0)]),
        ("ADD <<a.txt /x\r\n1\r\na.txt\r\n", [("a.txt", "1\r\n", True, False, 0)]), ("RUN cat <<E \\\n | x\n# a\n\\\nE", [("E", "# a\n\\\n", True, False, 0)]),
        ("ONBUILD RUN <<E\na\nE", [("E", "a\n", True, False, 0)]), ("RUN --mount=type=cache,target=/x <<E\nE", [("E", "", True, False, 0)]),
    ],
)  # fmt: skip
def test_here_documents(text: str, expected: list[tuple[object, ...]]) -> None:
    found = only(text).heredocs
    assert [(one.name, one.content, one.expand, one.chomp, one.descriptor) for one in found] == expected


@pytest.mark.parametrize(
    "line", ['RUN "<<EOF"', "RUN <<<EOF", "RUN a<<EOF", 'RUN ["a", "<<EOF"]', "USER <<EOF", "RUN it's <<EOF", "RUN 1 << 2<3"]
)  # fmt: skip
def test_what_is_no_here_document(line: str) -> None:
    assert [node.heredocs for node in nodes(f"{line}\nUSER EOF")] == [(), ()]


def test_a_here_documents_tabs_are_chomped() -> None:
    assert only("RUN <<-A\n\ta\n\t\tb\n \tc\n\tA").heredocs[0].chomped == "a\nb\n \tc\n"


# --- errors ---


def refused(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        parse_file(text, "sub/Dockerfile")
    return caught.value


def test_an_error_shows_the_lines_around_and_a_caret() -> None:
    error = refused("FROM a\n\nWORKDIR /x\nRUN \\\n\t--mount=type=bind,traget=/x \\\n  ls\nUSER x\nCMD y\n")
    assert str(error) == "sub/Dockerfile:5: unexpected key 'traget' in 'traget=/x'. Did you mean target?"
    assert (error.line, error.column) == (5, 20)
    assert error.excerpt == (
        "sub/Dockerfile:5\n"
        "--------------------\n"
        "   3 |     WORKDIR /x\n"
        "   4 | >>> RUN \\\n"
        "   5 | >>> \t--mount=type=bind,traget=/x \\\n"
        "     |     \t                  ^\n"
        "   6 | >>>   ls\n"
        "   7 |     USER x\n"
        "--------------------"
    )


def test_an_error_stays_one_line_and_short() -> None:
    for last in (
        "ENV " + "z" * 2000,
        "RUN <<" + "z" * 2000,
        "z" * 2000,
        "ENV a=b \\\n" + "c=d \\\n" * 300 + "e",
        "FROM a AS " + "z" * 20 + "!",
    ):
        error = refused("FROM a\nRUN " + "x" * 500 + f" \n{last}")
        assert "\n" not in str(error)
        assert len(str(error)) < 400
        assert max(map(len, error.excerpt.splitlines())) < 180
        assert len(error.excerpt.splitlines()) < 20


def test_an_error_crosses_process_borders() -> None:
    error = refused("FROM a\nRUNN x")
    again = ContainersError.from_dict(error.to_dict())
    assert type(again) is DockerfileError
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)
    assert again.status == 400


@pytest.mark.parametrize(
    ("line", "caret", "mend"),
    [
        ("RUNN x", "RUNN", "Did you mean RUN?"), ("coppy a b", "coppy", "Did you mean COPY?"),
        ("ENTRYPIONT x", "ENTRYPIONT", "Did you mean ENTRYPOINT?"), ("XYZZY", "XYZZY", "Known are ADD, ARG,"),
        ("COPY --chwon=a x y", "--chwon", "Did you mean --chown?"), ("ADD --chekcsum=x a b", "--chekcsum", "Did you mean --checksum?"),
        ("RUN --mount=type=cahce,target=/x y", "type=cahce", "Did you mean cache?"), ("RUN --netwrok=none x", "--netwrok", "Did you mean --network?"),
        ("RUN --network=hots x", "hots", "Did you mean host?"), ("RUN --security=x y", "x", "Known are sandbox, insecure."),
        ("HEALTHCHECK --intervall=1s CMD x", "--intervall", "Did you mean --interval?"), ("HEALTHCHECK CMMD x", "CMMD", "Did you mean CMD?"),
        ("WORKDIR --x /a", "--x", "This instruction has no flags."), ("ONBUILD COPPY a b", "COPPY", "Did you mean COPY?"),
        ("RUN --mount=type=cache,target=/x,sharing=lockd y", "sharing=lockd", "Did you mean locked?"), ("FROM b AS 1x", "1x", "starts with a letter"),
    ],
)  # fmt: skip
def test_a_misspelt_word_is_marked_and_mended(line: str, caret: str, mend: str) -> None:
    error = refused(f"FROM a\n{line}")
    assert (error.line, error.column) == (2, line.index(caret) + 1)
    assert mend in error.mend


def test_a_place_without_its_text_still_makes_an_error() -> None:
    error = Location(3, 4).error("wrong", "x")
    assert (error.line, error.where) == (3, "Dockerfile:3")
