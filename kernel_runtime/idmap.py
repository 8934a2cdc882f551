"""User namespaces for ordinary users: which ids they may map, and entering such a namespace.

Not here: the namespaces of a container (:mod:`kernel_runtime.sandbox`). One user namespace serves all containers of a
user, as Podman does; the launcher lives in it as its root. See user_namespaces(7), newuidmap(1), subuid(5).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from kernel_runtime.errors import ProbeError
from kernel_runtime.syscalls import CLONE_NEWUSER, unshare

_SEARCH = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")


@dataclass(frozen=True, slots=True)
class SubordinateIds:
    """A range of ids that an ordinary user may map (subuid(5))."""

    start: int
    count: int


def find_program(name: str) -> str | None:
    """The full path of a system program, looked for where distributions put them, then on PATH."""
    for folder in (*_SEARCH, *os.get_exec_path()):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return None


def user_name(uid: int) -> str:
    """The login name of *uid*, or the number as text where the system knows none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def subordinate_ids(path: str, uid: int) -> SubordinateIds | None:
    """The largest range for *uid* in /etc/subuid or /etc/subgid; ``None`` where there is none."""
    wanted = {str(uid), user_name(uid)}
    found: list[SubordinateIds] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                owner, _, rest = line.strip().partition(":")
                start, _, count = rest.partition(":")
                if owner in wanted and start.isdigit() and count.isdigit() and int(count) > 0:
                    found.append(SubordinateIds(int(start), int(count)))
    except OSError:
        return None
    return max(found, key=lambda ids: ids.count, default=None)


def mapping(uid: int, gid: int) -> tuple[list[str], list[str]]:
    """The arguments of newuidmap and newgidmap after the pid: own id as 0, subordinate ids from 1.

    Raises:
        ProbeError: the user has no subordinate ids, or the two programs are missing.
    """
    maps: list[list[str]] = []
    for path, program, own in (("/etc/subuid", "newuidmap", uid), ("/etc/subgid", "newgidmap", gid)):
        ids = subordinate_ids(path, uid)
        if ids is None:
            mend = f"As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user_name(uid)}."
            raise ProbeError("map subordinate ids", path, f"no range for {user_name(uid)}", mend)
        if find_program(program) is None:
            mend = "Install it (Debian, Ubuntu: apt install uidmap)."
            raise ProbeError("map subordinate ids", program, "the program is missing", mend)
        maps.append(["0", str(own), "1", "1", str(ids.start), str(ids.count)])
    return maps[0], maps[1]


def enter_user_namespace(subordinate: bool) -> None:
    """Put this single-threaded process into a new user namespace as its root.

    Args:
        subordinate: map own id to 0 and the subordinate ids from 1 (newuidmap); else own id to 0 alone.

    Raises:
        ProbeError: namespaces are forbidden here, or the ids can't be mapped; with the mend.
    """
    uid, gid = os.geteuid(), os.getegid()
    maps = mapping(uid, gid) if subordinate else None
    ready, writer = os.pipe()
    helper = 0
    if maps:
        helper = os.fork()
        if helper == 0:
            _map_from_outside(os.getppid(), maps, ready, writer)
    try:
        try:
            unshare(CLONE_NEWUSER)
        except OSError as error:
            raise ProbeError(
                "create user namespace", "", _forbidden(error), forbidden_mend(), error.errno or 0
            ) from error
        if not maps:
            _map_single(uid, gid)
    finally:
        os.close(ready)
        os.close(writer)  # the helper takes this as the sign to go
        status = os.waitpid(helper, 0)[1] if helper else 0
    if status:
        raise ProbeError("map subordinate ids", "newuidmap", "refused by the system", "See newuidmap(1), subuid(5).")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if maps:
        os.setgroups([])


def _map_single(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            cause = error.strerror or str(error)
            raise ProbeError("map own id", f"/proc/self/{name}", cause, forbidden_mend(), error.errno or 0) from error


def _map_from_outside(pid: int, maps: tuple[list[str], list[str]], ready: int, writer: int) -> None:
    """Child: wait until the parent has left for its namespace, then run both set-uid programs on it."""
    code = 1
    try:
        os.close(writer)
        os.read(ready, 1)
        for program, arguments in zip(("newuidmap", "newgidmap"), maps, strict=True):
            child = os.posix_spawn(find_program(program) or program, [program, str(pid), *arguments], dict(os.environ))
            if os.waitpid(child, 0)[1]:
                break
        else:
            code = 0
    finally:
        os._exit(code)


def _forbidden(error: OSError) -> str:
    """Why unshare(2) refuses a user namespace, in words; "No space left on device" is about a count."""
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return "this machine allows no more of them"
    return "this machine forbids it" if error.errno == errno.EPERM else error.strerror or str(error)


def forbidden_mend() -> str:
    """What an administrator can change where user namespaces are forbidden; names the switch that is set here."""
    for path, bad, mend in (
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        try:
            with open(path, encoding="ascii") as file:
                if file.read().strip() == bad:
                    return f"As root: {mend}."
        except OSError:
            continue
    return "User namespaces are forbidden here (a container's seccomp profile, or a hardened kernel)."
