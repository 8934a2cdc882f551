"""docker-py's ``images.build(path=…, tag=…, buildargs=…)``: its keywords as :class:`BuildOptions`, its logs.

A keyword that a flag has too is read by the flag's own converter, so that both accept and refuse the same. Source:
docker-py ``api/build.py``, ``models/images.py``. Not here: the flags (``options.build``), building (``engine.builds``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jupyter_containers.build.events import Event
from jupyter_containers.engine.builds import BuildOptions
from jupyter_containers.errors import DockerfileError, InvalidArgument, suggest
from jupyter_containers.options import Context
from jupyter_containers.options.build import FLAGS, run_options
from jupyter_containers.options.run import context
from jupyter_containers.options.values import point_in_time
from jupyter_containers.text.build import BuildState
from jupyter_containers.text.build_plain import Plain

if TYPE_CHECKING:
    from jupyter_containers.engine.builds import Builds
    from jupyter_containers.image.store import Image

Keywords = Mapping[str, Any]

# keyword -> flag; a mapping is many words NAME=VALUE, a list many words
_BY_FLAG = {
    "buildargs": "build-arg", "cache_from": "cache-from", "labels": "label", "network_mode": "network",
    "nocache": "no-cache", "platform": "platform", "pull": "pull", "shmsize": "shm-size", "tag": "tag",
    "target": "target", "isolation": "isolation", "squash": "squash", "extra_hosts": "add-host",
}  # fmt: skip
_LIMITS = {"memory": "memory", "memswap": "memory-swap", "cpushares": "cpu-shares", "cpusetcpus": "cpuset-cpus"}
_SOURCES = ("path", "fileobj", "custom_context", "encoding", "dockerfile")
_NO_MATTER = ("quiet", "rm", "forcerm", "timeout", "decode", "gzip", "use_config_proxy")  # of a daemon far away
_KNOWN = (*_BY_FLAG, *_SOURCES, *_NO_MATTER, "container_limits", "on_event")
_ENCODINGS = ("gzip", "x-gzip", "bzip2", "xz", "zstd", "identity")


def build(builds: Builds, keywords: Keywords) -> tuple[Image, list[dict[str, Any]]]:
    """Build what *keywords* say; the image, and what was told: ``{"stream": line}``, at last ``{"aux": {"ID": …}}``.

    Raises:
        InvalidArgument: an unknown keyword, with the nearest one; and what ``Builds.build`` raises.
    """
    for name in keywords:
        if name not in _KNOWN:
            raise InvalidArgument(f"unexpected keyword argument '{name}'", mend=suggest(name, _KNOWN))
    log = _Log(keywords.get("on_event"))
    with options(keywords) as found:
        try:
            image = builds.build(found, log.take)
        except DockerfileError as error:
            error.build_log = log.ended()
            raise
    return image, [*log.told, {"aux": {"ID": image.id}}]


@contextmanager
def options(keywords: Keywords) -> Iterator[BuildOptions]:
    """The options that docker-py's *keywords* describe."""
    where = context()
    values = _values({_BY_FLAG[name]: value for name, value in keywords.items() if name in _BY_FLAG}, where)
    values |= _values(_limits(keywords.get("container_limits") or {}), where)
    args = {name: value for name, value in values.get("build_args", ()) if value is not None}
    same = {name: values[name] for name in ("tags", "target", "platform", "no_cache", "pull", "cache_from")
            if name in values}  # fmt: skip
    labels = dict(values.get("labels", ()))
    with _source(keywords) as source:
        yield BuildOptions(args=args, labels=labels, run=run_options(values), **same, **source)


# --- keywords as the words of flags ---


def _values(given: Keywords, where: Context) -> dict[str, Any]:
    """Values by field, of keywords by flag."""
    flags = {flag.name: flag for flag in FLAGS}
    found: dict[str, Any] = {}
    for name, value in given.items():
        flag = flags[name]
        items = [flag.value(word, where) for word in _words(value)]
        if items:
            found[flag.field] = items if flag.many else items[-1]
    return found


def _words(value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if isinstance(value, Mapping):  # of a build argument None is "as in the environment"
        return [str(name) if item is None else f"{name}={item}" for name, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return ["true" if value is True else str(value)]


def _limits(given: Keywords) -> dict[str, Any]:
    for name in given:
        if name not in _LIMITS:
            mend = suggest(name, _LIMITS) or f"Known are {', '.join(_LIMITS)}."
            raise InvalidArgument(f"invalid container_limits key {name!r}", "container_limits", mend)
    return {_LIMITS[name]: value for name, value in given.items()}


def older(filters: Keywords) -> float:
    """Seconds since the last use, of ``{"until": time or duration}``."""
    for name in filters:
        if name != "until":
            raise InvalidArgument(f"invalid filter '{name}'", mend="Known is until.")
    given = filters.get("until") or []
    words = [given] if isinstance(given, str) else list(given)
    return max((time.time() - point_in_time(str(word), context()) for word in words), default=0.0)


# --- what to build ---


@contextmanager
def _source(keywords: Keywords) -> Iterator[dict[str, Any]]:
    """Context and Dockerfile, as docker-py: ``fileobj`` is a Dockerfile, with ``custom_context`` a tar."""
    path, file = keywords.get("path"), keywords.get("fileobj")
    dockerfile = os.fspath(keywords.get("dockerfile") or "")
    if keywords.get("custom_context"):
        if file is None:
            raise InvalidArgument("You must specify fileobj with custom_context", "fileobj", "Give the tar to read.")
        yield {"archive": _decoded(file, keywords.get("encoding")), "dockerfile": dockerfile}
    elif file is not None:
        data = file.read()
        yield {"text": data if isinstance(data, str) else data.decode("utf-8", "replace")}
    elif path is None:
        raise InvalidArgument("Either path or fileobj needs to be provided.", "build", "Name a folder with path=.")
    elif str(path).startswith(("http://", "https://", "git://", "github.com/", "git@")):
        mend = "Clone or download it, and name the folder."
        raise InvalidArgument("a build context from the network is not in this version", str(path), mend)
    else:
        folder = Path(path).expanduser()
        yield {"context": folder, "dockerfile": str(folder / dockerfile) if dockerfile else ""}


def _decoded(file: IO[bytes], encoding: object) -> IO[bytes]:
    """A tar's compression is found by its content; the name is only checked."""
    if encoding and encoding not in _ENCODINGS:
        mend = suggest(str(encoding), _ENCODINGS) or f"Known are {', '.join(_ENCODINGS)}."
        raise InvalidArgument(f"unknown encoding {encoding!r}", "encoding", mend)
    return file


# --- what is told ---


class _Log:
    """A build's events as docker-py's log."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._plain, self._on_event = Plain(BuildState()), on_event
        self.told: list[dict[str, Any]] = []

    def take(self, event: Event) -> None:
        """One event."""
        self._keep(self._plain.add(event))
        if self._on_event:
            self._on_event(event)

    def ended(self) -> list[dict[str, Any]]:
        """What was told of a build that failed."""
        self._keep(self._plain.end(stopped=False))
        return self.told

    def _keep(self, lines: list[str]) -> None:
        self.told += [{"stream": f"{line}\n"} for line in lines]
