"""The last steps of a container's process, from inside its root: become who it shall be, then ``execve``.

The same for the first process of a container and for one that joins it (``exec``). Order matters:

1. limits, working directory, standard streams: still with full rights;
2. bounding set, groups, group, user, the rights kept by ``PR_SET_KEEPCAPS``;
3. ``no_new_privs`` and seccomp (which needs CAP_SYS_ADMIN or no_new_privs);
4. ``execve``, which drops every right that the bounding set does not hold (capabilities(7)). So nothing has to be
   called after the filter is in force, and a filter may answer even ``setuid`` and ``capset`` itself.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from dataclasses import dataclass

from kernel_runtime import capabilities, users
from kernel_runtime import syscalls as sc
from kernel_runtime.errors import SetupError, SpecError
from kernel_runtime.spec import Process, Rlimit

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True, slots=True)
class Final:
    """What :func:`execute` needs besides the process: the compiled filter and where errors go."""

    bpf: bytes | None
    status_fd: int
    single_id: bool = False
    seccomp_flags: int = 0
    rlimits: tuple[tuple[str, int, int], ...] = ()  # where no cgroup holds the limits


def execute(process: Process, final: Final) -> None:
    """Become *process*; returns only by raising.

    Raises:
        SetupError: ``errno`` ENOENT where the program is missing, EACCES or ENOEXEC where it can't be executed.
    """
    run(process, become(process, final), final)


def become(process: Process, final: Final) -> users.Identity:
    """Steps 1 and 2; who this process is now. It keeps its effective capabilities until it executes a program."""
    identity = _identity(process)
    _set_limits(process, final.rlimits)
    _enter_working_directory(process.cwd)
    os.umask(process.umask)
    if final.single_id and identity.uid != 0:
        _rename_single_id(identity)
    _become(process, identity, final)
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of identity has cleared it
    return identity


def confine(process: Process, final: Final) -> None:
    """Step 3."""
    if process.no_new_privileges:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    if final.bpf:
        sc.seccomp_set_filter(final.bpf, final.seccomp_flags)


def run(process: Process, identity: users.Identity, final: Final) -> None:
    """Steps 3 and 4, for a process that has become *identity*; one that is confined already gives no filter."""
    environment = process.environ()
    environment.setdefault("PATH", DEFAULT_PATH)
    environment.setdefault("HOME", identity.home or "/")
    program = find(process.args[0], environment["PATH"])
    os.closerange(3, final.status_fd)
    os.closerange(final.status_fd + 1, 1 << 20)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # only now: a caller that has gone must not kill what waits for it
    confine(process, final)
    _exec(program, process, environment)


def restore_signals() -> None:
    """Undo what the launcher did to signals; SIGPIPE stays ignored until the program is executed."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _identity(process: Process) -> users.Identity:
    if process.username:
        identity = users.look_up(process.username)
    else:
        identity = users.Identity(process.uid, process.gid, (), users.look_up(str(process.uid)).home)
    named = (users.group_id(group) for group in process.additional_groups)
    # The first group too: a process could leave it by a set-gid program and pass rules against it (CVE-2022-36109).
    groups = tuple(dict.fromkeys((identity.gid, *identity.groups, *process.additional_gids, *named)))
    return users.Identity(identity.uid, identity.gid, groups, identity.home)


def _set_limits(process: Process, fallback: tuple[tuple[str, int, int], ...]) -> None:
    for limit in (*(Rlimit(*values) for values in fallback), *process.rlimits):
        number = getattr(resource, limit.type, None)
        if number is None:
            raise SpecError("set limit", limit.type, "unknown resource", "See ulimit names in docker run --help.")
        soft, hard = (_limit(value) for value in (limit.soft, limit.hard))
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:
            present = resource.getrlimit(number)[1]
            mend = f"The hard limit here is {present}; a higher one needs CAP_SYS_RESOURCE on the host."
            raise SetupError("set limit", f"{limit.type}={limit.soft}:{limit.hard}", str(error), mend) from error
    if process.oom_score_adj is not None:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(process.oom_score_adj))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value


def _enter_working_directory(path: str) -> None:
    """Change to *path*, made where missing as Docker does; it must lie inside the root (CVE-2024-21626)."""
    try:
        try:
            os.chdir(path)
        except FileNotFoundError:
            os.makedirs(path, exist_ok=True)
            os.chdir(path)
        inside = os.getcwd().startswith("/")
    except OSError as error:
        mend = "Give a folder of the container with -w."
        raise SetupError(
            "enter working directory", path, error.strerror or str(error), mend, error.errno or 0
        ) from None
    if not inside:
        raise SetupError("enter working directory", path, "it lies outside the container's root")


def _rename_single_id(identity: users.Identity) -> None:
    """With one id only: a nested user namespace in which that id bears the asked number."""
    sc.unshare(sc.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{identity.uid} 0 1"), ("gid_map", f"{identity.gid} 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _become(process: Process, identity: users.Identity, final: Final) -> None:
    wanted = process.capabilities or {}
    capabilities.drop_bounding(wanted.get("bounding", []))
    if not final.single_id:
        try:
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            sc.prctl(sc.PR_SET_KEEPCAPS, 1)
            os.setresuid(identity.uid, identity.uid, identity.uid)
        except OSError as error:
            mend = "Only ids that the user namespace maps can be used here (see /etc/subuid)."
            who = f"{identity.uid}:{identity.gid}"
            raise SetupError("become user", who, error.strerror or str(error), mend, error.errno or 0) from error
    _, permitted, _ = sc.capget()
    capabilities.set_inheritable_and_ambient(permitted, wanted.get("inheritable", []), wanted.get("ambient", []))


def find(program: str, path: str) -> str:
    """Where *program* lies, looked up in *path* as a shell does.

    Raises:
        SetupError: nowhere.
    """
    if "/" in program:
        return program
    denied = ""
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", program)
        if os.path.isdir(candidate):
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        if os.path.lexists(candidate):
            denied = denied or candidate
    if denied:
        return denied
    mend = "Name an interpreter that the image has, or use another image."
    cause = "executable file not found in $PATH"
    raise SetupError("execute", f'"{program}"', cause, mend, errno.ENOENT)


def _exec(program: str, process: Process, environment: dict[str, str]) -> None:
    try:
        os.execve(program, list(process.args), environment)
    except OSError as error:
        cause, mend = error.strerror or str(error), ""
        if error.errno == errno.ENOENT and os.path.exists(program):
            cause, mend = "its interpreter or loader is missing in the image", "Look at its first line (#!)."
        elif error.errno == errno.ENOEXEC:
            mend = "Is the image for another architecture, or does the script lack a #! line?"
        elif error.errno in (errno.EACCES, errno.EISDIR):
            mend = "It must be a file with the x permission."
        raise SetupError("execute", f'"{program}"', cause.lower(), mend, error.errno or 0) from error


def exit_code_of(error: SetupError) -> int:
    """Docker's exit code for a process that could not be executed: 127 not found, 126 not executable, else 125."""
    if error.step != "execute":
        return 125
    return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
