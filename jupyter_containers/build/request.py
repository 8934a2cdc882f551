"""What somebody wants built, as values: docker's ``build`` flags once they are resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_containers.build.context import Context
from jupyter_containers.build.dockerfile import Dockerfile
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.reference import Reference
from jupyter_containers.options import RunOptions


@dataclass(frozen=True)
class Secret:
    """One secret: the content of a file, or of a variable, read when a step wants it. It has no value to be printed.

    Attributes:
        path: the file; None where it is a variable.
        variable: the name of the variable.
    """

    path: Path | None = None
    variable: str = ""


@dataclass(frozen=True)
class BuildRequest:
    """A build.

    Attributes:
        dockerfile: parsed. context: what ``COPY`` reads; None for an empty one.
        names: what the image will be called. target: the stage to build; the last one where empty.
        args: ``--build-arg``. labels: ``--label``. platform: of the image; this machine's where None.
        use_cache: whether results of the cache may be used; new ones are always kept.
        cache_from: images whose inline cache may be used. inline_cache: write one into this image.
        pull: ask the registry for bases anew.
        secrets: ``--secret`` by id. agents: sockets of ssh agents by id.
        options: limits and network of ``RUN``: ``--memory``, ``--shm-size``, ``--ulimit``, ``--network``.
        epoch: SOURCE_DATE_EPOCH, seconds since 1970; None for the time of the base.
    """

    dockerfile: Dockerfile
    context: Context | None = None
    names: tuple[Reference, ...] = ()
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    use_cache: bool = True
    cache_from: tuple[str, ...] = ()
    inline_cache: bool = False
    pull: bool = False
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    agents: Mapping[str, Path] = field(default_factory=dict)
    options: RunOptions = field(default_factory=lambda: RunOptions(""))
    epoch: int | None = None
