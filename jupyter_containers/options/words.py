"""Names and policies on a command line: capabilities, signals, networks, platforms, security options.

Same form as ``values``: word and context in, value out, docker's text in the error.
"""

from __future__ import annotations

import re
from pathlib import Path

from jupyter_containers.errors import InvalidArgument, suggest

from .values import Context, boolean

_NAMES = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH "
    "FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN "
    "NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT "
    "SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
)
CAPABILITIES = tuple("CAP_" + name for name in _NAMES.split())
_ARCHITECTURES = frozenset(["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"])


def capability(word: str, _: Context) -> str:
    """The kernel's ``CAP_…`` name, or ``ALL``."""
    name = word.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in CAPABILITIES:
        raise InvalidArgument(f'unknown capability: "{name}"', mend=suggest(name, CAPABILITIES))
    return name


def signal_name(word: str, _: Context) -> str:
    """A signal as ``SIGTERM``, ``TERM``, ``15`` or ``SIGRTMIN+3``; kept as it was written."""
    import signal

    plain = word.upper().removeprefix("SIG")
    names = {s.name.removeprefix("SIG") for s in signal.Signals}
    real_time = re.fullmatch(r"RTMIN\+[0-9]{1,2}|RTMAX-[0-9]{1,2}", plain)
    numeric = re.fullmatch(r"[1-9][0-9]?", word) and int(word) < signal.NSIG
    if not (plain in names or real_time or numeric):
        raise InvalidArgument(f"Invalid signal: {word}", mend=suggest(plain, names))
    return word


def workdir(word: str, _: Context) -> str:
    """An absolute path inside the container."""
    if not word.startswith("/"):
        raise InvalidArgument(f"the working directory '{word}' is invalid, it needs to be an absolute path")
    return word


NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def container_name(word: str, _: Context) -> str:
    """A container's name by docker's grammar (a leading ``/`` is dropped, as docker does)."""
    name = word.removeprefix("/")
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"Invalid container name ({word}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name


def hostname(word: str, _: Context) -> str:
    """A host name the kernel takes: at most 64 printable characters."""
    if not word or len(word.encode()) > 64 or not word.isprintable() or " " in word:
        raise InvalidArgument("invalid hostname format", mend="Write 1 to 64 characters without spaces.")
    return word


def network(word: str, _: Context) -> str:
    """``none``, ``host`` or the default; user networks come with a later issue."""
    if word in ("default", "bridge", ""):
        return "default"
    if word not in ("none", "host"):
        what = "user networks and container:NAME come with bridge networks"
        raise InvalidArgument(what, mend="Write none, host or leave the flag away.")
    return word


def pull(word: str, _: Context) -> str:
    """``always``, ``missing`` or ``never``."""
    known = ("always", "missing", "never")
    if word not in known:
        what = f"""invalid pull option: '{word}': must be one of "always", "missing" or "never\""""
        raise InvalidArgument(what, mend=suggest(word, known))
    return word


def platform(word: str, _: Context) -> str:
    """``OS/ARCH[/VARIANT]`` or one of OS and ARCH."""
    if not re.fullmatch(r"[a-z0-9_]+(/[A-Za-z0-9_]+){1,2}", word) and word not in _ARCHITECTURES | {"linux"}:
        raise InvalidArgument(f'unknown operating system or architecture: "{word}"', mend="Write it as linux/amd64.")
    return word


def restart(word: str, _: Context) -> str:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure[:N]``."""
    policy, colon, count = word.partition(":")
    policies = ("no", "always", "unless-stopped", "on-failure")
    if policy not in policies:
        raise InvalidArgument(f"invalid restart policy: unknown policy '{policy}'", mend=suggest(policy, policies))
    if colon and policy != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if colon and not count.isdigit():
        raise InvalidArgument("invalid restart policy format: maximum retry count must be an integer")
    return word


def security(word: str, context: Context) -> str:
    """One ``--security-opt``; a seccomp profile becomes an absolute path."""
    key, mark, value = re.sub(r"^([a-z-]+):", r"\1=", word).partition("=")
    if key == "no-new-privileges":
        return key if boolean(value or "true") else "no-new-privileges=false"
    if key == "seccomp" and mark:
        return f"seccomp={_profile(value, context)}"
    known = (
        "no-new-privileges",
        "seccomp=unconfined",
        "apparmor=unconfined",
        "label=disable",
        "systempaths=unconfined",
    )
    whole = f"{key}{mark}{value}"
    if whole not in known:
        mend = suggest(whole, known) or f"Known are {', '.join(known)} and seccomp=FILE."
        raise InvalidArgument(f'Invalid --security-opt: "{word}"', mend=mend)
    return whole


def _profile(value: str, context: Context) -> str:
    if value in ("unconfined", "builtin"):
        return value
    path = Path(context.path(value))
    if not path.is_file():
        raise InvalidArgument(f"opening seccomp profile ({value}) failed: no such file", mend="Or write unconfined.")
    return str(path)
