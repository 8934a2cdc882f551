"""config.json of the OCI runtime-spec as typed, checked values.

Pure: reads no file but the one given and changes nothing. What the runtime does not support is refused here, by name,
so that no later step has to guess. Source of the fields: https://github.com/opencontainers/runtime-spec (1.2).

Four additions of ours, which other runtimes ignore or refuse:

* a ``mounts`` entry whose destination is ``/`` is the root file system itself (an overlay over layers);
* one of type ``data`` is a small file whose text is its ``source`` (options ``mode=0755`` and those of a bind);
* ``process.user.username`` is Docker's ``name|uid[:group|gid]``, looked up inside the root file system, as are the
  names or numbers in ``process.user.additionalGroups``;
* annotations ``org.nb-containers.*`` (see the constants below).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel_runtime.errors import SpecError

EMULATE_OWNERSHIP = "org.nb-containers.emulate-ownership"
INIT = "org.nb-containers.init"
NETWORK = "org.nb-containers.network"
NAMESPACE_TYPES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time")


@dataclass(frozen=True, slots=True)
class Mount:
    """One entry of ``mounts``: options as in fstab, in order."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rlimit:
    """One entry of ``process.rlimits``: ``type`` is ``RLIMIT_NOFILE`` and the like."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Process:
    """``process``: what runs, as whom, and with which rights."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    terminal: bool = False
    console_size: tuple[int, int] | None = None  # rows, columns
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    username: str = ""
    additional_groups: tuple[str, ...] = ()
    umask: int = 0o022
    capabilities: Mapping[str, list[str]] | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None

    def environ(self) -> dict[str, str]:
        """``env`` as a mapping; the last of two equal names wins."""
        return dict(entry.partition("=")[::2] for entry in self.env)


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole config.json."""

    process: Process
    root_path: str
    root_readonly: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)  # type -> path to join, "" for a new one
    resources: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[Mapping[str, Any], ...] = ()
    sysctl: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: Mapping[str, Any] | None = None
    propagation: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def emulates_ownership(self) -> bool:
        """Whether chown and its like are answered with success and nothing done."""
        return self.annotations.get(EMULATE_OWNERSHIP) == "true"

    @property
    def wants_init(self) -> bool:
        """Whether PID 1 shall be a small init of ours that reaps and forwards signals (``docker run --init``)."""
        return self.annotations.get(INIT) == "true"

    @property
    def network(self) -> str:
        """``none``, ``host`` or ``default``: which network the launcher gives to a new network namespace."""
        if "network" not in self.namespaces:
            return "host"
        return self.annotations.get(NETWORK, "none")


def load(path: str) -> Spec:
    """Read and check the config.json at *path*."""
    try:
        with open(path, "rb") as file:
            data = json.load(file)
    except (OSError, ValueError) as error:
        raise SpecError("read", path, str(error), "A bundle needs a config.json of the OCI runtime-spec.") from error
    return parse(data, path)


def parse(data: Any, place: str = "config.json") -> Spec:
    """Check a decoded config.json; errors name the field."""
    config = _Reader(data, place)
    linux = config.object("linux")
    root = config.object("root")
    if "hooks" in config.data and any(config.data["hooks"].values()):
        raise SpecError("read", f"{place}: hooks", "this runtime runs no hooks", "Remove them from config.json.")
    return Spec(
        process=parse_process(config.data.get("process"), f"{place}: process"),
        root_path=root.text("path", required=True),
        root_readonly=root.flag("readonly"),
        hostname=config.text("hostname"),
        domainname=config.text("domainname"),
        mounts=tuple(_mount(entry) for entry in config.objects("mounts")),
        namespaces=_namespaces(linux),
        resources=linux.object("resources").data,
        devices=tuple(entry.data for entry in linux.objects("devices")),
        sysctl=linux.strings("sysctl"),
        masked_paths=tuple(linux.texts("maskedPaths")),
        readonly_paths=tuple(linux.texts("readonlyPaths")),
        seccomp=linux.object("seccomp").data or None,
        propagation=linux.text("rootfsPropagation"),
        annotations=config.strings("annotations"),
    )


def parse_process(data: Any, place: str) -> Process:
    """Check a ``process`` object, of a config.json or of an exec."""
    process = _Reader(data, place)
    args = process.texts("args")
    if not args:
        raise SpecError("read", f"{place}.args", "no command", "Name a command, or an image that has one.")
    cwd = process.text("cwd") or "/"
    if not cwd.startswith("/"):
        raise SpecError("read", f"{place}.cwd", f"{cwd!r} is not absolute", "Give a path from the root.")
    env = process.texts("env")
    for value in (*args, *env, cwd):
        if "\0" in value:
            raise SpecError("read", place, "a NUL byte in an argument, variable or path")
    user, size = process.object("user"), process.object("consoleSize")
    return Process(
        args=tuple(args),
        env=tuple(entry for entry in env if "=" in entry),
        cwd=cwd,
        terminal=process.flag("terminal"),
        console_size=(size.number("height"), size.number("width")) if size.data else None,
        uid=user.number("uid"),
        gid=user.number("gid"),
        additional_gids=tuple(user.numbers("additionalGids")),
        username=user.text("username"),
        additional_groups=tuple(user.texts("additionalGroups")),
        umask=user.number("umask", 0o022),
        capabilities=process.object("capabilities").data or None,
        rlimits=tuple(
            Rlimit(entry.text("type", required=True), entry.number("soft"), entry.number("hard"))
            for entry in process.objects("rlimits")
        ),
        no_new_privileges=process.flag("noNewPrivileges"),
        oom_score_adj=process.data.get("oomScoreAdj"),
    )


def _mount(entry: _Reader) -> Mount:
    destination = entry.text("destination", required=True)
    if not destination.startswith("/"):
        raise SpecError("read", entry.place, f"mount destination {destination!r} is not absolute")
    kind = entry.text("type") or "bind"
    return Mount(destination, kind, entry.text("source"), tuple(entry.texts("options")))


def _namespaces(linux: _Reader) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in linux.objects("namespaces"):
        kind = entry.text("type", required=True)
        if kind not in NAMESPACE_TYPES:
            raise SpecError("read", entry.place, f"unknown namespace type {kind!r}")
        if kind in found:
            raise SpecError("read", entry.place, f"namespace {kind!r} is named twice")
        found[kind] = entry.text("path")
    for kind in ("mount", "pid", "ipc", "uts", "cgroup"):
        if found.get(kind) != "":
            raise SpecError("read", linux.place, f"a container needs a new {kind} namespace")
    if found.get("network"):
        raise SpecError("read", linux.place, "joining another's network namespace is not supported")
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """A JSON object with its place; every access checks the type and names the field."""

    data: Any
    place: str

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise SpecError("read", self.place, f"expected an object, found {type(self.data).__name__}")

    def _get(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise SpecError("read", f"{self.place}.{key}", f"wrong type {type(value).__name__}")
        return value

    def object(self, key: str) -> _Reader:
        return _Reader(self._get(key, dict, {}), f"{self.place}.{key}")

    def objects(self, key: str) -> list[_Reader]:
        return [_Reader(item, f"{self.place}.{key}[{n}]") for n, item in enumerate(self._get(key, list, []))]

    def text(self, key: str, required: bool = False) -> str:
        value = str(self._get(key, str, ""))
        if required and not value:
            raise SpecError("read", f"{self.place}.{key}", "missing")
        return value

    def texts(self, key: str) -> list[str]:
        values = self._get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise SpecError("read", f"{self.place}.{key}", "expected a list of strings")
        return list(values)

    def strings(self, key: str) -> dict[str, str]:
        values = self._get(key, dict, {})
        if not all(isinstance(value, str) for value in values.values()):
            raise SpecError("read", f"{self.place}.{key}", "expected strings as values")
        return dict(values)

    def number(self, key: str, default: int = 0) -> int:
        return int(self._get(key, int, default))

    def numbers(self, key: str) -> list[int]:
        values = self._get(key, list, [])
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise SpecError("read", f"{self.place}.{key}", "expected a list of whole numbers")
        return list(values)

    def flag(self, key: str) -> bool:
        return bool(self._get(key, bool, False))
