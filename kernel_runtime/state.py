"""state.json of a container: written by its monitor alone, read by everybody; and where the runtime keeps its sockets.

The first fields are those of the OCI runtime-spec's "State"; ``status`` is ``creating``, ``running``, ``paused`` or
``stopped``. A process is named by pid and start time, so that a reused pid is never taken for it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from typing import Any

from kernel_runtime.errors import RuntimeFault, full_disk_mend

State = dict[str, Any]
FILE = "state.json"


def read(bundle: str) -> State | None:
    """The state of the container in *bundle*, ``None`` where it was never started."""
    try:
        with open(os.path.join(bundle, FILE), "rb") as file:
            state = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RuntimeFault("read state", bundle, str(error)) from error
    return dict(state)


def write(bundle: str, state: State) -> None:
    """Replace the state at once; readers see the old or the new one.

    A container may fill the disk that its state lies on, and still its end must be told: then the file is overwritten.

    Raises:
        RuntimeFault: the disk is full, and there was no state before.
    """
    path, temporary = os.path.join(bundle, FILE), os.path.join(bundle, f".{FILE}.{os.getpid()}")
    text = json.dumps(state, separators=(",", ":"))
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, path)
    except OSError as error:
        remove(temporary)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _overwrite(path, text):
            number = error.errno or 0
            raise RuntimeFault("write state", path, error.strerror or "", full_disk_mend(number), number) from error


def _overwrite(path: str, text: str) -> bool:
    """In the blocks that the file has; whether it could be done. JSON may end in spaces."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        data = text.encode().ljust(os.fstat(fd).st_size)
        return os.pwrite(fd, data, 0) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """When *pid* started, in clock ticks since boot (proc(5), stat field 22); 0 where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def is_alive(pid: int, started: int) -> bool:
    """Whether the very process runs that had this pid and start time (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def is_running(state: State | None) -> bool:
    """Whether the container's first process or its monitor lives."""
    if not state or state.get("status") == "stopped":
        return False
    return is_alive(state.get("monitorPid", 0), state.get("monitorStart", 0)) or is_alive(
        state.get("pid", 0), state.get("pidStart", 0)
    )


def group_id() -> str:
    """The cgroup's name tells its monitor: a group whose monitor is dead belongs to nobody."""
    pid = os.getpid()
    return f"{pid}-{start_time(pid)}"


class LivingMonitors:
    """For :meth:`Hierarchy.sweep`: contains the names of groups whose monitor lives."""

    def __contains__(self, name: object) -> bool:
        """Whether the monitor that *name* tells of lives."""
        pid, _, started = str(name).partition("-")
        return pid.isdigit() and started.isdigit() and is_alive(int(pid), int(started))


def runtime_folder(store: str) -> str:
    """The folder of the sockets that belong to *store*: private, short enough for ``sun_path`` (107 bytes).

    ``$XDG_RUNTIME_DIR/jupyter-containers/HASH``, else ``/tmp/jupyter-containers-UID/HASH``.

    Raises:
        RuntimeFault: the folder exists and is somebody else's, or open to others.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and len(base) <= 48 and os.access(base, os.W_OK | os.X_OK) and os.stat(base).st_uid == os.getuid():
        base = os.path.join(base, "jupyter-containers")
    else:
        base = f"/tmp/jupyter-containers-{os.getuid()}"  # noqa: S108 - checked below
    folder = os.path.join(base, hashlib.sha256(os.path.realpath(store).encode()).hexdigest()[:12])
    for path in (base, folder):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            mend = f"Remove {path}, or set XDG_RUNTIME_DIR to a private folder."
            raise RuntimeFault("use runtime folder", path, "it is not a private folder of yours", mend)
    return folder


def launcher_lock(runtime: str) -> str:
    """The file that whoever starts a launcher holds locked."""
    return os.path.join(runtime, "launcher.lock")


def monitor_socket(runtime: str, container_id: str) -> str:
    """Where the monitor of a container listens."""
    return os.path.join(runtime, f"{container_id[:20]}.sock")


def remove(path: str) -> None:
    """Remove a file (a monitor's socket, say) that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
