"""``%%container``: from the line and the body to a running container, its output in the cell, its value.

The data's way: substitution in the line -> :class:`CellOptions` -> interpreter, script -> engine -> stream -> result.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers import line as lines
from jupyter_containers.cli.out import Notebook
from jupyter_containers.cli.registry import ensure
from jupyter_containers.engine.containers import exit_error
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.magics.stream import Stream
from jupyter_containers.options import CellOptions, docker_run_line, parse_cell
from jupyter_containers.result import ContainerResult
from jupyter_containers.run import interpreter, variables
from jupyter_containers.run.bundle import Extra

if TYPE_CHECKING:
    from jupyter_containers.magics import ContainerMagics


def run(magics: ContainerMagics, line: str, body: str) -> ContainerResult | None:
    """Run one cell.

    Raises:
        ContainerExit: a non-zero exit code, unless ``--no-raise-error``.
        ContainersError: it could not be run; the text says why and what mends it.
    """
    namespace = magics.namespace
    line, body = lines.continued(line, body)
    words = lines.words(line, namespace, str(Path.cwd()))
    if words[:1] in (["--help"], ["-h"]):
        sys.stdout.write(help_text())
        return None
    engine = magics.engine
    options = parse_cell(words, Path.cwd(), default_image=engine.settings.default_image)
    _refuse_later(options)
    if not options.dry_run:
        ensure(engine, options, Notebook())
    ask = _asker(magics) if options.interactive and not (options.detach or options.dry_run) else None
    source = engine.images.source(options)
    args = interpreter.command(options.interpreter, body, source.config)
    if options.dry_run:
        _show_plan(engine.containers.plan(options, args), options)
        return None
    if options.detach:
        _detach(magics, options, body, args)
        return None
    passing = variables.Passing(options.in_, options.out, namespace, interpreter.language(args[0]))
    stream = Stream(options.quiet)
    try:
        extra = Extra(_files(body, passing), passing.writable())
        result = engine.containers.run_foreground(options, stream.write, extra, passing.wrap(args), ask)
        stream.flush()
        if result.ok:
            namespace.update(passing.collect())
    finally:
        passing.close()
    return _finish(namespace, options, result)


def _finish(namespace: dict[str, Any], options: CellOptions, result: ContainerResult) -> ContainerResult:
    if options.explain:
        _narrate(result)
    if options.result:
        namespace[options.result] = result
    if not result.ok and not options.no_raise_error:
        raise exit_error(result)
    return result.without_display()


def _detach(magics: ContainerMagics, options: CellOptions, body: str, args: list[str]) -> None:
    container = magics.engine.containers.create_cell(options, Extra(_script(body)), args)
    for warning in container.warnings:
        sys.stderr.write(f"[{warning}]\n")
    container.start()
    sys.stdout.write(f"{container.id}\n")


def _asker(magics: ContainerMagics) -> Callable[[], str]:
    if magics.ask is None:
        mend = "Run the cell without -i (stdin is empty then), or in a front end that has an input box."
        raise InvalidArgument("this front end can't ask for input", "-i", mend)
    return magics.ask


def _files(body: str, passing: variables.Passing) -> dict[str, tuple[bytes, int]]:
    return {**_script(body), **passing.files()}


def _script(body: str) -> dict[str, tuple[bytes, int]]:
    return {interpreter.SCRIPT: (body.encode(), 0o755)}


def _refuse_later(options: CellOptions) -> None:
    for flag, given in (("--session", options.session), ("--stage", options.stage)):
        if given:
            raise InvalidArgument(f"{flag} is not in this version", mend="Run the cell without it.")


def _show_plan(plan: dict[str, Any], options: CellOptions) -> None:
    sys.stdout.write(f"{docker_run_line(options)}\n\n{json.dumps(_short(plan), indent=2)}\n")


def _short(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan with the seccomp profile's names counted instead of listed: they are Docker's, and 400 lines."""
    linux = dict(plan["linux"])
    if linux.get("seccomp"):
        rules = linux["seccomp"]["syscalls"]
        linux["seccomp"] = {**linux["seccomp"], "syscalls": f"… {len(rules)} rules, Docker's default profile"}
    return {**plan, "linux": linux}


def _narrate(result: ContainerResult) -> None:
    """``--explain``: each step, the system call, why, and how long it took."""
    total = sum(seconds for _, seconds in result.steps)
    own = re.compile(rf"/\S*/containers/{result.container_id}")
    rows = [f"{seconds * 1e6:8.0f} µs  {own.sub('…', text)}" for text, seconds in result.steps]
    rows.append(f"{total * 1e6:8.0f} µs  in all, then execve; {result.total * 1000:.1f} ms as you saw it")
    sys.stdout.write("\n".join(["", "What made this container:", *rows, ""]))


def help_text() -> str:
    """The options of a cell, as ``docker run --help`` lists them."""
    from jupyter_containers.options import flags_for

    rows = ["Usage:  %%container [OPTIONS] [IMAGE] [INTERPRETER [ARG...]]", "", "Options:"]
    for flag in sorted(flags_for("cell"), key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        rows.append(f"  {short}--{flag.name + ' ' + flag.kind:<28}{flag.help}")
    return "\n".join(rows) + "\n"
