"""One flag, and reading an argument list as docker does (the rules of spf13/pflag).

``-it``, ``-eA=b``, ``-e A=b``, ``--name=x``, ``--name x``, ``--rm=false``, ``--`` ends the flags; with
*interspersed* False they also end at the first other word (``docker run``: the image).

Not here: which flags a verb has (``flags``, ``cli``), nor what their values mean together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_containers.errors import InvalidArgument, suggest

from . import values
from .values import Context

Convert = Callable[[str, Context], Any]

KINDS: dict[str, Convert] = {
    "": values.boolean,
    "string": values.text,
    "list": values.text,
    "int": values.integer,
    "bytes": values.size,
    "duration": values.duration,
    "filter": values.text,
}
_MANY = frozenset(["list", "filter", "map", "ulimit", "mount"])


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag, for every front end.

    Args:
        name: long name without dashes.
        short: one letter or "".
        kind: docker's word for the value as its help shows it; "" for a boolean.
        field: where the value goes.
        help: docker's help text.
        verbs: the verbs that have it, "" for a flag of one verb's own table.
        convert: word to value; by default what *kind* says.
        keyword: docker-py's name of the keyword argument, where it differs from *field*.
        aliases: other long names.
        refuse: why the flag is known and cannot be used; empty for a working one.
    """

    name: str
    short: str
    kind: str
    field: str
    help: str
    verbs: str = ""
    convert: Convert | None = None
    keyword: str = ""
    aliases: tuple[str, ...] = ()
    refuse: str = ""

    @property
    def many(self) -> bool:
        """Every occurrence counts; otherwise the last one does."""
        return self.kind in _MANY

    @property
    def spelling(self) -> str:
        """``-m, --memory``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def value(self, word: str, context: Context) -> Any:
        """*word* as a value; an error names the flag."""
        try:
            found = (self.convert or KINDS[self.kind])(word, context)
        except InvalidArgument as error:
            place = f'invalid argument "{word}" for "{self.spelling}" flag'
            raise InvalidArgument(error.what, place, error.mend) from None
        if self.refuse:
            raise InvalidArgument(self.refuse, self.spelling)
        return found


@dataclass(slots=True)
class Parsed:
    """What an argument list said: values by field (a list for flags that repeat) and the other words."""

    values: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def put(self, flag: Flag, value: Any) -> None:
        """Keep *value*: appended or in place of the last one."""
        if flag.many:
            self.values.setdefault(flag.field, []).append(value)
        else:
            self.values[flag.field] = value


def parse(flags: Iterable[Flag], argv: Sequence[str], context: Context, interspersed: bool = True) -> Parsed:
    """Read *argv* by *flags*; every unknown flag or bad value is an :class:`InvalidArgument`."""
    reader = _Reader(list(flags), list(argv), context)
    parsed = Parsed()
    while reader.rest:
        word = reader.rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            reader.long(word, parsed)
        elif word.startswith("-") and word != "-":
            reader.short(word, parsed)
        elif interspersed:
            parsed.words.append(word)
        else:
            reader.rest.insert(0, word)
            break
    parsed.words += reader.rest
    return parsed


class _Reader:
    def __init__(self, flags: list[Flag], rest: list[str], context: Context) -> None:
        self.rest, self.context = rest, context
        self.by_name = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
        self.by_letter = {flag.short: flag for flag in flags if flag.short}

    def long(self, word: str, parsed: Parsed) -> None:
        name, equal, value = word[2:].partition("=")
        flag = self.by_name.get(name)
        if flag is None:
            near = suggest(name, (known for known, f in self.by_name.items() if not f.refuse))
            raise InvalidArgument(f"unknown flag: --{name}", mend=near.replace("mean ", "mean --"))
        if not equal:
            value = self._next(f"--{name}") if flag.kind else "true"
        parsed.put(flag, flag.value(value, self.context))

    def short(self, word: str, parsed: Parsed) -> None:
        letters = word[1:]
        while letters:
            flag = self.by_letter.get(letters[0])
            if flag is None:
                raise InvalidArgument(
                    f"unknown shorthand flag: {letters[0]!r} in {word}", mend=self._letters(letters[0])
                )
            letter, letters = letters[0], letters[1:]
            if letters.startswith("=") and len(letters) > 1:
                value, letters = letters[1:], ""
            elif not flag.kind:
                value = "true"
            elif letters:
                value, letters = letters, ""
            else:
                value = self._next(f"{letter!r} in {word}")
            parsed.put(flag, flag.value(value, self.context))

    def _next(self, place: str) -> str:
        if not self.rest:
            raise InvalidArgument(f"flag needs an argument: {place}")
        return self.rest.pop(0)

    def _letters(self, letter: str) -> str:
        other = self.by_letter.get(letter.swapcase())
        return f"Did you mean -{other.short} (--{other.name})?" if other else ""
