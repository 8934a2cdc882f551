r"""The words of a ``%container`` or ``%%container`` line.

On the line, and nowhere else, these are substituted (SPEC §1):

- ``{name}``, ``$name`` and ``${name}`` where *name* is a Python variable of the notebook that holds a value
  (functions, classes and modules stay as written);
- ``$PWD``, ``${PWD}``, ``$(pwd)`` and ```pwd```: the notebook's folder, one word even with spaces in it.

Nothing is evaluated, and whatever else looks like a substitution stays as written: ``{{.Id}}``, ``{x + 1}``, ``$HOME``
of the container. ``\$name``, ``\{name}`` and IPython's ``$$name`` stand for the characters themselves. A value is
inserted as text before the line is split into words, as IPython does for ``!`` lines: quote it if it has spaces.

Not here: what the words mean (``options``, ``cli``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import ModuleType

from jupyter_containers.errors import InvalidArgument

_PIECES = re.compile(
    r"""
      (?P<template> \{\{ .*? \}\} )
    | (?P<escaped> \\[$\{] )
    | (?P<dollars> \$\$ (?P<literal> [^\W\d]\w* ) )
    | (?P<pwd> \$\( [ ]* pwd [ ]* \) | `[ ]*pwd[ ]*` )
    | \$ (?P<dollar> [^\W\d]\w* )
    | \$\{ (?P<shell> [^\W\d]\w* ) \}
    | \{ (?P<brace> [^\W\d]\w* ) \}
    """,
    re.VERBOSE | re.DOTALL,
)
_FOLDER = "\0"  # stands for the folder until the line is split


def words(line: str, variables: Mapping[str, object], folder: str) -> list[str]:
    """The words of *line* after substitution, split as a shell does (quotes and backslashes; ``#`` is no comment).

    Args:
        line: what stands after the magic's name; lines that end in a backslash are joined.
        variables: the notebook's variables (``user_ns``).
        folder: the notebook's folder, for ``$PWD``.
    """
    text = _substituted(joined(line), variables, _FOLDER)
    try:
        found = shlex.split(text, comments=False)
    except ValueError as error:
        raise InvalidArgument(str(error), "the line", "Close the quote, or write \\' for a single one.") from None
    return [word.replace(_FOLDER, folder) for word in found]


def substitute(line: str, variables: Mapping[str, object], folder: str) -> str:
    """*line* with variables and the folder filled in, for showing; :func:`words` is what to run."""
    return _substituted(joined(line), variables, folder)


def joined(line: str) -> str:
    """*line* with its continuation lines (each ended by a backslash) made one."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t]*", r"\1 ", line)


def continued(line: str, body: str) -> tuple[str, str]:
    r"""The whole line and the rest of the body of a cell whose ``%%`` line goes on in the body.

    >>> continued("-v a:/a \\", "debian\necho hi")
    ('-v a:/a  debian', 'echo hi')
    """
    while _goes_on(line) and body:
        more, _newline, body = body.partition("\n")
        line = joined(f"{line.rstrip()}\n{more}")
    return line, body


def _goes_on(line: str) -> bool:
    text = line.rstrip()
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _substituted(line: str, variables: Mapping[str, object], folder: str) -> str:
    def piece(match: re.Match[str]) -> str:
        if match["pwd"]:
            return folder
        name = match["dollar"] or match["shell"] or match["brace"] or match["literal"]
        if not name:
            return match[0]
        value = folder if name == "PWD" and not match["brace"] else None
        if name in variables and _is_value(variables[name]):
            value = str(variables[name])
        if value is not None and match["literal"]:
            value = f"${name}"
        return match[0] if value is None else value

    return _PIECES.sub(piece, line)


def _is_value(found: object) -> bool:
    return not callable(found) and not isinstance(found, ModuleType)
