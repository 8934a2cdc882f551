"""The files of a cgroup hierarchy, for both versions: found, read, written, emptied and removed.

Not here: what is written where (``cgroup_v1``, ``cgroup_v2``).
"""

# pathlib is slow to import, and this is on the launcher's path:

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from errno import EBUSY, ENOENT, ENOTEMPTY
from time import monotonic, sleep

from .errors import SetupError

BASE_NAME = "jupyter-containers"
PATIENCE = 2.0  # seconds that destroy() and freeze() wait for the kernel


def base_name(proc: str) -> str:
    """The folder of our groups: ``jupyter-containers`` of root, with the uid (as the outside has it) of others."""
    if os.geteuid() != 0:
        return f"{BASE_NAME}-{os.geteuid()}"
    outside = next(iter(read(f"{proc}/uid_map").splitlines()), "0 0 4294967295").split()[1]
    return BASE_NAME if outside == "0" else f"{BASE_NAME}-{outside}"


def own_paths(proc: str) -> dict[str, str]:
    """The group of this process in each hierarchy: ``{"memory": "/a/b", "": "/c"}``, where ``""`` is version 2."""
    paths = {}
    for line in read(f"{proc}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def mounts(proc: str) -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """Each mounted hierarchy: ``(type, root inside the hierarchy, mount point, options)`` of proc_pid_mountinfo(5)."""
    for line in read(f"{proc}/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fstype, _, options = after.split(" ", 2)
        if fstype in ("cgroup", "cgroup2"):
            root, point = before.split(" ")[3:5]
            yield fstype, _plain(root), _plain(point), frozenset(options.split(","))


def own_directory(root: str, point: str, own: str) -> str:
    """The folder of the group *own* below a mount; the mount point itself where a namespace hides the way to it."""
    inside = own if root == "/" else own.removeprefix(root) if own.startswith(root) else ""
    directory = point + inside.rstrip("/")
    return directory if os.path.isdir(directory) else point


def read(path: str) -> str:
    """The text of a small file; empty where it does not exist or can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = bytearray()
        while chunk := os.read(fd, 65536):
            data += chunk
        return data.decode()
    except OSError:  # ENODEV: the group was removed meanwhile
        return ""
    finally:
        os.close(fd)


def read_number(path: str) -> int | None:
    """The number in a file; None where there is none, or it is ``max``."""
    text = read(path).strip()
    return int(text) if text.isdecimal() else None


def read_table(path: str) -> dict[str, int]:
    """The lines ``name number`` of a file."""
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def write(path: str, value: str) -> None:
    """Write *value* to an existing file in one system call, as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def set_limit(directory: str, file: str, value: str) -> None:
    """Write a limit; the error names the file, the value and the kernel's reason."""
    try:
        write(f"{directory}/{file}", value)
    except OSError as error:
        cause = f"the kernel refuses {value!r}: {error.strerror}"
        mend = "The container uses more than that now" if error.errno == EBUSY else ""
        raise SetupError("set limit", f"{directory}/{file}", cause, mend, error.errno or 0) from error


def set_or_tell(directory: str, file: str, value: str) -> str:
    """Write a limit that some kernels lack the file for; returns the notice to show where that is so."""
    try:
        set_limit(directory, file, value)
    except SetupError as error:
        if error.errno != ENOENT:
            raise
        return f"This kernel has no {file}: the limit on swap is not in force."
    return ""


def make_directory(path: str) -> None:
    """mkdir(2), once more after clearing away an empty group of the same name.

    Raises:
        SetupError: processes live in a group of that name, or the kernel refuses.
    """
    try:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            remove_tree(path, 0)
            os.mkdir(path, 0o755)
    except OSError as error:
        raise SetupError("create cgroup", path, error.strerror or "", errno=error.errno or 0) from error


def subdirectories(path: str) -> list[str]:
    """The groups right inside a group."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def members(directory: str) -> list[int]:
    """The processes in a group and in those inside it; not those that this pid namespace can't see."""
    found = [int(pid) for pid in read(f"{directory}/cgroup.procs").split() if pid != "0"]
    for nested in subdirectories(directory):
        found += members(nested)
    return found


def kill_members(directory: str) -> bool:
    """SIGKILL to the processes that are in a group now; whether there were any."""
    pids = members(directory)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended between the reading and the signal
    return bool(pids)


def end_members(directories: Sequence[str], patience: float, hold: Callable[[], None] | None = None) -> None:
    """SIGKILL to the members of a group's folders, again until none is left, for at most *patience* seconds.

    None may fork meanwhile, or else is held still by *hold*; and none may stay frozen: version 1 delivers SIGKILL to a
    frozen process when it thaws.
    """
    deadline, pause = monotonic() + patience, 0.0005
    calm = any(_tell(directory, "pids.max", "0") for directory in directories)
    while any(kill_members(directory) for directory in directories):
        for directory in directories:
            _tell(directory, "freezer.state", "THAWED")
            _tell(directory, "cgroup.freeze", "0")
        if monotonic() > deadline:
            return
        sleep(pause)
        pause = min(pause * 2, 0.02)
        if hold and not calm:
            hold()


def _tell(directory: str, file: str, value: str) -> bool:
    """Write to a file of a group where there is such a one; whether it was taken."""
    try:
        write(f"{directory}/{file}", value)
    except OSError:
        return False
    return True


def remove_tree(directory: str, patience: float) -> None:
    """Remove a group and those inside it; retries for *patience* seconds while killed members end."""
    deadline, pause = monotonic() + patience, 0.0005
    while True:
        try:
            return os.rmdir(directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (EBUSY, ENOTEMPTY):
                raise SetupError("remove cgroup", directory, error.strerror or "", errno=error.errno or 0) from error
        for nested in subdirectories(directory):
            remove_tree(nested, max(0.0, deadline - monotonic()))
        if monotonic() > deadline and (pids := members(directory)):
            text = ", ".join(map(str, pids[:5])) + (" …" if len(pids) > 5 else "")
            raise SetupError("remove cgroup", directory, f"processes still live in it ({text})", "Kill them first")
        if monotonic() > deadline + PATIENCE:
            raise SetupError("remove cgroup", directory, "it stays busy although no process lives in it")
        sleep(pause)
        pause = min(pause * 2, 0.02)


def _plain(field: str) -> str:
    if "\\" not in field:
        return field
    return field.encode("latin-1").decode("unicode_escape").encode("latin-1").decode()
