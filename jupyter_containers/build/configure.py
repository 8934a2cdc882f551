"""What an instruction does to an image's ``config`` object, as docker does it.

The object is that of the OCI image specification with docker's ``Healthcheck``, ``OnBuild`` and ``Shell``. Pure: a new
object comes back. Not here: ``author``, which lies outside of the object and which ``MAINTAINER`` sets; history; and
what makes layers (``COPY``, ``ADD``, ``RUN``, the folder of ``WORKDIR``).

https://github.com/moby/docker-image-spec and BuildKit's ``dockerfile2llb/convert.go``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from jupyter_containers.build.instructions import (
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from jupyter_containers.build.source import Fault
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import values
from jupyter_containers.options import words as option_words

Config = dict[str, Any]

DEFAULT_SHELL = ("/bin/sh", "-c")
_CONTEXT = values.Context("", {})
_PORT = re.compile(
    r"(?:(?:(?P<ip>.*):)?(?P<host>[0-9]+(?:-[0-9]+)?)?:)?"
    r"(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?(?:/(?P<protocol>[a-zA-Z]*))?"
)
_PROTOCOLS = ("tcp", "udp", "sctp")
_TIMES = {
    "Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period", "StartInterval": "start_interval",
    "Retries": "retries",
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """What of a stage's past matters.

    Args:
        has_cmd: a ``CMD`` of this stage came before: an ``ENTRYPOINT`` then leaves it, and only an inherited one goes.
    """

    has_cmd: bool = False

    def after(self, instruction: Instruction) -> State:
        """The state behind an instruction."""
        return State(True) if isinstance(instruction, Cmd) else self


def apply(config: Config, instruction: Instruction, state: State | None = None) -> Config:
    """A copy of *config* with what *instruction* does; the same content where it does nothing to it.

    What it makes empty (``CMD []``) is left out, as in docker's JSON.

    Args:
        config: the ``config`` object of the image so far.
        instruction: expanded.
        state: what came before in the stage.

    Raises:
        DockerfileError: a port or a signal that is none.
    """
    change = _CHANGES.get(type(instruction))
    try:
        changes = change(config, instruction, state or State()) if change else {}
    except Fault as fault:
        raise instruction.location.fault(fault) from None
    return {key: value for key, value in {**config, **changes}.items() if key not in changes or value}


def environment(config: Config) -> dict[str, str]:
    """The variables that an image's configuration sets."""
    return dict(line.partition("=")[::2] for line in config.get("Env") or [])


def argv(config: Config, command: Command) -> list[str]:
    """The words to execute for a command: the shell form has the image's shell, or ``/bin/sh -c``, before it."""
    if not command.shell:
        return list(command.words)
    return [*(config.get("Shell") or DEFAULT_SHELL), " ".join(command.words)]


def workdir(config: Config, path: str) -> str:
    """*path* as seen from the configuration's working directory: absolute, without ``.`` and ``..``."""
    joined = posixpath.join("/", config.get("WorkingDir") or "/", path)
    return posixpath.normpath(joined).replace("//", "/")


def exposed(ports: Iterable[str]) -> list[str]:
    """Ports as the configuration has them, ``80/tcp``, in order, ranges written out.

    As docker does, an address and a host's port (``127.0.0.1:8080:80``) are read and say nothing.

    Raises:
        Fault: not a port.
    """
    return [port for word in ports for port in _ports(word)]


def _cmd(config: Config, found: Cmd, _: State) -> Config:
    return {"Cmd": argv(config, found.command)}


def _entrypoint(config: Config, found: Entrypoint, state: State) -> Config:
    inherited = {} if state.has_cmd else {"Cmd": None}
    return {"Entrypoint": argv(config, found.command), **inherited}


def _env(config: Config, found: Env, _: State) -> Config:
    """One that is there keeps its place."""
    merged = environment(config) | dict(found.pairs)
    return {"Env": [f"{name}={value}" for name, value in merged.items()]}


def _label(config: Config, found: Label, _: State) -> Config:
    return {"Labels": {**(config.get("Labels") or {}), **dict(found.pairs)}}


def _expose(config: Config, found: Expose, _: State) -> Config:
    return {"ExposedPorts": {**(config.get("ExposedPorts") or {}), **{port: {} for port in exposed(found.ports)}}}


def _volume(config: Config, found: Volume, _: State) -> Config:
    if not all(found.paths):
        raise Fault("VOLUME specified can not be an empty string")
    return {"Volumes": {**(config.get("Volumes") or {}), **{path: {} for path in found.paths}}}


def _user(_: Config, found: User, __: State) -> Config:
    return {"User": found.user}


def _workdir(config: Config, found: Workdir, _: State) -> Config:
    return {"WorkingDir": workdir(config, found.path)}


def _shell(_: Config, found: Shell, __: State) -> Config:
    return {"Shell": list(found.words)}


def _stopsignal(_: Config, found: Stopsignal, __: State) -> Config:
    try:
        return {"StopSignal": option_words.signal_name(found.signal, _CONTEXT)}
    except InvalidArgument as error:
        raise Fault(error.what, found.signal, error.mend or "Write a signal's name or number, as in SIGINT.") from None


def _healthcheck(_: Config, found: Healthcheck, __: State) -> Config:
    """What is 0 is left out, as in docker's JSON."""
    times = {key: getattr(found, name) for key, name in _TIMES.items() if getattr(found, name)}
    return {"Healthcheck": {"Test": list(found.test), **times}}


def _onbuild(config: Config, found: Onbuild, _: State) -> Config:
    return {"OnBuild": [*(config.get("OnBuild") or []), found.expression]}


def _ports(word: str) -> list[str]:
    match = _PORT.fullmatch(word)
    mend = "The form is PORT, PORT-PORT, and tcp, udp or sctp behind a /, as in 53/udp."
    if not match:
        raise Fault(f"not a port: {word!r:.80}", word, mend)
    protocol = (match["protocol"] or "tcp").lower()
    first, last = int(match["first"][:9]), int((match["last"] or match["first"])[:9])
    if match["ip"] and not _is_address(match["ip"]):
        raise Fault(f"invalid IP address {match['ip']!r:.80}", word, mend)
    if protocol not in _PROTOCOLS:
        raise Fault(f"invalid protocol {match['protocol']!r:.40} of port {word!r:.80}", word, mend)
    if not first <= last <= 65535:
        raise Fault(f"port out of range: {word!r:.80}", word, "Ports go from 0 to 65535, ranges upwards.")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _is_address(text: str) -> bool:
    import ipaddress  # hardly anyone writes one

    try:
        return bool(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False


_CHANGES: dict[type[Instruction], Callable[[Config, Any, State], Config]] = {
    Cmd: _cmd, Entrypoint: _entrypoint, Env: _env, Expose: _expose, Healthcheck: _healthcheck, Label: _label,
    Onbuild: _onbuild, Shell: _shell, Stopsignal: _stopsignal, User: _user, Volume: _volume, Workdir: _workdir,
}  # fmt: skip
