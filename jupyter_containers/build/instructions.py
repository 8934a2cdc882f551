"""The instructions of a Dockerfile as values, one class each.

They say what is written, unexpanded: :func:`jupyter_containers.build.expand.expand` gives the same instruction with its
words expanded. :mod:`jupyter_containers.build.interpret` makes them; the reference of each is docker's
https://docs.docker.com/reference/dockerfile/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from jupyter_containers.build.mounts import Mount
from jupyter_containers.build.source import Location

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Heredoc:
    """A here-document, ``<<NAME`` and the lines up to one that is ``NAME``.

    Args:
        name: the word that ends it, and the file's name where it is copied.
        content: its lines as written, ends of lines included. Those of ``COPY`` and ``ADD`` have lost their leading
            tabs already where *chomp* says so; :attr:`chomped` is any without them.
        expand: whether variables in it are replaced, by us for ``COPY`` and ``ADD``, by the shell for ``RUN``: the
            word was written without quotes.
        chomp: ``<<-``, leading tabs don't belong to it.
        descriptor: the file descriptor before ``<<``; 0 where none is written.
    """

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    @property
    def chomped(self) -> str:
        """The content without what ``<<-`` takes away."""
        if not self.chomp:
            return self.content
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """What to execute.

    Args:
        words: the exec form's words, or one text for a shell; none where nothing is written.
        shell: the shell form: the image's shell is to be put before.
    """

    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What all instructions have.

    Args:
        location: the lines it lies on.
        text: it on one line, as progress and history show it.
    """

    keyword: ClassVar[str] = ""
    location: Location
    text: str


@dataclass(frozen=True, kw_only=True)
class From(Instruction):
    """``FROM [--platform=PLATFORM] BASE [AS NAME]``. *name* is in small letters; *name* and *platform* may be empty."""

    keyword: ClassVar[str] = "FROM"
    base: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, kw_only=True)
class Arg(Instruction):
    """``ARG NAME[=DEFAULT]...``: each name with its default, ``None`` where it has none."""

    keyword: ClassVar[str] = "ARG"
    args: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, kw_only=True)
class Env(Instruction):
    """``ENV NAME=VALUE...``, or the old ``ENV NAME VALUE``."""

    keyword: ClassVar[str] = "ENV"
    pairs: Pairs


@dataclass(frozen=True, kw_only=True)
class Label(Instruction):
    """``LABEL NAME=VALUE...``, or the old ``LABEL NAME VALUE``."""

    keyword: ClassVar[str] = "LABEL"
    pairs: Pairs


@dataclass(frozen=True, kw_only=True)
class Run(Instruction):
    """``RUN [--mount=...] [--network=...] [--security=...] COMMAND``.

    Args:
        files: here-documents of the shell form; :func:`jupyter_containers.build.script.script` says what they become.
        mounts: until expanded only ``from_`` and ``text`` are sure.
        network: ``default``, ``none`` or ``host``.
        security: ``sandbox`` or ``insecure``.
    """

    keyword: ClassVar[str] = "RUN"
    command: Command
    files: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, kw_only=True)
class Transfer(Instruction):
    """What ``COPY`` and ``ADD`` have in common.

    Args:
        sources: paths, patterns, or for ``ADD`` also URLs.
        files: here-documents: small files whose content is written here, in order.
        destination: a path; a folder where it ends with ``/``.
        chown: ``USER[:GROUP]``, names or numbers, or empty.
        chmod: octal or symbolic, or empty.
        link: the layer does not depend on what is below.
        exclude: patterns of what is not copied.
    """

    sources: tuple[str, ...]
    files: tuple[Heredoc, ...] = ()
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Copy(Transfer):
    """``COPY``. *from_* is a stage's name or number, or an image; empty for the context."""

    keyword: ClassVar[str] = "COPY"
    from_: str = ""
    parents: bool = False


@dataclass(frozen=True, kw_only=True)
class Add(Transfer):
    """``ADD``. *keep_git_dir* and *unpack* are ``None`` where not written: docker's defaults depend on the source."""

    keyword: ClassVar[str] = "ADD"
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Cmd(Instruction):
    """``CMD COMMAND``."""

    keyword: ClassVar[str] = "CMD"
    command: Command


@dataclass(frozen=True, kw_only=True)
class Entrypoint(Instruction):
    """``ENTRYPOINT COMMAND``."""

    keyword: ClassVar[str] = "ENTRYPOINT"
    command: Command


@dataclass(frozen=True, kw_only=True)
class Shell(Instruction):
    """``SHELL ["PROGRAM", "ARG"...]``."""

    keyword: ClassVar[str] = "SHELL"
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Healthcheck(Instruction):
    """``HEALTHCHECK [FLAGS] CMD COMMAND`` or ``HEALTHCHECK NONE``.

    Args:
        test: ``("NONE",)``, ``("CMD", WORD...)`` or ``("CMD-SHELL", TEXT)``.
        interval, timeout, start_period, start_interval: nanoseconds; 0 for docker's default.
        retries: 0 for docker's default.
    """

    keyword: ClassVar[str] = "HEALTHCHECK"
    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Expose(Instruction):
    """``EXPOSE PORT[-PORT][/PROTOCOL]...``; one word may become several when expanded."""

    keyword: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Volume(Instruction):
    """``VOLUME PATH...``."""

    keyword: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class User(Instruction):
    """``USER USER[:GROUP]``."""

    keyword: ClassVar[str] = "USER"
    user: str


@dataclass(frozen=True, kw_only=True)
class Workdir(Instruction):
    """``WORKDIR PATH``; relative to the one before."""

    keyword: ClassVar[str] = "WORKDIR"
    path: str


@dataclass(frozen=True, kw_only=True)
class Stopsignal(Instruction):
    """``STOPSIGNAL SIGNAL``."""

    keyword: ClassVar[str] = "STOPSIGNAL"
    signal: str


@dataclass(frozen=True, kw_only=True)
class Onbuild(Instruction):
    """``ONBUILD INSTRUCTION``. *expression* is the instruction's text, its here-documents included."""

    keyword: ClassVar[str] = "ONBUILD"
    expression: str


@dataclass(frozen=True, kw_only=True)
class Maintainer(Instruction):
    """``MAINTAINER NAME`` (deprecated: the label ``org.opencontainers.image.authors`` says it)."""

    keyword: ClassVar[str] = "MAINTAINER"
    name: str


KEYWORDS = tuple(
    kind.keyword
    for kind in (Add, Arg, Cmd, Copy, Entrypoint, Env, Expose, From, Healthcheck, Label, Maintainer, Onbuild, Run,
                 Shell, Stopsignal, User, Volume, Workdir)
)  # fmt: skip
