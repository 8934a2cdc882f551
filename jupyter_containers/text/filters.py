"""``--filter KEY=VALUE``: reading, and which container or image passes. Pure.

Values of one key are alternatives, except labels, which must all match; keys must all match. Source: the reference
pages of ``docker ps`` and ``docker images``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from jupyter_containers.errors import InvalidArgument, NotFound, suggest

from .units import moment

Filters = dict[str, list[str]]

STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
CONTAINER_KEYS = (
    "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status",
    "volume",
)  # fmt: skip
IMAGE_KEYS = ("before", "dangling", "id", "label", "reference", "since", "until")
PRUNE_KEYS = ("dangling", "label", "label!", "until")


def parse(words: Iterable[str], known: Sequence[str]) -> Filters:
    """``KEY=VALUE`` words as a mapping; an unknown key or a word without ``=`` is an :class:`InvalidArgument`."""
    found: Filters = {}
    for word in words:
        key, equal, value = word.partition("=")
        if not equal:
            raise InvalidArgument(
                "bad format of filter (expected name=value)", f'invalid argument "{word}" for "--filter" flag'
            )
        key = key.strip().lower()
        if key not in known:
            mend = suggest(key, known) or f"Known are {', '.join(known)}."
            raise InvalidArgument(f"invalid filter '{key}'", mend=mend)
        found.setdefault(key, []).append(value.strip())
    return found


def implies_all(filters: Filters) -> bool:
    """Whether these filters of ``ps`` look at containers that do not run as well."""
    return bool(filters.keys() & {"status", "exited", "before", "since"})


def containers(found: Sequence[Any], filters: Filters) -> list[Any]:
    """Those of *found* (objects with ``attrs``) that pass."""
    tests = [_container_test(key, values, found) for key, values in filters.items()]
    return [item for item in found if all(test(item.attrs) for test in tests)]


Test = Callable[[Mapping[str, Any]], bool]


def _container_test(key: str, values: list[str], found: Sequence[Any]) -> Test:
    if key in ("before", "since"):
        return _by_time(key, [_created(found, value, _container_names, "container") for value in values])
    if key == "status":
        for value in values:
            if value not in STATES:
                raise InvalidArgument(f"invalid filter 'status={value}'", mend=suggest(value, STATES))
    if key == "exited":
        for value in values:
            if not re.fullmatch(r"-?\d+", value):
                raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax', mend="Write an exit code.")
    if key == "label":
        return lambda attrs: all(_label(attrs, value) for value in values)
    single = _CONTAINER_TESTS[key]
    return lambda attrs: any(single(attrs, value) for value in values)


def _container_names(attrs: Mapping[str, Any]) -> list[str]:
    return [str(attrs["Id"]), str(attrs["Name"]).removeprefix("/")]


def _created(found: Iterable[Any], value: str, names: Callable[[Mapping[str, Any]], list[str]], what: str) -> float:
    for item in found:
        known = names(item.attrs)
        if value in known or (len(value) >= 4 and known[0].removeprefix("sha256:").startswith(value)):
            return moment(str(item.attrs["Created"]))
    raise NotFound(f"No such {what}: {value}")


def _by_time(key: str, times: list[float]) -> Test:
    def test(attrs: Mapping[str, Any]) -> bool:
        created = moment(str(attrs["Created"]))
        return any(created < time if key == "before" else created > time for time in times)

    return test


def _label(attrs: Mapping[str, Any], value: str) -> bool:
    labels = (attrs.get("Config") or {}).get("Labels") or {}
    name, equal, wanted = value.partition("=")
    return name in labels and (not equal or labels[name] == wanted)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _name(attrs: Mapping[str, Any], value: str) -> bool:
    name = str(attrs["Name"])
    return _matches(value, name) or _matches(value, name.removeprefix("/"))


def _ancestor(attrs: Mapping[str, Any], value: str) -> bool:
    image = str(attrs["Config"].get("Image") or "")
    ident = str(attrs.get("Image") or "").removeprefix("sha256:")
    whole = value if ":" in value.rpartition("/")[2] or "@" in value else f"{value}:latest"
    given = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    return whole == given or (len(value) >= 4 and ident.startswith(value.removeprefix("sha256:")))


def _exited(attrs: Mapping[str, Any], value: str) -> bool:
    state = attrs["State"]
    return bool(state["Status"] == "exited" and state["ExitCode"] == int(value))


def _volume(attrs: Mapping[str, Any], value: str) -> bool:
    mounts = attrs.get("Mounts") or ()
    return any(value in (mount.get("Name"), mount.get("Source"), mount.get("Destination")) for mount in mounts)


def _port(attrs: Mapping[str, Any], value: str) -> bool:
    ports = attrs["NetworkSettings"].get("Ports") or {}
    return (value if "/" in value else f"{value}/tcp") in ports


_CONTAINER_TESTS: dict[str, Callable[[Mapping[str, Any], str], bool]] = {
    "ancestor": _ancestor,
    "exited": _exited,
    "expose": _port,
    "health": lambda attrs, value: (attrs["State"].get("Health") or {}).get("Status", "none") == value,
    "id": lambda attrs, value: _matches(value, str(attrs["Id"])),
    "name": _name,
    "network": lambda attrs, value: value in (attrs["NetworkSettings"].get("Networks") or {}),
    "publish": _port,
    "status": lambda attrs, value: bool(attrs["State"]["Status"] == value),
    "volume": _volume,
}


# -- images ----------------------------------------------------------------------------------------------------


def images(found: Sequence[Any], filters: Filters) -> list[Any]:
    """Those of *found* (objects with ``attrs``) that pass."""
    tests = [_image_test(key, values, found) for key, values in filters.items()]
    return [item for item in found if all(test(item.attrs) for test in tests)]


def _image_test(key: str, values: list[str], found: Sequence[Any]) -> Test:
    if key in ("before", "since"):
        return _by_time(key, [_created(found, value, _image_names, "image") for value in values])
    if key == "until":
        return _by_time("before", [_point_in_time(value) for value in values])
    if key == "label!":
        return lambda attrs: not any(_label(attrs, value) for value in values)
    if key == "dangling":
        wanted = [boolean(value) for value in values]
        return lambda attrs: (not attrs.get("RepoTags")) in wanted
    if key == "label":
        return lambda attrs: all(_label(attrs, value) for value in values)
    if key == "id":
        return lambda attrs: any(
            str(attrs["Id"]).removeprefix("sha256:").startswith(v.removeprefix("sha256:")) for v in values
        )
    return lambda attrs: any(named(attrs, value) for value in values)


def _point_in_time(value: str) -> float:
    from jupyter_containers.options import Context
    from jupyter_containers.options.values import point_in_time

    return point_in_time(value, Context("", {}))


def boolean(value: str) -> bool:
    """The value of ``dangling=``."""
    if value.lower() not in ("true", "1", "false", "0"):
        raise InvalidArgument(f"invalid filter 'dangling={value}'", mend="Write true or false.")
    return value.lower() in ("true", "1")


def _image_names(attrs: Mapping[str, Any]) -> list[str]:
    tags = [str(tag) for tag in attrs.get("RepoTags") or ()]
    return [str(attrs["Id"]), *tags, *(tag.removesuffix(":latest") for tag in tags)]


def named(attrs: Mapping[str, Any], pattern: str) -> bool:
    """Whether a name of an image matches ``REPOSITORY[:TAG]`` with ``*``, ``?`` and ``[…]``."""
    return bool(matching_tags(attrs, pattern))


def matching_tags(attrs: Mapping[str, Any], pattern: str) -> list[str]:
    """The names of an image that match."""
    tags = [str(tag) for tag in attrs.get("RepoTags") or ()]
    return [tag for tag in tags if fnmatchcase(tag, pattern) or fnmatchcase(tag.rpartition(":")[0], pattern)]
