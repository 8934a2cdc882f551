"""The values that templates work on, and how Go prints, tests and compares them.

JSON values print as Go prints them (``map[a:b]``, ``[a b]``, ``<no value>``). :class:`Fields` is a row of a table:
named fields, some of which are only worked out when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_containers.text.neutral import CONTROLS

_RISKY = re.compile(f"[<>&{CONTROLS}]".replace("\x00-\x1f", ""))


class Fields:
    """A row: fields by name.

    Args:
        type_name: what Go's error calls it (``*formatter.ContainerContext``).
        fields: values, or functions of no argument that make them.
        methods: functions with arguments (``.Label "x"``).
    """

    def __init__(
        self,
        type_name: str,
        fields: Mapping[str, Any],
        methods: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.type_name, self._fields, self.methods = type_name, dict(fields), dict(methods or {})

    def __contains__(self, name: str) -> bool:
        """Whether it has the field."""
        return name in self._fields

    def names(self) -> list[str]:
        """Fields and methods."""
        return [*self._fields, *self.methods]

    def get(self, name: str) -> Any:
        """The value of a field."""
        value = self._fields[name]
        if callable(value):
            value = self._fields[name] = value()
        return value

    def to_dict(self) -> dict[str, Any]:
        """All fields, for ``{{json .}}``."""
        return {name: self.get(name) for name in self._fields}


class NilList(list[Any]):
    """JSON ``null`` where docker's own type is a list: prints as ``[]``, is ``null`` in JSON."""


class NilMap(dict[str, Any]):
    """JSON ``null`` where docker's own type is a map."""


# Docker's client fills typed structures: a key that a map lacks is "no value", one that a structure lacks an error.
MAPS = frozenset(
    ["Labels", "Networks", "Ports", "PortBindings", "Sysctls", "Tmpfs", "Volumes", "ExposedPorts", "StorageOpt",
     "Options", "Annotations", "DriverOpts", "Metadata", "Data"]
)  # fmt: skip
LISTS = frozenset(
    ["Binds", "Cmd", "Entrypoint", "Env", "Args", "CapAdd", "CapDrop", "GroupAdd", "SecurityOpt", "ExtraHosts", "Dns",
     "DnsOptions", "DnsSearch", "Links", "OnBuild", "Mounts", "Devices", "Ulimits", "RepoTags", "RepoDigests",
     "Aliases", "ExecIDs", "VolumesFrom", "Layers"]
)  # fmt: skip


def typed(name: str, value: Any) -> Any:
    """*value* of the field *name*, with ``null`` as docker's typed structures have it."""
    if value is None and name in LISTS:
        return NilList()
    return NilMap() if value is None and name in MAPS else value


def shown(value: Any, inside: bool = False) -> str:
    """*value* as Go's ``fmt.Print`` writes it."""
    if value is None:
        return "<nil>" if inside else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Fields):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(value[key], True)}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(item, True) for item in value) + "]"
    return str(value)


def number(value: float) -> str:
    """A float as Go's ``%v``: no ``.0``, an exponent from 1e21."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def truth(value: Any) -> bool:
    """Go's truth: zero, "", nil and what is empty are false."""
    return True if isinstance(value, Fields) else bool(value)


def to_json(value: Any) -> str:
    """*value* as Go's encoding/json writes it: compact, ``< > &`` escaped, keys of rows sorted."""
    import json

    def plain(item: Any) -> Any:
        if isinstance(item, Fields):
            return {name: plain(field) for name, field in sorted(item.to_dict().items())}
        if isinstance(item, (NilList, NilMap)):
            return None
        if isinstance(item, Mapping):
            return {key: plain(field) for key, field in item.items()}
        return [plain(field) for field in item] if isinstance(item, (list, tuple)) else item

    return escaped(json.dumps(plain(value), ensure_ascii=False, separators=(",", ":")))


def escaped(text: str) -> str:
    """JSON *text* with ``< > &``, separators and terminal controls as ``\\uXXXX``: the same value, harmless to show."""
    return _RISKY.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
