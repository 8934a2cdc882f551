"""Errors as a short card instead of a traceback: what, where, why it died, and the mend."""

from __future__ import annotations

import re

from jupyter_containers.errors import ContainerExit, ContainersError, DockerfileError

_RED, _BOLD, _DIM, _OFF = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_WHY = {
    "exit": "the program ended with an error",
    "signal": "it was ended by a signal",
    "timeout": "it ran longer than --timeout",
    "oom": "out of memory: the kernel killed it at its --memory limit",
    "pids": "it reached its limit of processes (--pids-limit)",
    "interrupted": "you stopped it",
    "abandoned": "its notebook went away",
    "monitor killed": "its monitor process was killed",
}
_MEND = {
    "oom": "Give it more with --memory, or none of that option.",
    "pids": "Raise --pids-limit (-1 for none).",
    "timeout": "Raise --timeout.",
}


def with_card(error: ContainersError) -> ContainersError:
    """The error; IPython shows it by the card (``_render_traceback_``)."""
    lines = exit_card(error) if isinstance(error, ContainerExit) else error_card(error)
    error._render_traceback_ = lambda *_: ["\n".join(lines)]  # type: ignore[attr-defined]
    return error


def exit_card(error: ContainerExit) -> list[str]:
    """Lines for a container that ended with a code other than 0."""
    why = _WHY.get(error.reason, error.reason)
    if error.reason == "signal" and error.exit_code > 128:
        why += f" ({_signal_name(error.exit_code - 128)})"
    seconds = f"{error.duration * 1000:.0f} ms" if error.duration < 1 else f"{error.duration:.1f} s"
    lines = [f"{_RED}{_BOLD}✗ exit code {error.exit_code}{_OFF}  {clean(error.image)}  {_DIM}after {seconds}{_OFF}"]
    lines.append(f"  {why}")
    mend = error.mend or _MEND.get(error.reason, "")
    return lines + ([f"  {_DIM}→ {clean(mend)}{_OFF}"] if mend else [])


def error_card(error: ContainersError) -> list[str]:
    """Lines for anything else; of a Dockerfile with the lines where it is wrong."""
    lines = [f"{_RED}{_BOLD}✗ {clean(error.what)}{_OFF}"]
    if isinstance(error, DockerfileError) and error.excerpt:
        lines += [f"  {clean(line)}" for line in error.excerpt.split("\n")]
    elif error.where:
        lines.append(f"  {clean(error.where)}")
    return lines + ([f"  {_DIM}→ {clean(error.mend)}{_OFF}"] if error.mend else [])


def clean(text: str) -> str:
    """*text* without control characters: what a container or an image names must not draw on the reader's screen."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
