"""Which containers are alike, so that the next one of a kind can be made ready before anybody asks for it.

A config.json is split into what all containers of a kind have in common (layers, mounts, user, rights, limits …) and
what is each one's own: its arguments, its variables, the texts of its ``data`` mounts; its id, and so the folder and
the host name that follow from it. Only what nobody can change meanwhile makes a kind: a container with a folder of the
host in it, a device or a terminal is of none, and is made when it is asked for.

Not here: who makes containers ready (:mod:`ready`) and how one is claimed (:mod:`waiting`). Changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]

_TYPES = frozenset(["overlay", "proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "data"])
_OWN = ("args", "env")  # of ``process``
_NAME_LENGTH = 12  # of a host name made from an id, as Docker's
_PREFIX = "org.nb-containers."
_OWN_INIT = _PREFIX + "init"  # a small init of ours stays in between: see ``spec``
_BUNDLE = "."  # stands for the container's folder


@dataclass(frozen=True)
class Split:
    """A config.json in two parts; :func:`joined` makes it whole again."""

    name: str
    common: Config
    own: Config


def split(config: Config, container_id: str, bundle: str, code: str) -> Split | None:
    """The two parts of *config*; ``None`` where it is of no kind.

    Args:
        config: decoded, ``linux.seccomp`` missing or the word for Docker's default.
        code: the fingerprint of the code that will make it ready; other code has other kinds.

    Raises:
        KeyError, TypeError: it is not a config.json.
        OSError: a layer is not there.
    """
    if not _is_of_a_kind(config):
        return None
    process, mounts = dict(config["process"]), [dict(mount) for mount in config["mounts"]]
    own: Config = {name: process.pop(name) for name in _OWN}
    own["texts"] = {mount["destination"]: mount.pop("source") for mount in mounts if mount["type"] == "data"}
    for mount in mounts:
        if mount["type"] == "overlay":
            mount["options"] = [option.replace(f"dir={bundle}/", f"dir={_BUNDLE}/") for option in mount["options"]]
    common = {**config, "process": process, "mounts": mounts}
    if common["hostname"] == container_id[:_NAME_LENGTH]:
        common["hostname"] = None
    return Split(_name(common, code), common, own)


def _is_of_a_kind(config: Config) -> bool:
    linux = config["linux"]
    overlays = [mount["destination"] for mount in config["mounts"] if mount["type"] == "overlay"]
    return (
        isinstance(linux.get("seccomp", ""), str)  # a profile of the user's might forbid what is still to be done
        and not any(config["process"].get(name) for name in ("terminal", "rlimits"))
        and not any(linux.get(name) for name in ("devices", "sysctl"))
        and _OWN_INIT not in config["annotations"]
        and overlays == ["/"]
        and all(mount["type"] in _TYPES for mount in config["mounts"])
    )


def _name(common: Config, code: str) -> str:
    """A digest of it all. A layer counts by its inode too: one that was removed and came again is another one.

    While a container of the kind is ready, the kernel keeps the folders it is mounted from, and their numbers.
    """
    folders = [os.stat(path) for path in _layers(common)]
    stamps = [(found.st_dev, found.st_ino) for found in folders]
    text = json.dumps([code, stamps, common], separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _layers(common: Config) -> list[str]:
    options = next(mount["options"] for mount in common["mounts"] if mount["type"] == "overlay")
    return [option.partition("=")[2] for option in options if option.startswith("lowerdir+=")]


def joined(common: Config, own: Config, container_id: str, bundle: str) -> Config:
    """The config.json of one container of a kind."""
    mounts = [dict(mount) for mount in common["mounts"]]
    for mount in mounts:
        if mount["type"] == "data":
            mount["source"] = own["texts"].get(mount["destination"], "")
        elif mount["type"] == "overlay":
            mount["options"] = [option.replace(f"dir={_BUNDLE}/", f"dir={bundle}/") for option in mount["options"]]
    process = {**common["process"], **{name: own[name] for name in _OWN}}
    hostname = container_id[:_NAME_LENGTH] if common["hostname"] is None else common["hostname"]
    return {**common, "process": process, "mounts": mounts, "hostname": hostname}
