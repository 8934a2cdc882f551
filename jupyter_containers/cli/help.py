"""``--help`` as docker prints it: usage, summary, aliases, flags in pflag's columns.

Source: docker/cli ``cli/cobra.go``, spf13/pflag ``FlagUsagesWrapped``.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_containers.options import Flag

from .table import GROUPS, VERBS
from .verb import Verb

WIDTH = 80


def help_flag(flags: Iterable[Flag]) -> Flag:
    """``--help``, and ``-h`` where the verb has no other use for it."""
    taken = any(flag.short == "h" for flag in flags)
    return Flag("help", "" if taken else "h", "", "help", "Print usage")


def verb_help(verb: Verb, form: str, program: str, width: int = 0) -> str:
    """The help of *verb*, called as *form*."""
    called = f"{program} {form}".strip()
    parts = [f"Usage:  {called} {verb.usage}", verb.summary]
    if len(verb.forms) > 1:
        parts.append("Aliases:\n  " + ", ".join(f"{program} {name}" for name in verb.forms))
    shown = [flag for flag in verb.flags if flag.help and not flag.refuse]
    if shown:
        parts.append("Options:\n" + flag_usages(shown, (width or columns()) - 1))
    return "\n\n".join(parts).rstrip("\n") + "\n"


def main_help(program: str) -> str:
    """All verbs."""
    common = [(verb.name, verb.summary) for verb in VERBS if verb.common]
    others = sorted((verb.name, verb.summary) for verb in VERBS if verb.short and not verb.common)
    notebook = program.startswith("%")
    parts = [
        f"Usage:  {program} [OPTIONS] COMMAND" if not notebook else f"Usage:  {program} COMMAND",
        "Containers as a native object of the notebook",
        "Common Commands:\n" + _rows(common),
        "Management Commands:\n" + _rows(list(GROUPS.items())),
        "Commands:\n" + _rows(others),
    ]
    if not notebook:
        parts.append("Global Options:\n  -v, --version   Print version information and quit")
    parts.append(f"Run '{program} COMMAND --help' for more information on a command.")
    if notebook:
        parts.append(
            "A cell runs in a container with %%container [OPTIONS] [IMAGE] [INTERPRETER [ARG...]];\n"
            "a cell that is a Dockerfile is built with %%dockerfile [OPTIONS] [CONTEXT]."
        )
    return "\n\n".join(parts) + "\n"


def group_help(group: str, program: str) -> str:
    """The verbs of ``container``, ``image``, ``builder`` or ``system``."""
    found = {}
    for verb in VERBS:
        form = next((form for form in verb.long if form.startswith(f"{group} ")), "")
        if form:
            found[form.partition(" ")[2]] = verb.summary
    return (
        f"Usage:  {program} {group} COMMAND\n\n{GROUPS[group]}\n\nCommands:\n{_rows(sorted(found.items()))}\n\n"
        f"Run '{program} {group} COMMAND --help' for more information on a command.\n"
    )


def _rows(rows: list[tuple[str, str]]) -> str:
    width = max(11, *(len(name) for name, _ in rows))
    return "\n".join(f"  {name:<{width}} {summary}" for name, summary in rows)


def columns() -> int:
    """The terminal's width; 80 where there is none."""
    import os

    try:
        return os.get_terminal_size(1).columns or WIDTH
    except OSError:
        return WIDTH


def flag_usages(flags: Iterable[Flag], width: int) -> str:
    """The flags in two columns, wrapped to *width*."""
    lines = []
    for flag in flags:
        head = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        lines.append((f"{head} {flag.kind}".rstrip(), flag.help))
    longest = max(len(head) for head, _ in lines) + 1
    return "".join(f"{head:<{longest + 2}}{_wrap(longest + 2, width, text)}\n" for head, text in lines)


def _wrap(indent: int, width: int, text: str) -> str:
    slop, room, start = 5, width - indent, ""
    if room < 24:
        indent = 16
        room, start = width - indent, "\n" + " " * indent
    if room < 24:
        return text.replace("\n", start)
    begin = "\n" + " " * indent
    pieces = []
    while text:
        piece, text = _wrap_one(room - slop, slop, text)
        pieces.append(piece.replace("\n", begin))
    return start + begin.join(pieces)


def _wrap_one(room: int, slop: int, text: str) -> tuple[str, str]:
    if room + slop > len(text):
        return text, ""
    at = max(text.rfind(mark, 0, room) for mark in " \t\n")
    if at <= 0:
        return text, ""
    newline = text.rfind("\n", 0, room)
    if 0 < newline < at:
        at = newline
    return text[:at], text[at + 1 :]
