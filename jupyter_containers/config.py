"""Where things lie and what is the default: plain values, read from the environment; front ends may override them.

Not here: the traitlets that users set in ``ipython_config.py`` and ``jupyter_server_config.py``; the magics and the
server extension read those and make a :class:`Settings` of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def default_home() -> Path:
    """``$JUPYTER_CONTAINERS_HOME``, else ``$XDG_DATA_HOME/jupyter-containers``."""
    given = os.environ.get("JUPYTER_CONTAINERS_HOME")
    if given:
        return Path(given).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "jupyter-containers"


def words_from(variable: str) -> tuple[str, ...]:
    """The words of an environment variable, separated by commas or spaces."""
    return tuple(os.environ.get(variable, "").replace(",", " ").split())


@dataclass(frozen=True)
class Settings:
    """What an engine goes by.

    Attributes:
        home: the store; made with mode 0700 at first use.
        default_image: the image of a cell that names none.
        minimum_isolation: refuse to run on a weaker rung than this (``root``, ``rootless``, ``rootless-single``;
            empty: the best that the machine allows).
        pids_limit: processes per container where ``--pids-limit`` is not given, as Podman's default.
        log_max_size: bytes of a container's log before it is rotated.
        log_max_file: how many log files are kept, the current one included.
        registry_mirrors: URLs of mirrors of docker.io, asked first (docker's ``registry-mirrors``);
            ``$JUPYTER_CONTAINERS_REGISTRY_MIRRORS``.
        insecure_registries: hosts, HOST:PORT or networks that may be spoken to over plain http or without a trusted
            certificate (docker's ``insecure-registries``); ``$JUPYTER_CONTAINERS_INSECURE_REGISTRIES``.
        token_hosts: ``REGISTRY=HOST``: token servers on another host than their registry's, which may have its
            password; ``$JUPYTER_CONTAINERS_TOKEN_HOSTS``.
        build_cache_size: bytes of files that the build cache keeps; what was not used longest goes first.
        rung: use just this rung; for tests.
    """

    home: Path = field(default_factory=default_home)
    default_image: str = "host"
    minimum_isolation: str = ""
    pids_limit: int = 2048
    log_max_size: int = 10 * 1024 * 1024
    log_max_file: int = 2
    registry_mirrors: tuple[str, ...] = field(default_factory=lambda: words_from("JUPYTER_CONTAINERS_REGISTRY_MIRRORS"))
    insecure_registries: tuple[str, ...] = field(
        default_factory=lambda: words_from("JUPYTER_CONTAINERS_INSECURE_REGISTRIES")
    )
    token_hosts: tuple[str, ...] = field(default_factory=lambda: words_from("JUPYTER_CONTAINERS_TOKEN_HOSTS"))
    build_cache_size: int = 10 * 1024**3
    rung: str = field(default_factory=lambda: os.environ.get("JUPYTER_CONTAINERS_RUNG", ""))
