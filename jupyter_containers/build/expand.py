"""An instruction with its words expanded, where docker expands that instruction's words, and nowhere else.

=================================  =============================================================================
``ADD COPY``                       sources, destination, ``--chown``, ``--chmod``, ``--checksum``; here-documents whose
                                   name is not quoted, in which quotes mean nothing; never ``--from`` and ``--exclude``
``ARG``                            defaults
``ENV LABEL``                      names and values, all with the variables from before the instruction
``EXPOSE``                         each word into any number of words
``RUN``                            the values of ``--mount``; the command is the shell's matter
``STOPSIGNAL USER VOLUME WORKDIR`` all
others                             nothing; ``FROM`` has its own scope (``scope.base``)
=================================  =============================================================================

https://docs.docker.com/reference/dockerfile/#environment-replacement and BuildKit's ``instructions/commands.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from jupyter_containers.build import mounts
from jupyter_containers.build.instructions import (
    Add,
    Arg,
    Env,
    Expose,
    Heredoc,
    Instruction,
    Label,
    Run,
    Stopsignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import Lexer

AnyInstruction = TypeVar("AnyInstruction", bound=Instruction)
# As docker's: in the content of a file quotes are quotes, and a backslash escapes whatever the directive says.
_CONTENT = Lexer(skip_quotes=True)


def expand(instruction: AnyInstruction, env: Mapping[str, str], escape: str = "\\") -> AnyInstruction:
    """The instruction with its words expanded.

    Args:
        instruction: as parsed.
        env: the variables of its stage at this place: ``ENV`` and ``ARG``.
        escape: the file's escape character.

    Raises:
        DockerfileError: a word is malformed, or ``${x:?...}`` says so.
    """
    try:
        return replace(instruction, **_changes(instruction, _Expander(env, escape)))
    except Fault as fault:
        raise instruction.location.fault(fault) from None


class _Expander:
    """Words, with the variables at hand."""

    def __init__(self, env: Mapping[str, str], escape: str) -> None:
        self._env, self._lexer = env, Lexer(escape)

    def word(self, word: str) -> str:
        return self._lexer.word(word, self._env)

    def words(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.word(word) for word in words)

    def split(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part for word in words for part in self._lexer.split(word, self._env))

    def document(self, document: Heredoc) -> Heredoc:
        return replace(document, content=_CONTENT.word(document.content, self._env)) if document.expand else document


def _changes(instruction: Instruction, to: _Expander) -> dict[str, Any]:
    """The fields that change."""
    match instruction:
        case Transfer():
            checksum = {"checksum": to.word(instruction.checksum)} if isinstance(instruction, Add) else {}
            return {**_transfer(instruction, to), **checksum}
        case Arg(args=args):
            return {"args": tuple((name, None if word is None else to.word(word)) for name, word in args)}
        case Env(pairs=pairs) | Label(pairs=pairs):
            return {"pairs": tuple((to.word(name), to.word(value)) for name, value in pairs)}
        case Expose(ports=ports):
            return {"ports": to.split(ports)}
        case Run(mounts=found):
            return {"mounts": tuple(mount if mount.expanded else mounts.parse(mount.text, to.word) for mount in found)}
        case Stopsignal(signal=signal):
            return {"signal": to.word(signal)}
        case User(user=user):
            return {"user": to.word(user)}
        case Volume(paths=paths):
            return {"paths": to.words(paths)}
        case Workdir(path=path):
            return {"path": to.word(path)}
    return {}


def _transfer(instruction: Transfer, to: _Expander) -> dict[str, Any]:
    return {
        "sources": to.words(instruction.sources),
        "files": tuple(to.document(document) for document in instruction.files),
        "destination": to.word(instruction.destination),
        "chown": to.word(instruction.chown),
        "chmod": to.word(instruction.chmod),
    }
