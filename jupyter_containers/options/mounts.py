"""What ``-v``, ``--mount``, ``--tmpfs`` and ``--device`` say, as values, and those values as flags again.

Grammar: docker/cli ``opts`` and the reference pages of ``docker run``. A host path that starts with ``./``,
``../`` or ``~/`` is relative to the notebook's folder or the home; a bare word is a volume's name.

Not here: whether the source exists (the engine looks when it creates the container).
"""

from __future__ import annotations

import re

from jupyter_containers.errors import InvalidArgument, suggest

from .model import Device, Mount
from .values import Context, boolean, normalised, size
from .words import NAME

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_ACCEPTED = ("ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "volume-nocopy", *PROPAGATION)
_TMPFS_NAMES = (
    "ro rw exec noexec suid nosuid dev nodev sync async dirsync remount mand nomand atime noatime diratime nodiratime "
    "private rprivate shared rshared slave rslave relatime norelatime strictatime nostrictatime"
)
_TMPFS_WORDS = frozenset(_TMPFS_NAMES.split())
_TMPFS_KEYS = frozenset(["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"])
_KEYS = {
    "type": "type", "source": "source", "src": "source", "target": "target", "dst": "target", "destination": "target",
    "readonly": "readonly", "ro": "readonly", "bind-propagation": "bind-propagation", "tmpfs-size": "tmpfs-size",
    "tmpfs-mode": "tmpfs-mode", "volume-nocopy": "volume-nocopy", "consistency": "consistency",
}  # fmt: skip


def volume(word: str, context: Context) -> Mount:
    """``[SOURCE:]TARGET[:OPTIONS]``."""
    parts = word.split(":")
    if not all(parts):
        raise InvalidArgument(f"invalid spec: {word}: empty section between colons")
    if len(parts) > 3:
        raise InvalidArgument(f"invalid spec: {word}: too many colons")
    if len(parts) == 1:
        return Mount("volume", "", _target(word))
    options = _volume_options(parts[2]) if len(parts) == 3 else ()
    kind, source = _source(parts[0], context)
    kept = tuple(option for option in options if option in PROPAGATION or option == "nocopy")
    return Mount(kind, source, _target(parts[1]), "ro" in options, kept, create=kind == "bind")


def _volume_options(words: str) -> tuple[str, ...]:
    options = tuple(words.split(","))
    for option in options:
        if option not in _ACCEPTED:
            raise InvalidArgument(f"invalid mode: {option}", mend=suggest(option, _ACCEPTED) or "Write ro or rw.")
    return tuple(option.removeprefix("volume-") for option in options)


def _source(word: str, context: Context) -> tuple[str, str]:
    if word.startswith(("/", "./", "../", "~/")) or word in (".", "..", "~"):
        return "bind", context.path(word)
    return "volume", _volume_name(word)


def _volume_name(word: str) -> str:
    if not NAME.fullmatch(word):
        allowed = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'
        raise InvalidArgument(
            f'"{word}" includes invalid characters for a local volume name, {allowed}',
            mend=f"For a folder of this machine write ./{word}.",
        )
    return word


def _target(word: str) -> str:
    if not word.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{word}' mount path must be absolute")
    path = normalised(word)
    if path == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return path


def mount(word: str, context: Context) -> Mount:
    """``type=bind|volume|tmpfs,src=…,dst=…[,readonly][,…]`` (one line of CSV)."""
    values = dict(_pair(field, word) for field in csv_fields(word))
    kind, target = values.get("type", "volume"), values.get("target", "")
    if kind not in ("bind", "volume", "tmpfs"):
        near = suggest(kind, ("bind", "volume", "tmpfs")) or "Known are bind, volume and tmpfs."
        raise InvalidArgument(f"mount type '{kind}' is not supported", mend=near)
    if not target:
        raise InvalidArgument("target is required")
    _check_keys(values, kind)
    read_only = "readonly" in values and _flag("readonly", values)
    return Mount(
        kind, _mount_source(kind, values, context), _target(target), read_only, _mount_options(values, context)
    )


def _pair(field: str, word: str) -> tuple[str, str]:
    key, equal, value = field.partition("=")
    name = _KEYS.get(key.lower())
    if name is None:
        raise InvalidArgument(f"unexpected key '{key}' in '{field}'", mend=suggest(key, _KEYS))
    if not equal and name not in ("readonly", "volume-nocopy"):
        raise InvalidArgument(f"invalid field '{field}' must be a key=value pair", word if word != field else "")
    return name, value if equal else "true"


def _check_keys(values: dict[str, str], kind: str) -> None:
    for key in values:
        owner = key.partition("-")[0]
        if owner in ("bind", "volume", "tmpfs") and owner != kind:
            raise InvalidArgument(f"cannot mix '{owner}-*' options with mount type '{kind}'")


def _flag(key: str, values: dict[str, str]) -> bool:
    try:
        return boolean(values[key])
    except InvalidArgument:
        raise InvalidArgument(f"invalid value for {key}: {values[key]}", mend="Write true or false.") from None


def _mount_source(kind: str, values: dict[str, str], context: Context) -> str:
    source = values.get("source", "")
    if kind == "tmpfs":
        if source:
            raise InvalidArgument("a mount of type tmpfs has no source")
        return ""
    if kind == "bind":
        if not source:
            raise InvalidArgument('invalid mount config for type "bind": field Source must not be empty')
        return context.path(source)
    return _volume_name(source) if source else ""


def _mount_options(values: dict[str, str], context: Context) -> tuple[str, ...]:
    options = []
    if propagation := values.get("bind-propagation"):
        if propagation not in PROPAGATION:
            raise InvalidArgument(f"invalid bind-propagation '{propagation}'", mend=suggest(propagation, PROPAGATION))
        options.append(propagation)
    if "tmpfs-size" in values:
        options.append(f"size={size(values['tmpfs-size'], context)}")
    if mode := values.get("tmpfs-mode"):
        if not re.fullmatch(r"[0-7]{1,5}", mode):
            raise InvalidArgument(f"invalid value for tmpfs-mode: {mode}", mend="Write octal digits, as in 1777.")
        options.append(f"mode={mode}")
    if "volume-nocopy" in values and _flag("volume-nocopy", values):
        options.append("nocopy")
    return tuple(options)


def tmpfs(word: str, _: Context) -> Mount:
    """``TARGET[:size=64m,mode=1777,…]``."""
    target, _colon, words = word.partition(":")
    options = tuple(words.split(",")) if words else ()
    for option in options:
        key, equal, _value = option.partition("=")
        if (key not in _TMPFS_KEYS) if equal else (option not in _TMPFS_WORDS):
            raise InvalidArgument(f'invalid tmpfs option ["{option}"]', mend=suggest(key, _TMPFS_WORDS | _TMPFS_KEYS))
    kept = tuple(option for option in options if option not in ("ro", "rw"))
    return Mount("tmpfs", "", _target(target), "ro" in options, kept)


def device(word: str, _: Context) -> Device:
    """``SOURCE[:TARGET[:PERMISSIONS]]`` or ``SOURCE:PERMISSIONS``."""
    parts = word.split(":")
    if len(parts) > 3 or not parts[0].startswith("/"):
        raise InvalidArgument(f"bad format for path: {word}", mend="Write it as /dev/x[:/dev/y[:rwm]].")
    source, target, permissions = parts[0], parts[0], "rwm"
    for part in parts[1:]:
        if part.startswith("/") and part is parts[1]:
            target = part
        elif re.fullmatch(r"[rwm]{1,3}", part) and len(set(part)) == len(part):
            permissions = part
        else:
            raise InvalidArgument(f"bad mode specified: {part}", mend="Write letters of rwm.")
    return Device(source, target, permissions)


def csv_fields(word: str) -> list[str]:
    """The fields of one CSV line (docker reads ``--mount`` so): a field with commas stands in double quotes."""
    import csv

    try:
        return next(csv.reader([word], strict=True), [])
    except csv.Error as error:
        raise InvalidArgument(f"'{word}' is no line of comma-separated fields: {error}") from None


def csv_line(fields: list[str]) -> str:
    """The inverse of :func:`csv_fields`."""
    quoted = ('"' + f.replace('"', '""') + '"' if re.search(r'[",\r\n]', f) else f for f in fields)
    return ",".join(quoted)


def mount_flag(item: Mount) -> tuple[str, str]:
    """The flag and its word that :class:`Mount` *item* came from, or one with the same meaning."""
    if item.type == "tmpfs":
        options = ",".join((*item.options, *(["ro"] if item.read_only else [])))
        return "tmpfs", f"{item.target}:{options}" if options else item.target
    words = (*(["ro"] if item.read_only else []), *item.options)
    if item.create or (item.type == "volume" and (item.source or not words)):
        parts = [item.source, item.target, ",".join(words)]
        return "volume", ":".join(part for part in parts if part)
    return "mount", csv_line(_mount_fields(item))


def _mount_fields(item: Mount) -> list[str]:
    fields = [f"type={item.type}"]
    if item.source:
        fields.append(f"source={item.source}")
    fields.append(f"target={item.target}")
    if item.read_only:
        fields.append("readonly")
    return fields + ["volume-nocopy" if option == "nocopy" else f"bind-propagation={option}" for option in item.options]
