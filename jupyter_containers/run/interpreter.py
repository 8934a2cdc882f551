"""Which program runs the body of a cell: the line's words, a ``#!`` line, the image's own, else a shell. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

SCRIPT = "/run/cell/script"  # where the body is mounted, read-only
_SHELL = ("/bin/sh", "-e")
_KNOWN = ("python", "pypy", "node", "deno", "bun", "Rscript", "R", "ruby", "perl", "julia", "lua", "php", "bash",
          "dash", "ash", "zsh", "ksh", "fish", "sh", "pwsh", "ipython")  # fmt: skip
_WITH_FILE = {"R": ("Rscript",), "deno": ("deno", "run"), "bun": ("bun", "run")}


def command(words: Sequence[str], body: str, config: Mapping[str, Any]) -> list[str]:
    """The command line of a cell.

    Args:
        words: interpreter and arguments named on the line.
        body: the cell's text.
        config: the ``config`` object of the image (``Entrypoint``, ``Cmd``).
    """
    if words:
        return [*words, SCRIPT]
    shebang = _shebang(body)
    if shebang:
        return [*shebang, SCRIPT]
    return [*_of_image(config), SCRIPT]


def _shebang(body: str) -> list[str]:
    first = body.partition("\n")[0]
    return shlex.split(first[2:]) if first.startswith("#!") else []


def _of_image(config: Mapping[str, Any]) -> tuple[str, ...]:
    for words in (config.get("Cmd"), config.get("Entrypoint")):
        if words and language(words[0]):
            name = PurePosixPath(words[0]).name
            return _WITH_FILE.get(name, (str(words[0]),))
    return _SHELL


def language(program: str) -> str:
    """The known interpreter that *program* is (``python`` for ``/usr/bin/python3.12``), ``""`` for none."""
    name = PurePosixPath(program).name.rstrip("0123456789.")
    return name if name in _KNOWN else ""
