"""Capabilities by name: Docker's default set, changes to it, and the calls that put a set into force.

The names and numbers are those of ``linux/capability.h``; capabilities(7) has the rules of the five sets. This file
does not decide *which* set a process of a container gets at which moment: that is the recipe's business (``init``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from errno import EINVAL

from . import syscalls
from .errors import SetupError, SpecError

# In the order of their numbers: the place in the tuple is the bit in a mask.
NAMES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}
ALL = "ALL"

# What `docker run` leaves to a container's root (moby, daemon/pkg/oci/caps).
DEFAULT: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)

PR_CAP_AMBIENT_RAISE = 2
_MASK_BITS = 64  # the width of the kernel's kernel_cap_t: no capability can have a number above 63


def normalise(name: str) -> str:
    """``"net_admin"`` → ``"CAP_NET_ADMIN"``.

    Raises:
        SpecError: no capability has that name; says which one may have been meant.
    """
    upper = name.strip().upper()
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in NUMBERS:
        raise SpecError("read capabilities", name, "no capability has this name", _suggestion(full))
    return full


def parse(names: Iterable[str]) -> int:
    """The bit mask of *names*, which may lack ``CAP_`` and be written in any case."""
    mask = 0
    for name in names:
        mask |= 1 << NUMBERS[normalise(name)]
    return mask


def names_of(mask: int) -> tuple[str, ...]:
    """The names of a bit mask, by number; a bit this file has no name for appears as ``CAP_41``."""
    bits = (bit for bit in range(_MASK_BITS) if mask >> bit & 1)
    return tuple(NAMES[bit] if bit < len(NAMES) else f"CAP_{bit}" for bit in bits)


def with_changes(add: Collection[str] = (), drop: Collection[str] = ()) -> tuple[str, ...]:
    """Docker's default set after ``--cap-add`` and ``--cap-drop``, by number.

    As Docker: ``--cap-add ALL`` is everything but the dropped ones, ``--cap-drop ALL`` is the added ones alone, and a
    capability both dropped and added is there. ``ALL`` may name more than this machine has: see :func:`available`.
    """
    added = {ALL if name.upper() == ALL else normalise(name) for name in add}
    dropped = {ALL if name.upper() == ALL else normalise(name) for name in drop}
    if ALL in added:
        kept = set(NAMES) - dropped
    elif ALL in dropped:
        kept = added
    else:
        kept = set(DEFAULT) - dropped | added
    return tuple(name for name in NAMES if name in kept)


def available() -> int:
    """The mask of what this process can hand on: it is permitted and in the bounding set."""
    permitted = syscalls.capget()[1]
    held = (bit for bit in range(_MASK_BITS) if permitted >> bit & 1)
    return sum(1 << bit for bit in held if syscalls.prctl(syscalls.PR_CAPBSET_READ, bit))


def drop_bounding(names: Iterable[str]) -> None:
    """Leave only *names* in the bounding set, and nothing in the ambient set.

    Goes on until the kernel knows no further number (EINVAL) and so needs no /proc, which a container's may mask; a
    capability newer than this file is dropped as well.

    Raises:
        SetupError: this process lacks CAP_SETPCAP.
    """
    keep = parse(names)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for bit in range(_MASK_BITS):
        if keep >> bit & 1:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, bit)
        except OSError as error:
            if error.errno == EINVAL:
                return
            raise _failed("drop capability from the bounding set", 1 << bit, error) from error


def set_inheritable_and_ambient(permitted: int, inheritable: Iterable[str], ambient: Iterable[str]) -> None:
    """Make *permitted* (a mask) the permitted and effective set, then set the inheritable and the ambient set.

    The ambient set must lie within the other two (capabilities(7)); the kernel refuses it otherwise.

    Raises:
        SetupError: a capability is asked for that this process does not hold.
    """
    held = syscalls.capget()[1]
    if missing := permitted & ~held:
        cause = "the process that starts the container does not hold it"
        mend = "Leave it out with --cap-drop, or start the container with more privilege"
        raise SetupError("set capabilities", _text(missing), cause, mend)
    mask = parse(inheritable)
    try:
        syscalls.capset(permitted, permitted, mask)
    except OSError as error:
        raise _failed("set capabilities", permitted | mask, error) from error
    for name in ambient:
        bit = NUMBERS[normalise(name)]
        try:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit)
        except OSError as error:
            raise _failed("raise ambient capability", 1 << bit, error) from error


def _failed(step: str, mask: int, error: OSError) -> SetupError:
    return SetupError(step, _text(mask), error.strerror or "", errno=error.errno or 0)


def _text(mask: int) -> str:
    return ", ".join(names_of(mask))


def _suggestion(full: str) -> str:
    import difflib  # only on the way to an error: it costs more than the rest of this file

    close = difflib.get_close_matches(full, (*NAMES, f"CAP_{ALL}"), n=1, cutoff=0.6)
    if not close:
        return "capabilities(7) lists them; ALL stands for every one"
    return f"Did you mean {ALL if close[0] == f'CAP_{ALL}' else close[0]}?"
