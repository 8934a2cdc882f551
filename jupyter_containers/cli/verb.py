"""What a verb is: its words in the table, and its flags and its function, which are loaded when it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import ContainersError, InvalidArgument

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine
    from jupyter_containers.options import Context, Flag

    from .out import Out


@dataclass(frozen=True)
class Args:
    """What was said on the line of a verb."""

    values: dict[str, Any]
    words: list[str]
    context: Context

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a flag by its field; *default* where it was not given."""
        return self.values.get(name, default)

    def __getattr__(self, name: str) -> Any:
        """As :meth:`get`."""
        return self.values.get(name)


Run = Callable[["Engine", Args, "Out"], int]


@dataclass(frozen=True)
class Spec:
    """Flags and function of a verb.

    Args:
        run: does it; its exit code.
        flags: in the order of help.
        least, most: how many words it takes; *most* None for any number.
        interspersed: flags may follow words.
    """

    run: Run
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = 0
    interspersed: bool = True

    def check(self, verb: str, words: list[str]) -> None:
        """Refuse too few or too many words, in docker's words."""
        if self.least <= len(words) and (self.most is None or len(words) <= self.most):
            return
        if self.most == 0:
            raise Usage(f"'{verb}' accepts no arguments", mend=_see(verb))
        how = (
            "requires"
            if self.least == self.most
            else "requires at least"
            if len(words) < self.least
            else "requires at most"
        )
        number = self.least if len(words) < self.least or self.most is None else self.most
        raise Usage(f"'{verb}' {how} {number} argument{'s' * (number != 1)}", mend=_see(verb))


@dataclass(frozen=True)
class Verb:
    """A verb's entry in the table.

    Args:
        name: its short form, as in ``docker NAME``.
        group: ``container``, ``image`` or ``system``; "" for none.
        usage: what follows the name in ``Usage:``.
        summary: docker's one line.
        family: the module that has its :class:`Spec`.
        long: its long forms, ``container ls``.
        common: among the common commands of the help.
        short: whether ``docker NAME`` exists; some have only the long form.
    """

    name: str
    group: str
    usage: str
    summary: str
    family: str
    long: tuple[str, ...] = ()
    common: bool = False
    short: bool = True
    key: str = field(default="")

    @cached_property
    def spec(self) -> Spec:
        """Flags and function; imports the family."""
        module = import_module(f"{__package__}.{self.family}")
        found: Spec = module.SPECS[self.key or self.name]
        return found

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Its flags."""
        return self.spec.flags

    def run(self, engine: Engine, args: Args, out: Out) -> int:
        """Do it."""
        return self.spec.run(engine, args, out)

    @property
    def forms(self) -> tuple[str, ...]:
        """Every way to call it."""
        return (*self.long, self.name) if self.short else self.long


class Usage(InvalidArgument):
    """A line that is no proper call of a verb (docker's exit code 1, as for any failure)."""


def _see(verb: str) -> str:
    return f"See '{verb} --help'."


def each(words: list[str], action: Callable[[str], None], out: Out) -> int:
    """Do *action* for every word; each failure is told, the last one raised."""
    failures: list[ContainersError] = []
    for word in words:
        try:
            action(word)
        except ContainersError as error:
            failures.append(error)
    for failure in failures[:-1]:
        out.warn(f"Error: {failure}")
    if failures:
        raise failures[-1]
    return 0
