"""Where words are expanded and where not, and what build arguments come to."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_containers.build import scope
from jupyter_containers.build.dockerfile import instruction, parse
from jupyter_containers.build.expand import expand
from jupyter_containers.build.instructions import Arg, From
from jupyter_containers.errors import DockerfileError
from jupyter_containers.image.platforms import Platform
from tests.unit.test_build_instructions import fields

ENV = {"A": "1", "S": "two words", "E": ""}
AMD64, ARM = Platform("linux", "amd64"), Platform("linux", "arm", "v7")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV $A=$S B='$A' C=\"$A\"", {"pairs": (("1", "two words"), ("B", "$A"), ("C", "1"))}),
        ("ENV A=2 B=$A", {"pairs": (("A", "2"), ("B", "1"))}), ("ENV B  $A  x", {"pairs": (("B", "1  x"),)}),
        ("LABEL a.$A=\\$A", {"pairs": (("a.1", "$A"),)}), ("ARG b=$A c", {"args": (("b", "1"), ("c", None))}),
        ("COPY --from=x --chown=$A:$A --chmod=$A --exclude=$A $A \"$S\" /$A/",
         {"from_": "x", "chown": "1:1", "chmod": "1", "exclude": ("$A",), "sources": ("1", "two words"), "destination": "/1/"}),
        ('COPY ["$A", "a\\\\ b", "/"]', {"sources": ("1", "a b"), "destination": "/"}),
        ("ADD --checksum=sha256:$A $A /", {"checksum": "sha256:1", "sources": ("1",), "destination": "/"}),
        ("EXPOSE $S ${A}0/udp '$A'", {"ports": ("two", "words", "10/udp", "$A")}), ("EXPOSE $E $U", {"ports": ()}),
        ("STOPSIGNAL $A", {"signal": "1"}), ("USER $A:$S", {"user": "1:two words"}), ("WORKDIR /$A/'$A'", {"path": "/1/$A"}),
        ("VOLUME /$A /$S", {"paths": ("/1", "/two words")}),
    ],
)  # fmt: skip
def test_words_are_expanded(text: str, expected: dict[str, Any]) -> None:
    found = fields(expand(instruction(text), ENV))
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "text",
    ["RUN echo $A", 'RUN ["$A"]', "RUN <<X\n$A\nX", "CMD $A", 'CMD ["$A"]', "ENTRYPOINT $A", 'SHELL ["$A"]', "MAINTAINER $A",
     "HEALTHCHECK --interval=1s CMD $A", "HEALTHCHECK NONE", "ONBUILD ENV a=$A", "FROM $A"],
)  # fmt: skip
def test_words_are_left_to_others(text: str) -> None:
    assert expand(instruction(text), ENV) == instruction(text)


def test_files_in_the_dockerfile_are_expanded_unless_quoted() -> None:
    found = expand(instruction("COPY <<x <<'y' /\nit's \"$A\" \\$A `\nx\n$A\ny"), ENV, "`")
    assert [document.content for document in fields(found)["files"]] == ['it\'s "1" $A `\n', "$A\n"]


def test_mounts_are_expanded_and_then_checked() -> None:
    run = instruction("RUN --mount=type=$T,target=/$A,id=a$S --mount=from=a,from=b,source=$A,target=/x y")
    assert [mount.from_ for mount in fields(run)["mounts"]] == ["", "b"]
    [first, second] = fields(expand(run, {**ENV, "T": "cache"}))["mounts"]
    assert (first.type, first.target, first.id, first.sharing) == ("cache", "/1", "atwo words", "shared")
    assert (second.from_, second.source) == ("b", "1")
    with pytest.raises(DockerfileError, match="unsupported mount type ''"):
        expand(run, ENV)


def test_the_files_escape_character_holds() -> None:
    assert fields(expand(instruction("WORKDIR C:\\$A`$A", escape="`"), ENV, "`"))["path"] == "C:\\1$A"


@pytest.mark.parametrize(
    ("text", "column"), [("ENV a=b c=${d!}", 11), ("COPY x ${A", 8), ("WORKDIR ${U:?no}", 9), ("USER 'a", 6)]
)
def test_a_malformed_word_is_marked(text: str, column: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(parse(f"FROM a\n{text}").stages[0].instructions[0], ENV)
    assert (caught.value.line, caught.value.column) == (2, column)


# --- build arguments ---


def globals_of(text: str, given: dict[str, str] | None = None) -> dict[str, str]:
    file = parse(text)
    return scope.global_args(file.args, given or {}, scope.predefined(AMD64, ARM, "", given), file.directives.escape)


def test_platforms_are_predefined_and_can_be_given() -> None:
    found = scope.predefined(AMD64, ARM, "last", {"TARGETARCH": "x"})
    assert found == {
        "BUILDPLATFORM": "linux/amd64", "BUILDOS": "linux", "BUILDOSVERSION": "", "BUILDARCH": "amd64", "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7", "TARGETOS": "linux", "TARGETOSVERSION": "", "TARGETARCH": "x", "TARGETVARIANT": "v7",
        "TARGETSTAGE": "last",
    }  # fmt: skip


def test_global_arguments_see_those_before_and_what_is_given() -> None:
    found = globals_of("ARG A=1 B=$A$C\nARG C\nARG D=${B}-$TARGETARCH E\nFROM x", {"C": "3", "F": "unasked"})
    assert {name: found.get(name) for name in "ABCDEF"} == {
        "A": "1",
        "B": "1",
        "C": "3",
        "D": "1-arm",
        "E": None,
        "F": None,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", {"A": "given"}),
        ("A=$Z", {"A": "given"}),
        ("B", {"B": "global"}),
        ("B=default", {"B": "default"}),
        ("C", {"C": None}),
        ("C=", {"C": ""}),
        ("C=1 D=$C$E", {"C": "1", "D": "1env"}),
        ("A=${", {"A": "given"}),
    ],
)
def test_a_stages_argument(text: str, expected: dict[str, str | None]) -> None:
    arg = instruction(f"ARG {text}")
    assert isinstance(arg, Arg)
    assert scope.declare(arg, {"E": "env"}, {"A": "given"}, {"B": "global"}) == expected


def base(text: str, args: dict[str, str]) -> From:
    found = instruction(text)
    assert isinstance(found, From)
    return scope.base(found, args)


def test_a_base_is_expanded_with_the_global_arguments() -> None:
    found = base("FROM --platform=$BUILDPLATFORM deb${X:-ian}:'$V' AS a", {"V": "1", "BUILDPLATFORM": "linux/amd64"})
    assert (found.base, found.platform, found.name) == ("debian:$V", "linux/amd64", "a")


@pytest.mark.parametrize(
    ("text", "what"),
    [("FROM $VERSOIN", r"base name '\$VERSOIN' is empty. Did you mean VERSION\?"), ("FROM --platform=$X a", "platform .* is empty"),
     ("FROM ${VERSION!}", "unsupported modifier")],
)  # fmt: skip
def test_a_base_that_cannot_be(text: str, what: str) -> None:
    with pytest.raises(DockerfileError, match=what):
        base(text, {"VERSION": "1"})


def test_proxies_are_in_both_cases() -> None:
    assert scope.proxies({"http_proxy": "a", "NO_PROXY": "b", "PROXY": "c"}) == {
        "HTTP_PROXY": "a", "http_proxy": "a", "NO_PROXY": "b", "no_proxy": "b"}  # fmt: skip
