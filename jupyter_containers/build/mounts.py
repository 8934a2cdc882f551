"""``RUN --mount``: the mounts that one step has and the image doesn't.

As BuildKit's ``instructions/commands_runmount.go`` and the defaults of ``dockerfile2llb``. Ours knows no order: there
``required`` and ``size`` must come after ``type``. Not here: making them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from jupyter_containers.build.source import Fault, suggestion
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import mounts as option_mounts
from jupyter_containers.options import values

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = ("type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required", "size", "mode",
         "uid", "gid", "env")  # fmt: skip
_SWITCHES = ("readonly", "readwrite", "required")
# Keys that only some types have; BuildKit accepts the others anywhere and leaves them out of account.
_ONLY = {
    "required": ("secret", "ssh"), "size": ("tmpfs",), "sharing": ("cache",), "mode": ("secret", "ssh", "cache"),
    "uid": ("secret", "ssh", "cache"), "gid": ("secret", "ssh", "cache"),
}  # fmt: skip
_CONTEXT = values.Context("", {})


@dataclass(frozen=True)
class Mount:
    """One ``--mount`` of a ``RUN``.

    Args:
        text: the flag's value as written.
        type: ``bind``, ``cache``, ``tmpfs``, ``secret`` or ``ssh``.
        from_: a stage's name, or an image; empty for the context (``bind``) or an empty folder (``cache``).
        source: path in *from_*; empty for its root.
        target: where it appears, see :meth:`path`; of a ``secret`` or ``ssh`` it may be empty.
        readonly: as written, or ``cache`` and ``tmpfs`` false, all others true.
        size: bytes at most, of a ``tmpfs``; 0 for no limit.
        id: which cache, secret or agent, docker's default filled in.
        sharing: ``shared``, ``private`` or ``locked``, of a ``cache``; empty for all others.
        required: the step fails where the secret or agent is missing.
        env: name of a variable that has the secret; with it a file is made only where *target* is written.
        mode, uid, gid: of a ``cache``'s folder (0755), a secret's file (0400) or an agent's socket (0600); ``None``
            where not written.
        expanded: whether all of it is known; else only *text* and *from_* are, as the rest names variables.
    """

    text: str
    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    expanded: bool = field(default=True, repr=False)

    def path(self, workdir: str) -> str:
        """The absolute place of the target in a step whose working directory is *workdir*.

        Raises:
            Fault: it is the root itself.
        """
        found = posixpath.normpath(posixpath.join("/", workdir, self.target)).replace("//", "/")
        if found == "/":
            raise Fault(f"invalid mount target {self.target or found!r}", self.text, "Write target=PATH, not the root.")
        return found


def parse(text: str, expand: Callable[[str], str]) -> Mount:
    """The mount that a flag's value describes, its values expanded; without ``$`` nothing depends on variables.

    Raises:
        Fault: an unknown key, type or mode of sharing (with the nearest), a value that is none, or keys that don't go
            together.
    """
    given = dict(_fields(text, expand))
    kind = given.get("type", "bind")
    _check(given, kind)
    readonly = given.get("readonly", kind not in ("cache", "tmpfs"))
    others = {key: value for key, value in given.items() if key not in ("from", "readonly")}
    return _with_defaults(Mount(text, from_=given.get("from", ""), readonly=readonly, **others))


def parse_unexpanded(text: str, expand: Callable[[str], str]) -> Mount:
    """What can be said of a mount before its variables are known: where it is from. *expand* knows no variables.

    Raises:
        Fault: the line has no fields, or ``from`` names a variable, which docker does not expand.
    """
    from_ = ""
    for key, value, _ in map(_split, _csv(text)):
        if key == "from" and "$" in (value or "")[:-1]:
            mend = "Name the image by FROM ... AS NAME, and that stage here."
            raise Fault("'from' doesn't support variable expansion", value or "", mend)
        from_ = expand(value or "") if key == "from" else from_
    return Mount(text, from_=from_, expanded=False)


def _fields(text: str, expand: Callable[[str], str]) -> Iterator[tuple[str, Any]]:
    """Keys, without aliases, and their values; ``readwrite`` becomes ``readonly``."""
    for one in _csv(text):
        key, written, name = _split(one)
        if written is None and key not in _SWITCHES:
            raise Fault(f"invalid field {one!r:.80} must be a key=value pair", one or text, _hint(name))
        if key not in _KEYS:
            raise Fault(f"unexpected key {name!r:.40} in {one!r:.80}", one, _hint(name))
        value = True if written is None else _value(key, name, expand(written), one)
        yield ("readonly", not value) if key == "readwrite" else (key, value)


def _split(one: str) -> tuple[str, str | None, str]:
    """Key without alias, value (``None`` without ``=``), and the key as written."""
    name, separator, value = one.partition("=")
    key = name.lower()
    return _ALIASES.get(key, key), value if separator else None, key


def _csv(text: str) -> list[str]:
    try:
        return option_mounts.csv_fields(text) or [""]
    except InvalidArgument as error:
        raise Fault(error.what, text, error.mend) from None


def _hint(name: str) -> str:
    return suggestion(name, [*_KEYS, *_ALIASES])


def _value(key: str, name: str, text: str, one: str) -> Any:
    try:
        if key in _SWITCHES:
            return values.boolean(text)
        if key == "size":
            return values.size(text, _CONTEXT)
    except InvalidArgument as error:
        raise Fault(f"invalid value for {name}: {text:.80}", one, error.mend) from None
    if key in ("mode", "uid", "gid"):
        return _number(key, text, one)
    if key in ("type", "sharing"):
        return _choice(key, text, one)
    return text


def _number(key: str, text: str, one: str) -> int:
    base, form = (8, "[0-7]{1,11}") if key == "mode" else (10, "[0-9]{1,10}")
    if not re.fullmatch(form, text) or int(text, base) >= 1 << 32:
        mend = "Write an octal number, as in 0755." if key == "mode" else "Write a number."
        raise Fault(f"invalid value {text:.40} for {key}", one, mend)
    return int(text, base)


def _choice(key: str, text: str, one: str) -> str:
    choices, what = (TYPES, "mount type") if key == "type" else (SHARING, "sharing value")
    if text.lower() not in choices:
        raise Fault(f"unsupported {what} {text!r:.40}", one, suggestion(text, choices))
    return text.lower()


def _check(given: dict[str, Any], kind: str) -> None:
    """Refuse keys that don't go with the type or with one another."""
    for key, kinds in _ONLY.items():
        if key in given and kind not in kinds:
            raise Fault(f"unexpected key {key!r} for mount type {kind!r}", key, f"Only {' and '.join(kinds)} has it.")
    if kind == "secret" and given.get("from"):
        raise Fault("a secret mount has no from", "from=")
    if kind == "secret" and not (given.get("source") or given.get("target") or given.get("id")):
        raise Fault("a secret mount needs an id", "type=secret", "Write id=NAME, as --secret id=NAME gives it.")
    if kind == "secret" and given.get("source") and given.get("id"):
        raise Fault("both source and id can't be set", "source=", "They mean the same: write id alone.")
    if kind == "ssh" and given.get("source"):
        raise Fault("an ssh mount has no source", "source=", "Write id=NAME, as --ssh NAME gives it.")


def _with_defaults(mount: Mount) -> Mount:
    """Docker's defaults for what is not written."""
    if mount.type == "secret":
        name = mount.source or mount.id or posixpath.basename(mount.target)
        target = mount.target or ("" if mount.env is not None else f"/run/secrets/{posixpath.basename(name)}")
        return replace(mount, id=name, target=target)
    if mount.type == "cache":
        return replace(mount, id=mount.id or posixpath.normpath(mount.target or "."), sharing=mount.sharing or "shared")
    return replace(mount, id=mount.id or "default") if mount.type == "ssh" else mount
