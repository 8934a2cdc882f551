"""From an argument list to :class:`RunOptions`, and back to the equal ``docker run`` line.

``parse_run(argv)`` and ``docker_run_line(options)`` are inverse to each other.

Not here: keyword arguments (``keywords``), and anything that needs a container or an image.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jupyter_containers.errors import InvalidArgument

from .flag import parse
from .flags import flags_for
from .model import MIB, CellOptions, Mount, RunOptions
from .mounts import mount_flag
from .values import Context

Options = TypeVar("Options", bound=RunOptions)


def parse_run(
    argv: Sequence[str],
    base_dir: str | os.PathLike[str] = "",
    environ: Mapping[str, str] | None = None,
    verb: str = "run",
) -> RunOptions:
    """The options of ``docker run ARGV``.

    Args:
        argv: the words after ``run``: flags, image, command.
        base_dir: where relative paths start (the notebook's folder); the current one by default.
        environ: what ``-e NAME`` takes values from; ``os.environ`` by default.
        verb: ``run`` or ``create``.
    """
    parsed = parse(flags_for(verb), argv, context(base_dir, environ), interspersed=False)
    if not parsed.words:
        raise InvalidArgument(f"'docker {verb}' requires at least 1 argument", mend="Name an image, or host.")
    return from_parsed(parsed.values, parsed.words)


def from_parsed(values: Mapping[str, Any], words: Sequence[str]) -> RunOptions:
    """The options of flags that are read already; *words* are the image and the command."""
    return options(RunOptions, values, image=words[0], command=tuple(words[1:]))


def parse_cell(
    argv: Sequence[str],
    base_dir: str | os.PathLike[str] = "",
    environ: Mapping[str, str] | None = None,
    default_image: str = "host",
) -> CellOptions:
    """The options of a ``%%container ARGV`` line: the words after the image are the interpreter and its arguments."""
    parsed = parse(flags_for("cell"), argv, context(base_dir, environ), interspersed=False)
    image, *interpreter = parsed.words or [default_image]
    values = dict(parsed.values)
    for name in ("in_", "out"):
        values[name] = tuple(variable for group in values.get(name, ()) for variable in group)
    if "keep" in values:
        values["rm"] = not values.pop("keep")
    return options(CellOptions, values, image=image, interpreter=tuple(interpreter))


def context(base_dir: str | os.PathLike[str] = "", environ: Mapping[str, str] | None = None) -> Context:
    """The :class:`Context` of a caller: absolute *base_dir*, *environ* or the process's own."""
    return Context(str(Path(base_dir or ".").absolute()), os.environ if environ is None else environ)


def options(kind: type[Options], values: Mapping[str, Any], **more: Any) -> Options:
    """Parsed *values* (by field, lists for flags that repeat) as options of *kind*, checked together."""
    merged: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    merged |= environment(merged)
    merged["labels"] = dict(pair for file in merged.pop("label_files", ()) for pair in file) | dict(
        merged.get("labels", ())
    )
    merged["sysctls"] = dict(merged.get("sysctls", ()))
    merged |= _capabilities(merged)
    found = kind(**merged, **more)
    check(found)
    return found


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def environment(values: dict[str, Any]) -> dict[str, Any]:
    """``env`` and ``unset_env`` of what ``-e`` and ``--env-file`` gave (both are taken out of *values*)."""
    pairs = dict(pair for file in values.pop("env_files", ()) for pair in file) | dict(values.pop("env", ()))
    return {
        "env": {name: value for name, value in pairs.items() if value is not None},
        "unset_env": tuple(name for name, value in pairs.items() if value is None),
    }


def _capabilities(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    # docker/cli opts.EffectiveCapAddCapDrop: each once, and what is both added and dropped is added
    added = tuple(dict.fromkeys(values.get("cap_add", ())))
    dropped = dict.fromkeys(values.get("cap_drop", ()))
    return {"cap_add": added, "cap_drop": tuple(name for name in dropped if name == "ALL" or name not in added)}


def check(found: RunOptions) -> None:
    """Refuse options that contradict each other, as docker does."""
    if found.rm and found.restart != "no" and not isinstance(found, CellOptions):
        raise InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    if found.memory is not None and 0 < found.memory < 6 * MIB:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    swap = found.memory_swap or 0
    if swap > 0 and not found.memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if swap > 0 and swap < (found.memory or 0):
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    targets = [mount.target for mount in found.volumes]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument(f"Duplicate mount point: {target}")


def docker_run_line(found: RunOptions) -> str:
    """The equal ``docker run`` line, quoted for a shell.

    ``--timeout`` is not docker's: it becomes coreutils' ``timeout`` in front. What only a notebook has
    (:class:`CellOptions`) is left out; the interpreter counts as the command.
    """
    words = ["docker", "run"]
    if found.timeout is not None:
        words = ["timeout", number(found.timeout) + "s", *words]
    for flag in flags_for("run"):
        for value in _shown(found, flag.field) if flag.field not in _MERGED else ():
            words += _words(flag.short or flag.name, flag.kind, value)
    for name, value in _merged(found):
        words += [f"--{name}", value] if name != "volume" else ["-v", value]
    command = found.command or (found.interpreter if isinstance(found, CellOptions) else ())
    return shlex.join([*words, found.image, *command])


_MERGED = frozenset(["volumes", "timeout", "env", "labels", "sysctls", "env_files", "label_files", "publish"])


def _shown(found: RunOptions, field: str) -> Iterable[Any]:
    value = getattr(found, field, None)
    if value is None or value == getattr(_PLAIN, field):
        return ()
    if field == "entrypoint":
        return (value[0] if value else "",)
    return value if isinstance(value, tuple) else (value,)


_PLAIN = RunOptions("")


def _words(name: str, kind: str, value: Any) -> list[str]:
    dashed = f"-{name}" if len(name) == 1 else f"--{name}"
    if not kind:
        return [dashed] if value else [f"{dashed}=false"]
    text = _text(value)
    return [dashed, text] if len(name) == 1 or not text.startswith("-") else [f"{dashed}={text}"]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if hasattr(value, "soft"):
        return f"{value.name}={value.soft}" + ("" if value.hard == value.soft else f":{value.hard}")
    if hasattr(value, "permissions"):
        parts = [value.source, value.target, value.permissions]
        return ":".join(parts if value.permissions != "rwm" else parts[: 1 + (value.target != value.source)])
    return str(value)


def number(value: float) -> str:
    """*value* with at most nine digits after the point and no exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _merged(found: RunOptions) -> Iterable[tuple[str, str]]:
    for name, value in found.env.items():
        yield "env", f"{name}={value}"
    for name in found.unset_env:
        yield "env", name
    for name, value in found.labels.items():
        yield "label", f"{name}={value}" if value else name
    for name, value in found.sysctls.items():
        yield "sysctl", f"{name}={value}"
    for mount in found.volumes:
        yield _mount(mount)
    for port in found.publish:
        yield "publish", port


def _mount(mount: Mount) -> tuple[str, str]:
    return mount_flag(mount)
