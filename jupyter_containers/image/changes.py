"""``--change`` of import and commit: Dockerfile instructions that change an image's configuration.

The few instructions that docker takes there, each on one line. The Dockerfile language itself is ``build``'s.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from jupyter_containers.errors import InvalidArgument, suggest

Config = dict[str, Any]


def apply(config: Config, changes: Iterable[str]) -> Config:
    """A copy of an image's ``config`` object with *changes* made.

    >>> apply({}, ["CMD [\\"sh\\"]", "ENV A=1 B='x y'"])
    {'Cmd': ['sh'], 'Env': ['A=1', 'B=x y']}

    Raises:
        InvalidArgument: an instruction that is unknown, not for here, or malformed.
    """
    config = dict(config)
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            mend = suggest(word.upper(), _INSTRUCTIONS) or f"These can be: {', '.join(_INSTRUCTIONS)}."
            raise InvalidArgument(f"{word!r:.80} cannot be changed", f"--change {change!r:.120}", mend)
        try:
            instruction(config, rest.strip())
        except ValueError as error:
            raise InvalidArgument(f"{word.upper()}: {error}", f"--change {change!r:.120}") from None
    return config


def _command(key: str) -> Callable[[Config, str], None]:
    def change(config: Config, rest: str) -> None:
        config[key] = _exec_form(rest) or ["/bin/sh", "-c", _needed(rest)]

    return change


def _exec_form(rest: str) -> list[str] | None:
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None  # as docker: what is no JSON list is a shell command
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def _text(key: str) -> Callable[[Config, str], None]:
    def change(config: Config, rest: str) -> None:
        config[key] = _needed(rest)

    return change


def _env(config: Config, rest: str) -> None:
    env = dict(line.partition("=")[::2] for line in config.get("Env") or [])
    config["Env"] = [f"{name}={value}" for name, value in (env | _pairs(rest)).items()]


def _label(config: Config, rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest)}


def _expose(config: Config, rest: str) -> None:
    ports = [port if "/" in port else f"{port}/tcp" for port in _needed(rest).split()]
    for port in ports:
        number = re.fullmatch(r"([0-9]{1,5})/(?:tcp|udp|sctp)", port)
        if not number or not 0 < int(number[1]) < 65536:
            raise ValueError(f"{port!r:.40} is not PORT[/tcp|udp|sctp]")
    config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **{port: {} for port in ports}}


def _volume(config: Config, rest: str) -> None:
    paths = _exec_form(rest) or _needed(rest).split()
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _onbuild(config: Config, rest: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), _needed(rest)]


def _pairs(rest: str) -> dict[str, str]:
    """``NAME=VALUE ...``, or the old ``NAME VALUE``."""
    words = shlex.split(_needed(rest))
    if "=" not in words[0]:
        name, _, value = rest.partition(" ")
        return {name: _needed(value.strip())}
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"{wrong[0]!r:.40} is not NAME=VALUE")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _needed(rest: str) -> str:
    if not rest:
        raise ValueError("it needs a value")
    return rest


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _command("Cmd"), "ENTRYPOINT": _command("Entrypoint"), "ENV": _env, "EXPOSE": _expose, "LABEL": _label,
    "ONBUILD": _onbuild, "STOPSIGNAL": _text("StopSignal"), "USER": _text("User"), "VOLUME": _volume,
    "WORKDIR": _text("WorkingDir"),
}  # fmt: skip
