"""The shell-like words of a Dockerfile: quotes, escapes and ``$name`` forms.

As BuildKit's ``frontend/dockerfile/shell``: ``$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w} ${x#p} ${x##p}
${x%p} ${x%%p} ${x/p/r} ${x//p/r}``, nested. Where BuildKit's is at fault it is not followed: a ``$`` in what
``${x//p/r}`` puts in is a plain dollar, and text before ``${x:-w}`` is not lost when words are split.

Not here: which words of which instruction are expanded (``expand``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from jupyter_containers.build import wildcards
from jupyter_containers.build.source import Fault

# What Go's unicode.IsSpace takes for a space; Python's str.isspace also takes the separators \x1c to \x1f.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPACE = re.compile(f"[{SPACES}]+")
_SPECIAL_PARAMETERS = "@*#?-$!0"
_MAX_DEPTH = 50
_MAX_SIZE = 1 << 20


@dataclass
class Expansion:
    """What became of a text.

    Args:
        text: it, expanded.
        words: it, split at spaces that were neither quoted nor escaped.
        used: names of variables that were looked up and are set.
        unset: names that are not.
    """

    text: str
    words: list[str]
    used: set[str] = field(default_factory=set)
    unset: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Lexer:
    """How words are read.

    Args:
        escape: the escape character.
        raw_quotes: quotes stay.
        raw_escapes: escape characters stay.
        skip_quotes: quotes have no meaning.
        keep_unset: a variable that is not set stays as written.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    skip_quotes: bool = False
    keep_unset: bool = False

    def word(self, text: str, env: Mapping[str, str]) -> str:
        """*text* expanded, as one word.

        Raises:
            Fault: an open quote or brace, an unknown form, or what ``${x:?...}`` says.
        """
        return self.expand(text, env).text

    def split(self, text: str, env: Mapping[str, str]) -> list[str]:
        """*text* expanded and then split into words; empty ones are none.

        Raises:
            Fault: as :meth:`word`.
        """
        return self.expand(text, env).words

    def expand(self, text: str, env: Mapping[str, str]) -> Expansion:
        """Both, and the variables that were looked at."""
        return _Reader(self, text, env).all()


class _Words:
    """Collects words: plain spaces end one, others belong to it."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._current: list[str] = []

    def add(self, text: str) -> None:
        first, *others = _SPACE.split(text)
        self._current.append(first)
        for part in others:
            self._end()
            self._current.append(part)

    def add_raw(self, text: str) -> None:
        self._current.append(text)

    def done(self) -> list[str]:
        self._end()
        return self._words

    def _end(self) -> None:
        word = "".join(self._current)
        self._words += [word] if word else []
        self._current = []


class _Reader:
    """Reads one text from left to right; ``at`` is the place of the next character."""

    def __init__(self, lexer: Lexer, text: str, env: Mapping[str, str]) -> None:
        self.lexer, self.text, self.env = lexer, text, env
        self.at = self.depth = self.size = 0
        self.raw_escapes = lexer.raw_escapes
        self.used: set[str] = set()
        self.unset: set[str] = set()
        self.special = {"$": self._dollar, "<": self._less}
        if not lexer.skip_quotes:
            self.special |= {"'": self._single_quotes, '"': self._double_quotes}
        self.plain = re.compile(f"[^{re.escape(''.join(self.special) + lexer.escape)}}}/]+")

    def all(self) -> Expansion:
        text, words = self._until("", self.raw_escapes)
        return Expansion(text, words, self.used, self.unset)

    def _until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """What comes before *stop*, which is passed over; before the end where it is empty."""
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Fault(f"variables are nested more than {_MAX_DEPTH} deep", "${")
        try:
            return self._read(stop)
        finally:
            self.raw_escapes = outer
            self.depth -= 1

    def _read(self, stop: str) -> tuple[str, list[str]]:
        out: list[str] = []
        words = _Words()
        while character := self._peek():
            if character == stop:
                self.at += 1
                return "".join(out), words.done()
            read = self.special.get(character)
            if read:
                piece = read()
            elif character == self.lexer.escape:
                piece = self._escaped()
            else:
                piece = self._plain()
            out.append(piece)
            is_split = character == "$" or not (read or character == self.lexer.escape)
            (words.add if is_split else words.add_raw)(piece)
        if stop:
            raise Fault(f"the end comes before a closing {stop}")
        return "".join(out), words.done()

    def _plain(self) -> str:
        """A run of characters without meaning; ``}`` and ``/`` alone, as they may end a form."""
        found = self.plain.match(self.text, self.at)
        piece = found[0] if found else self.text[self.at]
        self.at += len(piece)
        return piece

    def _escaped(self) -> str:
        """The character after an escape character, which stays only where escapes are raw."""
        piece = self.text[self.at + (0 if self.raw_escapes else 1) : self.at + 2]
        self.at += 2
        return piece

    def _single_quotes(self) -> str:
        """All up to the next single quote, as it is (POSIX 2.2.2)."""
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise Fault("a single quote is not closed", self.text[self.at :])
        start, self.at = self.at, end + 1
        return self.text[start : end + 1] if self.lexer.raw_quotes else self.text[start + 1 : end]

    def _double_quotes(self) -> str:
        """All up to the next double quote; ``$`` forms in it are expanded (POSIX 2.2.3)."""
        start = self.at
        quote = '"' if self.lexer.raw_quotes else ""
        out = [quote]
        self.at += 1
        while (character := self._peek()) != '"':
            if not character:
                raise Fault("a double quote is not closed", self.text[start:])
            if character == "$":
                out.append(self._dollar())
            elif character == self.lexer.escape:
                out.append(self._escaped_in_quotes())
            else:
                out.append(self._plain())
        self.at += 1
        return "".join([*out, quote])

    def _escaped_in_quotes(self) -> str:
        """Only ``"``, ``$`` and the escape character can be escaped; before others it is a character."""
        escape = self._next()
        following = self._peek()
        if not following:
            return escape if self.raw_escapes else ""
        if following not in ('"', "$", escape):
            return escape * (2 if self.raw_escapes else 1)
        return (escape if self.raw_escapes else "") + self._next()

    def _less(self) -> str:
        """``<``, or ``<<`` with the blanks before the word of a here-document, which belong to it."""
        start = self.at
        self.at += 1
        if self._peek() == "<":
            self.at += 1
            while self._peek() in ("\t", "\r", " "):
                self.at += 1
        return self.text[start : self.at]

    def _dollar(self) -> str:
        start = self.at
        self.at += 1
        if self._peek() == "{":
            piece = self._braces(start)
        else:
            name = self._name()
            piece = self._variable(name, f"${name}") if name else "$"
        self.size += len(piece)
        if self.size > _MAX_SIZE:
            raise Fault(f"it expands to more than {_MAX_SIZE >> 20} MiB", self.text[start : self.at])
        return piece

    def _braces(self, start: int) -> str:
        self.at += 1
        if self._peek() in ("{", "}", ":"):
            raise self._fault("bad substitution", start)
        name = self._name()
        operator = self._next()
        if operator == ":":
            operator += self._next()
        if operator == "}":
            return self._variable(name, f"${{{name}}}")
        if operator == "/":
            return self._replaced(name, start)
        if not operator or operator == ":":
            raise self._fault("missing }", start)
        if operator in (":#", ":%") or (len(operator) == 1 and operator not in "+-?#%"):
            raise self._fault(f"unsupported modifier ({operator})", start)
        return self._modified(name, operator, start)

    def _modified(self, name: str, operator: str, start: int) -> str:
        word = self._argument("}", operator in "#%", start)
        value = self._get(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{operator}{word}}}"
        missing = value is None or (operator[0] == ":" and not value)
        match operator[-1]:
            case "-":
                return word if missing else value or ""
            case "+":
                return "" if missing else word
            case "?" if missing:
                why = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
                raise Fault(f"{name}: {why}", self.text[start : self.at], f"Set it, as with --build-arg {name}=VALUE.")
            case "?":
                return value or ""
            case "#" | "%":
                return _trimmed(value or "", operator, word)
        raise self._fault(f"unsupported modifier ({operator})", start)

    def _replaced(self, name: str, start: int) -> str:
        everywhere = self._peek() == "/"
        self.at += everywhere
        pattern = self._argument("/", True, start)
        new = self._argument("}", True, start)
        value = self._get(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{new}}}"
        return wildcards.replaced(value or "", pattern, new, everywhere)

    def _argument(self, stop: str, raw_escapes: bool, start: int) -> str:
        """The part of a form that ends with *stop*."""
        try:
            return self._until(stop, raw_escapes)[0]
        except Fault:
            if self._peek():
                raise
            raise self._fault(f"missing {stop}", start) from None

    def _name(self) -> str:
        """A name, the digits of a positional parameter, or the character of a special one."""
        start = self.at
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self.at += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self.at += 1
        else:
            while (character := self._peek()).isalpha() or character.isdecimal() or character == "_":
                self.at += 1
        return self.text[start : self.at]

    def _variable(self, name: str, written: str) -> str:
        value = self._get(name)
        return (written if self.lexer.keep_unset else "") if value is None else value

    def _get(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unset if value is None else self.used).add(name)
        return value

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        character = self._peek()
        self.at += len(character)
        return character

    def _fault(self, what: str, start: int) -> Fault:
        written = self.text[start : max(self.at, start + 2)]
        return Fault(
            f"{what} in {written!r:.80}", written, "Known are ${x} ${x:-w} ${x:+w} ${x:?w} ${x#p} ${x%p} ${x/p/r}."
        )


def _trimmed(value: str, operator: str, pattern: str) -> str:
    longest = pattern.startswith(operator)
    trim = wildcards.without_prefix if operator == "#" else wildcards.without_suffix
    return trim(value, pattern[longest:], longest)
