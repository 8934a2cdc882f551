"""Nodes to instructions: what each instruction's words and flags mean, and whether they can be.

As BuildKit's ``instructions/parse.go``, but stricter where it lets a mistake pass until later or for ever: flags of
instructions that have none are refused anywhere, an ``ONBUILD`` is checked where it is written, and a ``--mount``
without variables, too. Nothing is expanded here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypedDict

from jupyter_containers.build import flags, heredocs, mounts
from jupyter_containers.build.flags import LIST, SWITCH, TEXT, Flags
from jupyter_containers.build.instructions import (
    KEYWORDS,
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Pairs,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from jupyter_containers.build.parser import Node
from jupyter_containers.build.source import Fault, Location, suggestion
from jupyter_containers.build.words import Lexer

_FLAGS: dict[str, flags.Kinds] = {
    "ADD": {"checksum": TEXT, "chmod": TEXT, "chown": TEXT, "exclude": LIST, "keep-git-dir": SWITCH, "link": SWITCH,
            "unpack": SWITCH},
    "COPY": {"chmod": TEXT, "chown": TEXT, "exclude": LIST, "from": TEXT, "link": SWITCH, "parents": SWITCH},
    "FROM": {"platform": TEXT},
    "HEALTHCHECK": {"interval": TEXT, "retries": TEXT, "start-interval": TEXT, "start-period": TEXT, "timeout": TEXT},
    "RUN": {"mount": LIST, "network": TEXT, "security": TEXT},
}  # fmt: skip
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)


class Common(TypedDict):
    """The fields that all instructions have."""

    location: Location
    text: str


def interpret(node: Node, escape: str) -> Instruction:
    """The instruction that a node is.

    Raises:
        DockerfileError: an unknown instruction or flag (with the nearest), or arguments that can't be.
    """
    keyword = node.keyword.upper()
    if keyword not in _READERS:
        mend = suggestion(node.keyword, KEYWORDS)
        raise node.location.error(f"unknown instruction: {node.keyword:.80}", node.keyword, mend)
    try:
        return _READERS[keyword](node, flags.read(node.flags, _FLAGS.get(keyword, {})), escape)
    except Fault as fault:
        raise node.location.fault(fault) from None


def _from(node: Node, given: Flags, _: str) -> From:
    words = node.arguments.words
    name = words[2].lower() if len(words) == 3 and words[1].lower() == "as" else ""
    if len(words) != 1 and not name:
        raise Fault("FROM requires either one or three arguments", mend="The form is FROM IMAGE or FROM IMAGE AS NAME.")
    if name and not _STAGE_NAME.fullmatch(name):
        mend = "A name has letters, digits, - _ and ., and starts with a letter."
        raise Fault(f"invalid name for build stage: {words[2]!r:.80}", words[2], mend)
    return From(base=words[0], name=name, platform=given.text("platform"), **_common(node))


def _arg(node: Node, _: Flags, __: str) -> Arg:
    pairs = []
    for word in _some(node):
        name, separator, default = word.partition("=")
        if not name:
            raise Fault("ARG names can not be blank", word, "The form is ARG NAME or ARG NAME=DEFAULT.")
        pairs.append((name, default if separator else None))
    return Arg(args=tuple(pairs), **_common(node))


def _env(node: Node, _: Flags, __: str) -> Env:
    return Env(pairs=_pairs(node), **_common(node))


def _label(node: Node, _: Flags, __: str) -> Label:
    return Label(pairs=_pairs(node), **_common(node))


def _run(node: Node, given: Flags, escape: str) -> Run:
    return Run(
        command=_command(node),
        files=node.heredocs,
        mounts=tuple(_mount(text, escape) for text in given.all("mount")),
        network=flags.choice("network mode", given.text("network", "default"), ("default", "none", "host")),
        security=flags.choice("security", given.text("security", "sandbox"), ("sandbox", "insecure")),
        **_common(node),
    )


def _copy(node: Node, given: Flags, escape: str) -> Copy:
    from_ = given.text("from")
    if from_ and Lexer(escape).word(from_, {}) != from_:
        mend = "Name the image by FROM ... AS NAME with an ARG before it, and that stage here."
        raise Fault("variable expansion is not supported for --from", from_, mend)
    sources, files, destination = _transfer(node)
    return Copy(
        sources=sources, files=files, destination=destination, from_=from_, chown=given.text("chown"),
        chmod=given.text("chmod"), link=bool(given.switch("link")), exclude=given.all("exclude"),
        parents=bool(given.switch("parents")), **_common(node),
    )  # fmt: skip


def _add(node: Node, given: Flags, _: str) -> Add:
    sources, files, destination = _transfer(node)
    return Add(
        sources=sources, files=files, destination=destination, chown=given.text("chown"), chmod=given.text("chmod"),
        link=bool(given.switch("link")), exclude=given.all("exclude"), checksum=given.text("checksum"),
        keep_git_dir=given.switch("keep-git-dir"), unpack=given.switch("unpack"), **_common(node),
    )  # fmt: skip


def _cmd(node: Node, _: Flags, __: str) -> Cmd:
    return Cmd(command=_command(node), **_common(node))


def _entrypoint(node: Node, _: Flags, __: str) -> Entrypoint:
    return Entrypoint(command=_command(node), **_common(node))


def _shell(node: Node, _: Flags, __: str) -> Shell:
    words = _some(node)
    if not node.arguments.json:
        raise Fault("SHELL requires the arguments to be in JSON form", words[0], 'As in SHELL ["/bin/bash", "-c"].')
    return Shell(words=words, **_common(node))


def _healthcheck(node: Node, given: Flags, _: str) -> Healthcheck:
    kind, *command = _some(node)
    test: tuple[str, ...]
    match kind.upper():
        case "NONE" if command:
            raise Fault("HEALTHCHECK NONE takes no arguments", command[0])
        case "NONE":
            test = ("NONE",)
        case "CMD" if not command:
            raise Fault("missing command after HEALTHCHECK CMD", kind)
        case "CMD":
            test = ("CMD" if node.arguments.json else "CMD-SHELL", *command)
        case _:
            raise Fault(f"unknown type {kind!r:.80} in HEALTHCHECK", kind, suggestion(kind, ("CMD", "NONE")))
    times = {
        name.replace("-", "_"): flags.nanoseconds(given, name) for name in _FLAGS["HEALTHCHECK"] if name != "retries"
    }
    return Healthcheck(test=test, retries=flags.count(given, "retries"), **times, **_common(node))


def _expose(node: Node, _: Flags, __: str) -> Expose:
    return Expose(ports=tuple(sorted(_some(node))), **_common(node))


def _volume(node: Node, _: Flags, __: str) -> Volume:
    paths = tuple(word.strip() for word in _some(node))
    if not all(paths):
        raise Fault("VOLUME specified can not be an empty string")
    return Volume(paths=paths, **_common(node))


def _user(node: Node, _: Flags, __: str) -> User:
    return User(user=_one(node), **_common(node))


def _workdir(node: Node, _: Flags, __: str) -> Workdir:
    return Workdir(path=_one(node), **_common(node))


def _stopsignal(node: Node, _: Flags, __: str) -> Stopsignal:
    return Stopsignal(signal=_one(node), **_common(node))


def _maintainer(node: Node, _: Flags, __: str) -> Maintainer:
    return Maintainer(name=_one(node), **_common(node))


def _onbuild(node: Node, _: Flags, escape: str) -> Onbuild:
    if node.child is None:
        raise Fault(
            "ONBUILD requires at least one argument", mend="Write the instruction after it, as in ONBUILD RUN make."
        )
    inner = node.child.keyword
    if inner.upper() == "ONBUILD":
        raise Fault("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if inner.upper() in ("FROM", "MAINTAINER"):
        raise Fault(f"{inner.upper()} isn't allowed as an ONBUILD trigger", inner)
    interpret(node.child, escape)
    expression = heredocs.text_with(_ONBUILD.sub("", node.text, count=1), node.heredocs)
    return Onbuild(expression=expression, **_common(node))


def _common(node: Node) -> Common:
    return {"location": node.location, "text": node.text}


def _command(node: Node) -> Command:
    return Command(node.arguments.words, not node.arguments.json)


def _mount(text: str, escape: str) -> mounts.Mount:
    def expand(word: str) -> str:
        return Lexer(escape).word(word, {})

    unexpanded = mounts.parse_unexpanded(text, expand)
    return unexpanded if "$" in text else mounts.parse(text, expand)


def _pairs(node: Node) -> Pairs:
    words = _some(node)
    pairs = tuple(zip(words[::3], words[1::3], strict=True))
    if not all(name for name, _ in pairs):
        raise Fault(f"{node.keyword.upper()} names can not be blank", "=")
    return pairs


def _transfer(node: Node) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sources, here-documents and destination of ``COPY`` and ``ADD``."""
    keyword, words = node.keyword.upper(), node.arguments.words
    if len(words) < 2:
        mend = f"The form is {keyword} SOURCE... DESTINATION."
        raise Fault(f"{keyword} requires at least two arguments, a source and a destination", mend=mend)
    *sources, destination = words
    if _document(node, destination):
        raise Fault(f"{keyword} cannot accept a heredoc as a destination", destination)
    documents = tuple(_documents(node, sources))
    return tuple(word for word in sources if not _document(node, word)), documents, destination


def _documents(node: Node, sources: list[str]) -> Iterator[Heredoc]:
    filled = {document.name: document for document in node.heredocs}
    for word in sources:
        document = _document(node, word)
        if document and document.name not in filled:
            raise Fault(f"the here-document {document.name:.40} is not read", word, "Close the quotes on this line.")
        if document:
            found = filled[document.name]
            yield Heredoc(found.name, found.chomped, document.expand, found.chomp, found.descriptor)


def _document(node: Node, word: str) -> Heredoc | None:
    """The here-document that a word announces; in a JSON list, or with an open quote, a word is a path."""
    try:
        return None if node.arguments.json else heredocs.heredoc(word)
    except Fault:
        return None


def _some(node: Node) -> tuple[str, ...]:
    if not node.arguments.words:
        raise Fault(f"{node.keyword.upper()} requires at least one argument", node.keyword)
    return node.arguments.words


def _one(node: Node) -> str:
    if len(node.arguments.words) != 1:
        raise Fault(f"{node.keyword.upper()} requires exactly one argument", node.keyword)
    return node.arguments.words[0]


_READERS: dict[str, Callable[[Node, Flags, str], Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild,
    "RUN": _run, "SHELL": _shell, "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
