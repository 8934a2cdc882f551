"""Compiled seccomp programs by the content of ``linux.seccomp``.

Compiling costs more than the rest of a start: the launcher compiles the default ahead and keeps what it has seen;
processes that it forks inherit the table.
"""

from __future__ import annotations

import hashlib
import json

from kernel_runtime import capabilities, seccomp, seccomp_profile
from kernel_runtime.spec import Spec

_programs: dict[bytes, bytes] = {}


def compile_for(config: Spec) -> bytes | None:
    """The program for *config*, ``None`` where it asks for no filter."""
    if config.seccomp is None:
        return None
    text = json.dumps(config.seccomp, separators=(",", ":"))
    key = hashlib.sha256(f"{config.emulates_ownership}{text}".encode()).digest()
    if key not in _programs:
        profile = seccomp_profile.emulate_ownership(config.seccomp) if config.emulates_ownership else config.seccomp
        _programs[key] = seccomp.compile(profile)
    return _programs[key]


def compile_default(emulates_ownership: bool) -> None:
    """Compile Docker's default profile for its default capabilities."""
    from kernel_runtime.spec import EMULATE_OWNERSHIP, Process

    notes = {EMULATE_OWNERSHIP: "true"} if emulates_ownership else {}
    profile = seccomp_profile.default_profile(capabilities.DEFAULT)
    compile_for(Spec(Process(("",)), "", seccomp=profile, annotations=notes))
