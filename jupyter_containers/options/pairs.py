"""``KEY=VALUE`` on a command line (environment, labels, kernel parameters) and names of variables.

Same form as ``values``: word and context in, value out, docker's text in the error.
"""

from __future__ import annotations

import re
from pathlib import Path

from jupyter_containers.errors import InvalidArgument

from .values import Context

_SYSCTLS = frozenset(
    "kernel." + name for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


def env(word: str, context: Context) -> tuple[str, str | None]:
    """``A=b``, or ``A`` for the caller's own value (``None`` where the caller has none either)."""
    name, equal, value = word.partition("=")
    if not name:
        raise InvalidArgument(f"invalid environment variable: {word}")
    return name, value if equal else context.environ.get(name)


def env_file(word: str, context: Context) -> tuple[tuple[str, str | None], ...]:
    """The variables of a file: ``A=b`` or ``A`` a line, ``#`` starts a comment line."""
    found = []
    for number, line in enumerate(_lines(word, context), 1):
        name = line.partition("=")[0]
        if not name or re.search(r"\s", name):
            raise InvalidArgument(f"poorly formatted environment: line {number}: {line[:60]!r}", word)
        found.append(env(line, context))
    return tuple(found)


def label(word: str, _: Context) -> tuple[str, str]:
    """``KEY=VALUE``, or ``KEY`` with an empty value."""
    name, _equal, value = word.partition("=")
    if not name:
        raise InvalidArgument(f"invalid label '{word}': empty name")
    return name, value


def label_file(word: str, context: Context) -> tuple[tuple[str, str], ...]:
    """The labels of a file, one a line."""
    return tuple(label(line, context) for line in _lines(word, context))


def sysctl(word: str, _: Context) -> tuple[str, str]:
    """``KEY=VALUE`` of a kernel parameter that belongs to a namespace of the container.

    Neither ``.`` nor ``/`` may stand next to another: ``net./../kernel.x`` would lead out of what is allowed.
    """
    name, equal, value = word.partition("=")
    allowed = name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))
    if not equal or not allowed or not all(re.split("[./]", name)):
        mend = "Allowed are net.*, fs.mqueue.* and kernel.{msg,sem,shm}*."
        raise InvalidArgument(f"sysctl '{word}' is not allowed", mend=mend)
    return name, value


def variables(word: str, context: Context) -> tuple[str, ...]:
    """Names of Python variables, with commas between."""
    return tuple(variable(name.strip(), context) for name in word.split(","))


def variable(word: str, _: Context) -> str:
    """The name of one Python variable."""
    if not word.isidentifier():
        raise InvalidArgument(f"{word!r} is no name of a Python variable")
    return word


def session_name(word: str, _: Context) -> str:
    """The name of a session or stage: letters, digits, ``_``, ``.``, ``-``."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", word):
        raise InvalidArgument(f"{word!r} is no name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return word


def _lines(word: str, context: Context) -> list[str]:
    try:
        content = Path(context.path(word)).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"open {word}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{word} is not UTF-8 text") from None
    lines = (line.lstrip() for line in content.split("\n"))
    return [line.removesuffix("\r") for line in lines if line.strip() and not line.startswith("#")]
