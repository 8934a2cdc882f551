"""Compiled seccomp programs by the content of ``linux.seccomp``.

Compiling costs more than the rest of a start: the launcher compiles the default ahead and keeps what it has seen;
processes that it forks inherit the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kernel_runtime import capabilities, seccomp, seccomp_profile
from kernel_runtime.spec import EMULATE_OWNERSHIP, Spec, parse

_programs: list[tuple[bool, Mapping[str, Any], bytes]] = []  # emulates ownership, profile, program


def compile_for(config: Spec) -> bytes | None:
    """The program for *config*, ``None`` where it asks for no filter."""
    if config.seccomp is None:
        return None
    for emulates, profile, program in _programs:
        if emulates == config.emulates_ownership and profile == config.seccomp:
            return program
    wanted = seccomp_profile.emulate_ownership(config.seccomp) if config.emulates_ownership else config.seccomp
    program = seccomp.compile(wanted)
    _programs.append((config.emulates_ownership, config.seccomp, program))
    return program


def sample_config() -> dict[str, Any]:
    """A small config.json with Docker's default profile for its default capabilities."""
    namespaces = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup", "network")]
    return {
        "process": {"args": ["true"], "capabilities": {"bounding": list(capabilities.DEFAULT)}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": namespaces, "seccomp": seccomp_profile.DEFAULT},
    }


def fill_in(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json as it came in an order: ``DEFAULT`` stands for Docker's default profile, half of the text."""
    linux = config.get("linux")
    if isinstance(linux, dict) and linux.get("seccomp") == seccomp_profile.DEFAULT:
        return {**config, "linux": {**linux, "seccomp": _default()}}
    return config


@cache
def _default() -> dict[str, Any]:
    return seccomp_profile.default_profile(capabilities.DEFAULT)


def compile_default(emulates_ownership: bool) -> None:
    """Compile Docker's default profile for its default capabilities."""
    notes = {EMULATE_OWNERSHIP: "true"} if emulates_ownership else {}
    compile_for(parse({**fill_in(sample_config()), "annotations": notes}))
