"""Words: quotes, escapes, variables and patterns; what the conformance tables leave out."""

from __future__ import annotations

import time

import pytest

from jupyter_containers.build import wildcards
from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import Lexer

ENV = {"A": "1", "S": "two words", "E": "", "P": "/usr/lib/x.tar.gz", "D": "a$b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"), ("$A$A", "11"), ("${A}0", "10"), ("$AB", ""), ("a\\$A", "a$A"), ("'$A'", "$A"),
        ('"$A\\"\\x"', '1"\\x'), ("$", "$"), ("a$", "a$"), ("$$", ""), ("é$Aé", "é"), ("${A}é", "1é"),
        ("${P##*/}", "x.tar.gz"), ("${P#*/}", "usr/lib/x.tar.gz"), ("${P%.*}", "/usr/lib/x.tar"),
        ("${P%%.*}", "/usr/lib/x"), ("${P%?gz}", "/usr/lib/x.tar"), ("${P#nothing}", "/usr/lib/x.tar.gz"),
        ("${P/usr/opt}", "/opt/lib/x.tar.gz"), ("${P//\\//:}", ":usr:lib:x.tar.gz"), ("${P/*tar/y}", "y.gz"),
        ("${P//./}", "/usr/lib/xtargz"), ("${A//1/$D}", "a$b"), ("${A/1/$D}", "a$b"), ("${A/1/\\}}", "\\}"),
        ("${E:-${A:+${S#* }}}", "words"), ("${U-'$A}'}", "$A}"), ("${U:-\"$A }\"}", "1 }"), ("${S/ /\\/}", "two\\/words"),
        ("${A:?no}", "1"), ("${E?no}", ""), ("${A+x}${E+y}${U+z}", "xy"), ("${A:+x}${E:+y}", "x"), ("<<$A", "<<1"),
    ],
)  # fmt: skip
def test_a_word_is_expanded(text: str, expected: str) -> None:
    assert Lexer().word(text, ENV) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("'", "single quote"), ('"', "double quote"), ('"$A', "double quote"), ("${A", "missing }"), ("${", "missing }"),
        ("${A:-", "missing }"), ("${A:-'}", "single quote"), ("${A/x", "missing /"), ("${A/x/", "missing }"),
        ("${}", "bad substitution"), ("${:x}", "bad substitution"), ("${{A}}", "bad substitution"),
        ("${A!x}", "unsupported modifier"), ("${A:=x}", "unsupported modifier"), ("${A:#x}", "unsupported modifier"),
        ("${U?is needed$A}", "U: is needed1"), ("${U:?}", "U: is not allowed to be unset"),
        ("${E:?}", "E: is not allowed to be empty"), ("${P#\\x}", "invalid escape"), ("${A:-" * 60 + "}" * 60, "nested"),
    ],
)  # fmt: skip
def test_a_word_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(Fault, match=why.replace("?", r"\?")):
        Lexer().word(text, ENV)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []), ("  a  b ", ["a", "b"]), ("$S", ["two", "words"]), ('"$S"', ["two words"]), ("x$S", ["xtwo", "words"]),
        ("a\\ b c", ["a b", "c"]), ("'' a", ["a"]), ("a${U:-b c}d e", ["ab", "cd", "e"]), ("x <<  EOF y", ["x", "<<  EOF", "y"]),
        ("a\u00a0b\x1cc", ["a", "b\x1cc"]),
    ],
)  # fmt: skip
def test_a_text_is_split_after_it_is_expanded(text: str, expected: list[str]) -> None:
    assert Lexer().split(text, ENV) == expected


def test_the_escape_character_can_be_a_backtick() -> None:
    assert Lexer("`").word(r'C:\x\`$A "`"$A"', ENV) == r'C:\x\$A "1'


def test_what_is_kept_raw_stays_as_written() -> None:
    written = "a 'b c' \"d$U\" ${U:-e} \\$f"
    assert Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True).word(written, ENV) == written
    assert Lexer(skip_quotes=True).word('it\'s "$A" \\$A', ENV) == 'it\'s "1" $A'


def test_variables_that_were_looked_at_are_told() -> None:
    found = Lexer().expand("$A ${U:-$V} ${E#x}", ENV)
    assert (found.used, found.unset) == ({"A", "E"}, {"U", "V"})


@pytest.mark.parametrize(
    ("text", "pattern", "shortest", "longest"),
    [("aXbXc", "*X", "bXc", "c"), ("abc", "?", "bc", "bc"), ("abc", "*", "abc", ""), ("", "*", "", ""),
     ("a*b", "a\\*", "b", "b"), ("abcabc", "a*b*", "cabc", ""), ("a.c", "a.c", "", ""), ("abc", "a.c", "abc", "abc"),
     ("é🚀x", "??", "x", "x"), ("abab", "a*b", "ab", "")],
)  # fmt: skip
def test_prefixes_by_pattern(text: str, pattern: str, shortest: str, longest: str) -> None:
    assert wildcards.without_prefix(text, pattern, False) == shortest
    assert wildcards.without_prefix(text, pattern, True) == longest


@pytest.mark.parametrize(
    ("text", "pattern", "new", "once", "everywhere"),
    [("aaa", "a", "b", "baa", "bbb"), ("abcabc", "a*c", "-", "-", "-"), ("xxyy", "", "-", "-xxyy", "-x-x-y-y-"),
     ("abc", "*", "-", "-", "-"), ("a.b.c", ".", "", "ab.c", "abc"), ("abab", "b?", "\\1", "a\\1b", "a\\1b"),
     ("", "x", "y", "", ""), ("", "", "y", "y", "y")],
)  # fmt: skip
def test_replacing_by_pattern(text: str, pattern: str, new: str, once: str, everywhere: str) -> None:
    assert wildcards.replaced(text, pattern, new, False) == once
    assert wildcards.replaced(text, pattern, new, True) == everywhere


def test_no_pattern_takes_long() -> None:
    text, pattern = "a" * 30000, "*a" * 30 + "*b"
    begin = time.perf_counter()
    for form in ("#", "##", "%", "%%"):
        assert Lexer().word(f"${{X{form}{pattern}}}", {"X": text}) == text
    assert Lexer().word(f"${{X//{pattern}/y}}", {"X": text}) == text
    assert time.perf_counter() - begin < 1


def test_what_grows_without_end_is_refused() -> None:
    with pytest.raises(Fault, match="more than 1 MiB"):
        Lexer().word("$X" * 50, {"X": "x" * 50000})
