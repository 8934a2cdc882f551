"""docker-py's keyword arguments (``containers.run(image, command, mem_limit="512m", …)``) as :class:`RunOptions`.

A keyword is the flag of the same meaning: its value is turned into the words of the flag and read by the flag's own
converter, so that both ways accept and refuse the same. Names: docker-py's, or ours (the field's name).

Not here: keywords that are no option of a container (``stdout``, ``stderr``, ``stream``: the engine's).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jupyter_containers.errors import InvalidArgument, suggest

from .flag import Flag, Parsed
from .flags import flags_for
from .model import Device, Mount, RunOptions, Ulimit
from .run import context, number, options

_DIRECT = (Mount, Ulimit, Device)


_OF_THE_ENGINE = frozenset(["stdout", "stderr", "stream"])


def options_from_keywords(
    image: str,
    command: str | Sequence[str] | None = None,
    keywords: Mapping[str, Any] = MappingProxyType({}),
    base_dir: str | os.PathLike[str] = "",
    environ: Mapping[str, str] | None = None,
) -> RunOptions:
    """The options that docker-py's *keywords* describe; a string *command* is split as a shell would.

    >>> options_from_keywords("debian", "echo hi", {"mem_limit": "64m", "remove": True}).memory
    67108864
    """
    where = context(base_dir, environ)
    flags = _by_keyword()
    parsed = Parsed()
    for name, value in _renamed(keywords).items():
        if name not in flags:
            raise InvalidArgument(f"unexpected keyword argument '{name}'", mend=suggest(name, flags))
        for item in _items(name, value) if value is not None else ():
            flag = flags[name]
            parsed.put(flag, item if isinstance(item, _DIRECT) else flag.value(_word(item), where))
    if isinstance(keywords.get("entrypoint"), (list, tuple)):
        parsed.values["entrypoint"] = tuple(str(word) for word in keywords["entrypoint"])
    return options(RunOptions, parsed.values, image=image, command=_command(command))


def _by_keyword() -> dict[str, Flag]:
    found: dict[str, Flag] = {}
    for flag in flags_for("run"):
        for name in (flag.field, flag.keyword or flag.field, flag.name.replace("-", "_")):
            found.setdefault(name, flag)
    # three flags end in "volumes"; the word itself means -v
    found["volumes"] = found["volume"]
    return found


def _renamed(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """docker-py spellings that are no flag: ``nano_cpus``, ``network_mode``, ``auto_remove``, ``network_disabled``."""
    named = {name: value for name, value in keywords.items() if name not in _OF_THE_ENGINE}
    if (nano := named.pop("nano_cpus", None)) is not None:
        named["cpus"] = nano / 1e9
    if (mode := named.pop("network_mode", None)) is not None:
        named["network"] = mode
    if named.pop("network_disabled", False):
        named["network"] = "none"
    if (auto := named.pop("auto_remove", None)) is not None:
        named["rm"] = auto
    return named


def _items(name: str, value: Any) -> Iterable[Any]:
    if name in ("restart", "restart_policy") and isinstance(value, Mapping):
        count = value.get("MaximumRetryCount")
        return (f"{value.get('Name', 'no')}:{count}" if count else value.get("Name", "no"),)
    if isinstance(value, Mapping):
        return [_pair(name, key, item) for key, item in value.items()]
    if name == "entrypoint":
        return (value if isinstance(value, str) else "",)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_ulimit(item) if name == "ulimits" and isinstance(item, Mapping) else item for item in value]
    return (value,)


def _pair(name: str, key: str, item: Any) -> str:
    if name == "volumes":
        bind, mode = (item.get("bind", ""), item.get("mode", "rw")) if isinstance(item, Mapping) else (item, "rw")
        return f"{key}:{bind}:{mode}"
    if name == "tmpfs":
        return f"{key}:{item}" if item else key
    if name == "ports":
        return _port(key, item)
    return key if item is None else f"{key}={item}"


def _port(container: str, host: Any) -> str:
    address = ":".join(str(part) for part in host) if isinstance(host, tuple) else "" if host is None else str(host)
    return f"{address}:{container}" if address else str(container)


def _ulimit(item: Mapping[str, Any]) -> Ulimit:
    low = {key.lower(): value for key, value in item.items()}
    return Ulimit(str(low["name"]), int(low["soft"]), int(low.get("hard", low["soft"])))


def _word(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return number(item) if isinstance(item, float) else os.fspath(item) if isinstance(item, os.PathLike) else str(item)


def _command(command: str | Sequence[str] | None) -> tuple[str, ...]:
    import shlex

    if command is None:
        return ()
    return tuple(shlex.split(command)) if isinstance(command, str) else tuple(str(word) for word in command)
