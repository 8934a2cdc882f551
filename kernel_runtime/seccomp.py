"""Turns the ``linux.seccomp`` object of an OCI config into the BPF program that the kernel runs at each system call.

The program checks the architecture first: a number means something else in each way to call the kernel, so a filter for
one alone would be no filter. Then it finds the number by halving, with neighbours of one fate merged, in about ten
steps. It is what libseccomp does for runc, where the OCI text leaves a choice:

- Names that no table here knows are skipped; so are architectures that this machine has not.
- A number beyond the newest that the profile names gets ENOSYS, not the default action, so that a C library newer than
  the profile falls back (runc, ``libcontainer/seccomp/patchbpf``).
- A rule that names one argument's index twice is an "or" of its conditions, any other is an "and".
- Rules with conditions come before a rule without, in the profile's order; the first that holds decides.

Not here: which calls a container may make (``seccomp_profile``) and the installing (``syscalls.seccomp_set_filter``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from errno import ENOSYS, EPERM
from typing import Any, NamedTuple

from . import bpf, syscall_table, syscalls
from .errors import SpecError
from .syscall_table import X32, X32_BIT, X86_64, Abi

KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # the process that installs it has one thread
    "SECCOMP_FILTER_FLAG_LOG": syscalls.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
}
_MAX_ERRNO = 4095  # the kernel's MAX_ERRNO
_ALL_NUMBERS = 1 << 32
_PLACE = "linux.seccomp"


class Rule(NamedTuple):
    """What the profile says to some calls: the kernel's action value, and the comparisons that must all hold."""

    action: int
    comparisons: tuple[bpf.Comparison, ...] = ()


def compile(profile: Mapping[str, Any], machine: str | None = None) -> bytes:
    """The program for an OCI ``linux.seccomp`` object: the same bytes for the same profile.

    Args:
        profile: the object, as read from config.json.
        machine: whose calls to filter, a name of ``os.uname()``; this machine's if None.

    Raises:
        SpecError: the profile is malformed, with its place; or there is no table of this machine's system calls.
    """
    machine = machine or os.uname().machine
    possible = syscall_table.abis(machine)
    if not possible:
        mend = "Run without a filter: --security-opt seccomp=unconfined"
        raise SpecError("compile seccomp filter", machine, "there is no table of this machine's system calls", mend)
    default = _action(profile, "defaultAction", "defaultErrnoRet", _PLACE)
    rules = _rules(profile)
    wanted = _wanted(profile, possible)
    program: bpf.Program = (bpf.load(bpf.ARCHITECTURE),)
    for abi in possible:
        if abi in wanted and abi != X32:
            search = bpf.search(_segments(abi, rules, default, with_x32=X32 in wanted))
            program += bpf.only_if(abi.audit, (bpf.load(bpf.NUMBER), *search))
    program += bpf.give(KILL_PROCESS)
    if len(program) > bpf.MAX_INSTRUCTIONS:
        cause = f"the filter has {len(program)} instructions, and the kernel takes {bpf.MAX_INSTRUCTIONS}"
        raise SpecError("compile seccomp filter", _PLACE, cause, "Use fewer rules with conditions")
    return bpf.pack(program)


def flags(profile: Mapping[str, Any]) -> int:
    """The flags for seccomp(2) that *profile* asks for; as in runc, SPEC_ALLOW where it says nothing.

    Raises:
        SpecError: a flag is unknown.
    """
    names = profile.get("flags")
    if names is None:
        return syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    return sum({_one_of(_FLAGS, name, f"{_PLACE}.flags") for name in _list(names, f"{_PLACE}.flags")})


def _wanted(profile: Mapping[str, Any], possible: Sequence[Abi]) -> set[Abi]:
    """The machine's own way to call the kernel, and those others that the profile lists."""
    listed = set(_list(profile.get("architectures") or (), f"{_PLACE}.architectures"))
    return {abi for abi in possible if abi == possible[0] or abi.name in listed}


def _segments(
    abi: Abi, rules: Mapping[str, Sequence[Rule]], default: int, with_x32: bool
) -> list[tuple[int, bpf.Program]]:
    """The whole range of numbers, as the first number and the program of each stretch of one fate."""
    if abi != X86_64:
        return _merged(_range(abi, rules, default, 0, _ALL_NUMBERS))
    low = _range(abi, rules, default, 0, X32_BIT)
    if with_x32:
        return _merged([*low, *_range(X32, rules, default, X32_BIT, _ALL_NUMBERS)])
    # A tracer sets -1 to skip a call; all else with this bit would be x32's.
    return _merged([*low, (X32_BIT, bpf.give(KILL_PROCESS)), (_ALL_NUMBERS - 1, bpf.give(default))])


def _range(
    abi: Abi, rules: Mapping[str, Sequence[Rule]], default: int, first: int, end: int
) -> list[tuple[int, bpf.Program]]:
    numbers = syscall_table.numbers(abi)
    programs = {numbers[name]: _program(found, default) for name, found in rules.items() if name in numbers}
    newest = max((n for n in programs if n < first + 0x10000), default=end)  # beyond are arm's private calls
    unnamed, unknown = bpf.give(default), bpf.give(_for_newer(default))
    stretches = [(first, unnamed)]
    for number in sorted({*programs, newest}):
        stretches.append((number, programs.get(number, unnamed)))
        stretches.append((number + 1, unknown if number >= newest else unnamed))
    return [stretch for stretch in stretches if stretch[0] < end]


def _merged(stretches: Iterable[tuple[int, bpf.Program]]) -> list[tuple[int, bpf.Program]]:
    latest = dict(stretches)  # of two at one number the later one counts: the first only filled a gap of no width
    merged: list[tuple[int, bpf.Program]] = []
    for number in sorted(latest):
        if not merged or merged[-1][1] != latest[number]:
            merged.append((number, latest[number]))
    return merged


def _for_newer(default: int) -> int:
    # Only where the default refuses: a profile that allows, logs or traces what it does not know wants to see it.
    return default if default & 0xFFFF0000 in (ALLOW, LOG, TRACE) else ERRNO | ENOSYS


def _program(rules: Sequence[Rule], default: int) -> bpf.Program:
    """What to do at one system call."""
    plain = [rule.action for rule in rules if not rule.comparisons]
    program = bpf.give(plain[0] if plain else default)
    for rule in reversed(rules):
        if rule.comparisons:
            program = bpf.if_all(rule.comparisons, bpf.give(rule.action), program)
    return program


def _rules(profile: Mapping[str, Any]) -> dict[str, list[Rule]]:
    """The rules of each name, in the profile's order."""
    found: dict[str, list[Rule]] = {}
    for position, entry in enumerate(_list(profile.get("syscalls") or (), f"{_PLACE}.syscalls")):
        place = f"{_PLACE}.syscalls[{position}]"
        if not isinstance(entry, Mapping):
            raise _malformed(place, "it is not an object")
        rules = _rules_of_entry(entry, place)
        for name in _list(entry.get("names"), f"{place}.names"):
            if not isinstance(name, str):
                raise _malformed(f"{place}.names", f"{name!r} is not a name")
            found.setdefault(name, []).extend(rules)
    return found


def _rules_of_entry(entry: Mapping[str, Any], place: str) -> list[Rule]:
    action = _action(entry, "action", "errnoRet", place)
    arguments = enumerate(_list(entry.get("args") or (), f"{place}.args"))
    comparisons = tuple(_comparison(argument, f"{place}.args[{n}]") for n, argument in arguments)
    if len({comparison[0] for comparison in comparisons}) < len(comparisons):
        return [Rule(action, (comparison,)) for comparison in comparisons]
    return [Rule(action, comparisons)]


def _comparison(argument: Any, place: str) -> bpf.Comparison:
    if not isinstance(argument, Mapping):
        raise _malformed(place, "it is not an object")
    operator = argument.get("op")
    _one_of(dict.fromkeys(bpf.COMPARISONS, 0), operator, f"{place}.op")
    index = _whole(argument.get("index"), f"{place}.index", 5)
    value = _whole(argument.get("value"), f"{place}.value", 2**64 - 1)
    return index, str(operator), value, _whole(argument.get("valueTwo") or 0, f"{place}.valueTwo", 2**64 - 1)


def _action(section: Mapping[str, Any], key: str, errno_key: str, place: str) -> int:
    action = _one_of(_ACTIONS, section.get(key), f"{place}.{key}")
    number = section.get(errno_key)
    if action not in (ERRNO, TRACE):
        return action
    return action | (EPERM if number is None else _whole(number, f"{place}.{errno_key}", _MAX_ERRNO))


def _one_of(known: Mapping[str, int], name: Any, place: str) -> int:
    if isinstance(name, str) and name in known:
        return known[name]
    import difflib  # only on the way to an error

    close = difflib.get_close_matches(str(name), known, n=1)
    mend = f"Did you mean {close[0]}?" if close else f"One of: {', '.join(known)}"
    raise _malformed(place, f"{name!r} is not known here", mend)


def _whole(value: Any, place: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _malformed(place, f"{value!r} is not a whole number from 0 to {most}")
    return value


def _list(value: Any, place: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise _malformed(place, "it is not a list")
    return value


def _malformed(place: str, cause: str, mend: str = "") -> SpecError:
    return SpecError("read seccomp profile", place, cause, mend)
