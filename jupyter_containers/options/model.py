"""What a container was asked to be: the one typed form of ``docker run``'s flags.

Every front end (magic line, command line, keywords, later the JSON body) ends in these frozen values, and the
engine starts from them. Defaults are docker's. ``None`` means "not said": the image or the configuration decides.

Not here: how words become values (``values``, ``parser``) and which flags there are (``flags``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Self

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of the host, of the store or of memory that appears in the container.

    Args:
        type: ``bind``, ``volume`` or ``tmpfs``.
        source: absolute host path (bind), volume name or "" for an anonymous one (volume), "" (tmpfs).
        target: absolute path inside.
        read_only: nothing inside may write to it.
        options: kernel words (``rslave``, ``size=64m``, ``mode=1777`` …) and ``nocopy`` for volumes.
        create: make a missing host folder (``-v`` does, ``--mount`` refuses).
    """

    type: str
    source: str
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()
    create: bool = False


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One resource limit; -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host; *permissions* are letters of ``rwm``."""

    source: str
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True)
class RunOptions:
    """``docker run``'s flags, resolved: paths absolute, env files read, sizes in bytes, times in seconds.

    Fields that need a word:
        env / unset_env: what ``-e``/``--env-file`` set; names given without a value that the caller lacks too
            (docker removes these from the image's environment).
        network: ``default``, ``none`` or ``host``.
        memory_swap: memory plus swap in bytes, -1 unlimited.
        pids_limit: -1 unlimited, ``None`` the configured default.
        entrypoint: ``()`` clears the image's.
        cap_add, cap_drop: ``CAP_…`` names or ``ALL``.
        security_opt: ``no-new-privileges``, ``seccomp=unconfined|builtin|/ABS/FILE``, ``apparmor=unconfined``,
            ``label=disable``, ``systempaths=unconfined``.
        timeout: seconds after which the container is stopped (not one of docker's flags).
    """

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    unset_env: tuple[str, ...] = ()
    volumes: tuple[Mount, ...] = ()
    workdir: str | None = None
    user: str | None = None
    publish: tuple[str, ...] = ()
    network: str = "default"
    name: str | None = None
    hostname: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    memory_swap: int | None = None
    cpus: float | None = None
    cpuset_cpus: str | None = None
    cpu_shares: int | None = None
    pids_limit: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 64 * MIB
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    init: bool = False
    rm: bool = False
    detach: bool = False
    tty: bool = False
    interactive: bool = False
    pull: str = "missing"
    platform: str | None = None
    timeout: float | None = None
    stop_signal: str | None = None
    stop_timeout: int = 10
    sysctls: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    group_add: tuple[str, ...] = ()
    restart: str = "no"
    quiet: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON data with only what differs from the defaults; ``image`` and ``rm``, whose default differs, always."""
        kept = ("image", "rm")
        found = ((name, getattr(self, name), default) for name, default in _defaults(type(self)))
        return {name: _plain(value) for name, value, default in found if name in kept or value != default}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The options that :meth:`to_dict` described. An unknown key is a :class:`TypeError`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        for name, kind in (("volumes", Mount), ("ulimits", Ulimit), ("devices", Device)):
            if name in values:
                values[name] = tuple(kind(**_tuples(item)) for item in values[name])
        return cls(**values)


@dataclass(frozen=True)
class CellOptions(RunOptions):
    """A ``%%container`` line: ``run`` plus what only a notebook has. A cell's container goes when it ends.

    Args:
        in_: names of Python variables that the cell gets.
        out: names of variables that it gives back.
        result: the name under which the :class:`ContainerResult` is kept.
        no_raise_error: a non-zero exit raises nothing.
        interpreter: the words after the image; empty: ``#!`` line, image or ``/bin/sh -e`` decide.
    """

    rm: bool = True
    in_: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    result: str | None = None
    no_raise_error: bool = False
    session: str | None = None
    stage: str | None = None
    explain: bool = False
    dry_run: bool = False
    interpreter: tuple[str, ...] = ()


_DEFAULTS: dict[type, tuple[tuple[str, Any], ...]] = {}


def _defaults(kind: type[RunOptions]) -> tuple[tuple[str, Any], ...]:
    """The names of the fields and their defaults."""
    if kind not in _DEFAULTS:
        made = ((f.name, f.default if f.default_factory is MISSING else f.default_factory()) for f in fields(kind))
        _DEFAULTS[kind] = tuple(made)
    return _DEFAULTS[kind]


def _plain(value: Any) -> Any:
    """As JSON has it: dataclasses become objects."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _tuples(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}
