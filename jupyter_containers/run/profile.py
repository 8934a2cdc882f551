"""What a container may do: capabilities, seccomp and no-new-privileges, from Docker's flags.

The lists themselves belong to the runtime and come through :mod:`jupyter_containers.run.runtime`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import RunOptions
from jupyter_containers.run import runtime


@dataclass(frozen=True)
class Profile:
    """The rights of a container: capability names, an OCI ``linux.seccomp`` object or ``None`` for no filter."""

    capabilities: tuple[str, ...]
    seccomp: Mapping[str, Any] | None
    no_new_privileges: bool


def profile(options: RunOptions) -> Profile:
    """The profile that ``--cap-add --cap-drop --security-opt --privileged`` ask for.

    Raises:
        InvalidArgument: an unknown option, capability or profile file.
    """
    if options.privileged:
        return Profile(runtime.all_capabilities(), None, False)
    capabilities = runtime.capabilities(options.cap_add, options.cap_drop)
    seccomp: Mapping[str, Any] | None = runtime.default_seccomp(capabilities)
    no_new_privileges = False
    for option in options.security_opt:
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges":
            no_new_privileges = value in ("", "true")
        elif name == "seccomp":
            seccomp = None if value == "unconfined" else _read_seccomp(value, capabilities)
        elif name in ("apparmor", "label"):
            continue  # neither AppArmor nor SELinux labels are set by this runtime
        else:
            raise InvalidArgument(f"--security-opt {option}: unknown option", mend="Known: no-new-privileges, seccomp=")
    return Profile(capabilities, seccomp, no_new_privileges)


def _read_seccomp(path: str, capabilities: tuple[str, ...]) -> Mapping[str, Any]:
    if path in ("builtin", "default"):
        return runtime.default_seccomp(capabilities)
    try:
        data = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"--security-opt seccomp={path}: {error}", mend="Give a JSON profile.") from error
    if not isinstance(data, dict) or "defaultAction" not in data:
        raise InvalidArgument(f"--security-opt seccomp={path}: not a seccomp profile (no defaultAction)")
    return data
