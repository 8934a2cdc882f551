"""From words to a verb: finds it, reads its flags, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jupyter_containers.errors import ContainersError, DockerfileError, InvalidArgument, suggest
from jupyter_containers.text import neutral

from .table import GROUPS, LATER, VERBS
from .verb import Args, Usage, Verb

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

    from .out import Out

FORMS: dict[str, Verb] = {form: verb for verb in VERBS for form in verb.forms}


def run(words: list[str], program: str, out: Out) -> int:
    """Run one verb for a terminal; errors go to stderr as one line. The exit code."""
    try:
        return perform(words, program, out, _engine)
    except ContainersError as error:
        if isinstance(error, DockerfileError) and error.excerpt:
            out.warn(neutral.several_lines(error.excerpt))
        out.warn(f"Error: {one_line(error)}")
        return exit_code(error, words)


def perform(words: list[str], program: str, out: Out, engine: Callable[[], Engine]) -> int:
    """Run one verb; *engine* is only asked for by a verb that goes on to do something."""
    if not words or words[0] in ("--help", "-h", "help"):
        return _help(words[1:] if words[:1] == ["help"] else [], program, out)
    if words[0] in ("--version", "-v"):
        from jupyter_containers import __version__

        out.write(f"nb-containers version {__version__}\n")
        return 0
    verb, form, rest = find(words)
    if verb is None:
        return _group_help(form, rest, program, out)
    return carry_out(verb, form, rest, program, out, engine)


def carry_out(verb: Verb, form: str, rest: list[str], program: str, out: Out, engine: Callable[[], Engine]) -> int:
    """Run *verb*, called as *form*, with the flags and words of *rest*."""
    args = read(verb, form, rest, out)
    if args is None:
        from .help import verb_help

        out.write(verb_help(verb, form, program))
        return 0
    return verb.run(engine(), args, out)


def find(words: list[str]) -> tuple[Verb | None, str, list[str]]:
    """The verb of *words*, the form it was called by, and the rest; a bare group has no verb."""
    first = words[0]
    if first in GROUPS:
        second = words[1] if len(words) > 1 else ""
        form = f"{first} {second}"
        if form in FORMS:
            return FORMS[form], form, words[2:]
        if second and not second.startswith("-"):
            raise unknown(form, [known for known in FORMS if known.startswith(first)])
        return None, first, words[1:]
    if first in FORMS:
        return FORMS[first], first, words[1:]
    raise unknown(first, [*FORMS, *GROUPS])


def unknown(form: str, known: list[str]) -> Usage:
    """The error for a word that is no verb."""
    if form.rsplit(maxsplit=1)[-1] in LATER:
        return Usage(f"'{form}' is not in this version", mend="It comes with a later one.")
    if form.startswith("-"):
        return Usage(f"unknown flag: {form}", mend="Flags stand after the verb.")
    return Usage(f"unknown command: {form}", mend=suggest(form, known))


def read(verb: Verb, form: str, rest: list[str], out: Out) -> Args | None:
    """The flags and words of a verb; None when its help is asked for."""
    from jupyter_containers.options import parse
    from jupyter_containers.options.run import context

    from .help import help_flag

    spec, where = verb.spec, context(out.base_dir)
    parsed = parse((*spec.flags, help_flag(spec.flags)), rest, where, spec.interspersed)
    if parsed.values.pop("help", False):
        return None
    spec.check(form, parsed.words)
    return Args(parsed.values, parsed.words, where)


def one_line(error: ContainersError) -> str:
    """The error's text without line breaks and control characters."""
    return neutral.one_line(" ".join(str(error).split("\n")))


def exit_code(error: ContainersError, words: list[str]) -> int:
    """Docker's exit code for *error*: its own, 125 for a bad flag or a container that could not be made, else 1."""
    if isinstance(error, (Usage, DockerfileError)):  # also where a step of a build ended with another one
        return 1
    own = getattr(error, "exit_code", 0)
    if own:
        return int(own)
    making = words[:1] == ["run"] or words[:2] == ["container", "run"]
    at_flags = isinstance(error, InvalidArgument) and (
        error.what.startswith(("unknown flag", "unknown shorthand", "flag needs"))
        or error.where.startswith(("invalid arg", "-"))
    )
    return 125 if making or at_flags else 1


def _engine() -> Engine:
    from jupyter_containers.engine import from_env

    engine: Engine = from_env()
    return engine


def _help(words: list[str], program: str, out: Out) -> int:
    from .help import main_help, verb_help

    if not words:
        out.write(main_help(program))
        return 0
    verb, form, _rest = find(words)
    if verb is None:
        return _group_help(form, [], program, out)
    out.write(verb_help(verb, form, program))
    return 0


def _group_help(group: str, rest: list[str], program: str, out: Out) -> int:
    from .help import group_help

    for word in rest:
        if word not in ("--help", "-h"):
            raise Usage(f"unknown flag: {word}", mend=f"See '{program} {group} --help'.")
    out.write(group_help(group, program))
    return 0
