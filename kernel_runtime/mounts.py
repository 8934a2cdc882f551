"""Mounts beneath a root file system that may be hostile.

Every destination is resolved by ``openat2(RESOLVE_IN_ROOT)`` and mounted on through its descriptor, so that no
symbolic link of an image, and no race with one, can lead a mount outside (CVE-2021-30465, CVE-2025-31133,
CVE-2026-41579). All mounts are made before ``pivot_root``, while the host's own /dev/null can still be named.

Everything is mounted ``nodev`` but the device nodes themselves: a device node that a container makes can't be opened,
with or without a devices cgroup.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from kernel_runtime import syscalls as sc
from kernel_runtime.errors import SetupError, SpecError
from kernel_runtime.spec import Mount

# mount(8), "filesystem-independent mount options": name -> (flag, does it clear the flag)
_FLAGS: dict[str, tuple[int, bool]] = {
    "ro": (sc.MS_RDONLY, False),
    "rw": (sc.MS_RDONLY, True),
    "nosuid": (sc.MS_NOSUID, False),
    "suid": (sc.MS_NOSUID, True),
    "nodev": (sc.MS_NODEV, False),
    "dev": (sc.MS_NODEV, True),
    "noexec": (sc.MS_NOEXEC, False),
    "exec": (sc.MS_NOEXEC, True),
    "sync": (sc.MS_SYNCHRONOUS, False),
    "noatime": (sc.MS_NOATIME, False),
    "nodiratime": (sc.MS_NODIRATIME, False),
    "relatime": (sc.MS_RELATIME, False),
    "strictatime": (sc.MS_STRICTATIME, False),
    "bind": (sc.MS_BIND, False),
    "rbind": (sc.MS_BIND | sc.MS_REC, False),
    "defaults": (0, False),
}
_PROPAGATION: dict[str, int] = {
    "private": sc.MS_PRIVATE,
    "rprivate": sc.MS_PRIVATE | sc.MS_REC,
    "slave": sc.MS_SLAVE,
    "rslave": sc.MS_SLAVE | sc.MS_REC,
    "shared": sc.MS_SHARED,
    "rshared": sc.MS_SHARED | sc.MS_REC,
}
_ATTRIBUTES = {
    sc.MS_RDONLY: sc.MOUNT_ATTR_RDONLY,
    sc.MS_NOSUID: sc.MOUNT_ATTR_NOSUID,
    sc.MS_NODEV: sc.MOUNT_ATTR_NODEV,
    sc.MS_NOEXEC: sc.MOUNT_ATTR_NOEXEC,
}
_MOST_LINKS = 40
# What may be mounted over in /proc: files that only inform, as lxcfs makes them (runc's list, for CVE-2019-19921).
PROC_FILES = {"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
              "/proc/loadavg", "/proc/slabinfo"}  # fmt: skip
_NEVER_A_LINK = {"/proc", "/sys", "/dev"}


class Options:
    """Mount options sorted into flags, propagation and the file system's own data."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self.flags, self.propagation = 0, 0
        self.data: list[str] = []
        for option in options:
            if option in _FLAGS:
                flag, clears = _FLAGS[option]
                self.flags = self.flags & ~flag if clears else self.flags | flag
            elif option in _PROPAGATION:
                self.propagation = _PROPAGATION[option]
            else:
                self.data.append(option)

    @property
    def is_bind(self) -> bool:
        """Whether these options ask for a bind mount."""
        return bool(self.flags & sc.MS_BIND)

    @property
    def attributes(self) -> int:
        """The flags that mount_setattr(2) can set on a bind mount, as MOUNT_ATTR_*."""
        return sum(attribute for flag, attribute in _ATTRIBUTES.items() if self.flags & flag)


class Root:
    """The root file system while it is being furnished: an open directory and what is known of it."""

    def __init__(self, path: str, in_user_namespace: bool) -> None:
        self.path, self.in_user_namespace = path, in_user_namespace
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)

    def reopen(self) -> None:
        """Look at the path again, after something was mounted on it."""
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY)

    @contextmanager
    def resolve(self, path: str, make: str = "", follow: bool = True) -> Iterator[str]:
        """A host path ``/proc/self/fd/N`` that stands for *path* inside this root.

        Args:
            make: ``"directory"`` or ``"file"``: made, parents too, where missing.
            follow: whether symbolic links inside the root are followed (never out of it).
        """
        fd = self.open(path, make, follow)
        try:
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)

    def open(self, path: str, make: str = "", follow: bool = True) -> int:
        """An O_PATH descriptor of *path* beneath this root; see :meth:`resolve`."""
        resolve = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS | (0 if follow else sc.RESOLVE_NO_SYMLINKS)
        try:
            return sc.openat2(self.fd, path, os.O_PATH, 0, resolve)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno == errno.ELOOP and not follow:
                raise SetupError("mount", path, "it is a symbolic link in the image") from error
            raise
        return self._make(path, make, resolve)

    def device(self, path: str) -> int:
        """The number of the file system that *path* lies on; 0 where there is no such path."""
        try:
            fd = self.open(path)
        except OSError:
            return 0
        try:
            return os.fstat(fd).st_dev
        finally:
            os.close(fd)

    def _make(self, path: str, make: str, resolve: int, links: int = 0) -> int:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        here = sc.openat2(self.fd, "/", os.O_PATH | os.O_DIRECTORY, 0, resolve)
        done = ""
        for number, part in enumerate(parts, 1):
            done += f"/{part}"
            try:
                inner = sc.openat2(self.fd, done, os.O_PATH, 0, resolve)
            except FileNotFoundError:
                try:
                    if number == len(parts) and make == "file":
                        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=here))
                    else:
                        os.mkdir(part, 0o755, dir_fd=here)
                except FileExistsError:
                    return self._make_behind_link(here, done, "/".join(parts[number:]), make, resolve, links)
                inner = sc.openat2(here, part, os.O_PATH | os.O_NOFOLLOW, 0, sc.RESOLVE_BENEATH)
            os.close(here)
            here = inner
        return here

    def _make_behind_link(self, here: int, link: str, rest: str, make: str, resolve: int, links: int) -> int:
        """Make what a dangling link of the image points to (/etc/resolv.conf with systemd), inside the root."""
        target = os.readlink(os.path.basename(link), dir_fd=here)
        os.close(here)
        if resolve & sc.RESOLVE_NO_SYMLINKS or links >= _MOST_LINKS:
            raise SetupError("mount", link, "it is a symbolic link in the image")
        path = os.path.join(os.path.dirname(link), target, rest).rstrip("/")
        return self._make(path, make, resolve, links + 1)


def mount_root(path: str, mount: Mount | None, in_user_namespace: bool) -> None:
    """Mount the root file system on *path*: the ``/`` entry of ``mounts``, or *path* itself, to be pivoted to."""
    if mount is None:
        sc.mount(path, path, None, sc.MS_BIND | sc.MS_REC)
    elif mount.type == "overlay":
        mount_overlay(mount, path, in_user_namespace)
    else:
        options = Options(mount.options)
        sc.mount(mount.source or mount.type, path, mount.type, options.flags, ",".join(options.data) or None)
    sc.mount(None, path, None, sc.MS_PRIVATE | sc.MS_REC)


def mount_overlay(mount: Mount, target: str, in_user_namespace: bool) -> None:
    """Mount an overlay whose layers come as ``lowerdir+=PATH`` options, top first.

    mount(2) takes one page of options: each folder is opened and named ``/proc/self/fd/N``, so that 127 layers fit
    and no path needs escaping. In a user namespace the overlay keeps its marks in ``user.*`` attributes (Linux 5.11).
    """
    options = Options(mount.options)
    fds: list[int] = []
    lower: list[str] = []
    data: list[str] = []
    try:
        for option in options.data:
            key, _, value = option.partition("=")
            if key in ("lowerdir+", "upperdir", "workdir"):
                fds.append(os.open(value, os.O_PATH | os.O_DIRECTORY))
                where = f"/proc/self/fd/{fds[-1]}"
                if key == "lowerdir+":
                    lower.append(where)
                else:
                    data.append(f"{key}={where}")
            else:
                data.append(option)
        if in_user_namespace:
            data.append("userxattr")
        data.insert(0, "lowerdir=" + ":".join(lower))
        sc.mount("overlay", target, "overlay", options.flags | sc.MS_NODEV, ",".join(data))
        if not options.flags & sc.MS_RDONLY and any(word.startswith("workdir=") for word in data):
            _refuse_readonly(target)
    finally:
        for fd in fds:
            os.close(fd)


def _refuse_readonly(overlay: str) -> None:
    """The kernel mounts an overlay read-only, without an error, where it can't make a folder in ``workdir``."""
    disk = os.statvfs(overlay)
    if disk.f_flag & os.ST_RDONLY:
        is_full = not disk.f_bavail or (disk.f_files and not disk.f_favail)
        number = errno.ENOSPC if is_full else errno.EROFS
        raise OSError(number, os.strerror(number))


def mount_one(root: Root, mount: Mount) -> None:
    """Mount one entry of ``mounts`` beneath *root*."""
    options = Options(mount.options)
    follow = mount.destination not in _NEVER_A_LINK
    if options.is_bind:
        _bind(root, mount, options, follow)
    else:
        with root.resolve(mount.destination, "directory", follow) as path:
            _refuse_proc(root, mount, path)
            _mount_new(root, mount, options, path)
    if options.propagation:
        with root.resolve(mount.destination) as path:
            sc.mount(None, path, None, options.propagation)


def _refuse_proc(root: Root, mount: Mount, path: str) -> None:
    """Refuse to mount over /proc or a part of it, by whatever link: this runtime writes there (CVE-2019-19921)."""
    if mount.type == "proc" or mount.destination in PROC_FILES:
        return
    proc = root.device("/proc")
    if proc != root.device("/") and os.stat(path).st_dev == proc:
        mend = f"Only these files of /proc can be mounted over: {' '.join(sorted(PROC_FILES))}."
        raise SpecError("mount", mount.destination, "it lies in /proc", mend)


def _mount_new(root: Root, mount: Mount, options: Options, path: str) -> None:
    if mount.type == "overlay":
        mount_overlay(mount, path, root.in_user_namespace)
        return
    data = options.data
    if mount.type in ("tmpfs", "devpts", "mqueue") and root.in_user_namespace:
        data = [option for option in data if not _is_unmapped_gid(option)]
    flags = options.flags | (0 if mount.type == "devpts" else sc.MS_NODEV)
    sc.mount(mount.source or mount.type, path, mount.type, flags, ",".join(data) or None)


def _is_unmapped_gid(option: str) -> bool:
    """Whether an option names a group that this user namespace does not have (gid 5 of /dev/pts, typically)."""
    key, _, value = option.partition("=")
    return key in ("gid", "uid") and value.isdigit() and not is_mapped(int(value), "gid_map")


def is_mapped(number: int, name: str) -> bool:
    """Whether this user namespace has the id; *name* is ``uid_map`` or ``gid_map``."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    return any(first <= number < first + count for first, _, count in ranges)


def _bind(root: Root, mount: Mount, options: Options, follow: bool) -> None:
    try:
        source = os.open(mount.source, os.O_PATH)
    except OSError as error:
        mend = "A bind mount needs an existing source."
        raise SetupError("mount", mount.source, error.strerror or str(error), mend, error.errno or 0) from error
    try:
        kind = "directory" if stat.S_ISDIR(os.fstat(source).st_mode) else "file"
        with root.resolve(mount.destination, kind, follow) as path:
            _refuse_proc(root, mount, path)
            bind(f"/proc/self/fd/{source}", path, options.attributes | sc.MOUNT_ATTR_NODEV, options.flags & sc.MS_REC)
    finally:
        os.close(source)


def bind(source: str, target: str, attributes: int, recursive: int = 0) -> None:
    """Bind *source* on *target* (a trusted path, links are followed), attributes set before anybody can reach it."""
    flags = sc.OPEN_TREE_CLONE | (sc.AT_RECURSIVE if recursive else 0)
    tree = sc.open_tree(sc.AT_FDCWD, source, flags)
    try:
        if attributes:
            sc.mount_setattr(tree, "", sc.AT_EMPTY_PATH | (sc.AT_RECURSIVE if recursive else 0), attributes)
        sc.move_mount(tree, "", sc.AT_FDCWD, target, sc.MOVE_MOUNT_F_EMPTY_PATH | sc.MOVE_MOUNT_T_SYMLINKS)
    finally:
        os.close(tree)


def mount_cgroup(root: Root, mount: Mount, procs_files: tuple[str, ...]) -> None:
    """/sys/fs/cgroup as Docker shows it: the container's own cgroup as the root of each hierarchy, read-only.

    Bound from the host's mount, seen from the container's cgroup namespace: mounting a v1 hierarchy takes the kernel's
    cgroup lock and milliseconds. On v1 only hierarchies in which the container has a group of its own are shown: in
    the others it would look at the host's.
    """
    groups = [os.path.dirname(path) for path in procs_files]
    attributes = Options(mount.options).attributes | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC
    flags = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
    with root.resolve(mount.destination, "directory") as path:
        if len(groups) == 1:
            bind(groups[0], path, attributes)
            return
        sc.mount("tmpfs", path, "tmpfs", flags, "mode=755,size=64k")
    with root.resolve(mount.destination) as path:
        for group in groups:
            target = os.path.join(path, _hierarchy_name(group))
            os.mkdir(target)
            bind(group, target, attributes)
        sc.mount(None, path, None, flags | sc.MS_RDONLY | sc.MS_REMOUNT | sc.MS_BIND)


def _hierarchy_name(group: str) -> str:
    """``memory`` of /sys/fs/cgroup/memory/…: the last part of the path at which the hierarchy is mounted."""
    path = group
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return os.path.basename(path)


def mask(root: Root, paths: tuple[str, ...]) -> None:
    """Hide *paths*: files behind /dev/null, folders behind one empty read-only tmpfs. Missing ones are passed over."""
    empty = -1
    try:
        for path in paths:
            try:
                fd = root.open(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                target = f"/proc/self/fd/{fd}"
                if not stat.S_ISDIR(os.fstat(fd).st_mode):
                    bind("/dev/null", target, sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOEXEC | sc.MOUNT_ATTR_NOSUID)
                elif empty < 0:
                    flags = sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
                    sc.mount("tmpfs", target, "tmpfs", flags, "size=0k,nr_inodes=1,mode=755")
                    empty = root.open(path)
                else:
                    bind(f"/proc/self/fd/{empty}", target, 0)
            finally:
                os.close(fd)
    finally:
        if empty >= 0:
            os.close(empty)


def make_readonly(root: Root, paths: tuple[str, ...]) -> None:
    """Bind *paths* on themselves read-only, whole trees. Missing ones are passed over."""
    for path in paths:
        try:
            fd = root.open(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            bind(f"/proc/self/fd/{fd}", f"/proc/self/fd/{fd}", sc.MOUNT_ATTR_RDONLY, sc.MS_REC)
        finally:
            os.close(fd)


def make_root_readonly(root: Root) -> None:
    """The root file system itself read-only, what is mounted on it unchanged (docker run --read-only)."""
    sc.mount_setattr(sc.AT_FDCWD, root.path, 0, sc.MOUNT_ATTR_RDONLY)


def check_options(mount: Mount) -> None:
    """Refuse options that would give a container more than Docker would (ISOLATION 89)."""
    for option in mount.options:
        if option in ("dev", "suid", "remount", "move") and mount.type == "bind":
            raise SpecError("mount", mount.destination, f"option {option!r} is not allowed for a bind mount")
