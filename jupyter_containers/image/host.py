"""The embedded image ``host``: this machine's own system and Python, described.

Which directories of the machine make it, what of them must stay hidden, and its configuration: a pure description
from a :class:`Machine`, from which ``run`` makes mounts (copy-on-write where ids allow, read-only elsewhere). In it
are the system's directories and the kernel's Python, wherever that lies; not the user's home, /tmp, credentials,
Jupyter's runtime files, or this store. Nothing is mounted, read or written here.
"""

from __future__ import annotations

import os
import posixpath
import site
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_containers.image import digest as digests
from jupyter_containers.image import media, platforms

NAME = "host"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
           "/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm", "/var/lib/pacman", "/lib/apk")  # fmt: skip
# What every root has, empty.
_EMPTY = {"/dev": 0o755, "/proc": 0o555, "/sys": 0o555, "/run": 0o755, "/tmp": 0o1777,  # noqa: S108
          "/root": 0o700, "/home": 0o755,
          "/mnt": 0o755, "/media": 0o755, "/srv": 0o755, "/var": 0o755, "/var/lib": 0o755, "/var/log": 0o755,
          "/var/cache": 0o755, "/var/spool": 0o755, "/var/tmp": 0o1777,  # noqa: S108
          "/run/lock": 0o1777}  # fmt: skip
_PACKAGED = {"/var/log/apt": 0o755, "/var/cache/apt": 0o755, "/var/cache/debconf": 0o755}  # dpkg expects them
_LINKS = ("/var/run", "/var/lock")

# Credentials and identities. Globs; what is not there is left out.
_SECRETS = (
    "/etc/shadow*", "/etc/gshadow*", "/etc/security/opasswd", "/etc/sudoers", "/etc/sudoers.d", "/etc/doas.conf",
    "/etc/ssh/ssh_host_*_key", "/etc/dropbear", "/etc/ssl/private", "/etc/pki/tls/private", "/etc/pki/private",
    "/etc/letsencrypt", "/etc/krb5.keytab", "/etc/munge", "/etc/NetworkManager/system-connections",
    "/etc/wpa_supplicant", "/etc/netplan", "/etc/wireguard", "/etc/openvpn", "/etc/ipsec.secrets", "/etc/ipsec.d",
    "/etc/swanctl", "/etc/ppp/*-secrets", "/etc/crypttab", "/etc/cryptsetup-keys.d", "/etc/credstore*",
    "/etc/kubernetes", "/etc/rancher", "/etc/apt/auth.conf", "/etc/apt/auth.conf.d", "/etc/mysql/debian.cnf",
    "/etc/exim4/passwd.client", "/etc/postfix/sasl_passwd*", "/etc/cups/ssl", "/etc/cups/printers.conf*",
    "/etc/cloud", "/etc/jupyterhub", "/etc/docker", "/etc/containers/auth.json", "/etc/sssd", "/etc/libvirt/secrets",
    "/etc/nslcd.conf", "/etc/ldap.secret", "/etc/pam_ldap.secret", "/etc/rndc.key", "/etc/bind/rndc.key",
)  # fmt: skip
_SERVER_FILES = ("jupyter_server_config.*", "jupyter_notebook_config.*", "jupyter_cookie_secret")
# Mounts that hold no files of the system, or files that a container gets of its own.
_NO_FILES = (
    "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "autofs", "mqueue", "nsfs", "securityfs",
    "debugfs", "tracefs", "bpf", "pstore", "binfmt_misc", "efivarfs", "configfs", "fusectl", "hugetlbfs",
)  # fmt: skip
_OWN_FILES = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}


@dataclass(frozen=True)
class Entry:
    """One thing at *destination* of the container's root.

    Attributes:
        kind: ``overlay`` (copy-on-write over directory *source*), ``readonly`` (a recursive read-only bind of
            *source*), ``symlink`` (to *source*) or ``dir`` (empty, with *mode*).
    """

    source: str
    destination: str
    kind: str
    mode: int = 0o755


@dataclass(frozen=True)
class HostImage:
    """What the ``host`` image is made of.

    Attributes:
        entries: parents before children.
        masks: paths to hide: on an ``overlay`` entry by a whiteout in its upper directory, so that programs may make
            their own there; on a ``readonly`` one by something empty mounted over them. An entry beneath a mask
            shows through it.
        config: Env, Cmd, WorkingDir as in an image configuration.
    """

    entries: tuple[Entry, ...]
    masks: tuple[str, ...]
    config: dict[str, Any]

    @property
    def id(self) -> str:
        """An id as other images have one: a digest of the description."""
        entries = [[e.source, e.destination, e.kind, e.mode] for e in self.entries]
        return digests.of(media.dumps({"entries": entries, "masks": self.masks, "config": self.config}))

    def inspect(self) -> dict[str, Any]:
        """``docker image inspect`` of it, as far as it has such things."""
        here = platforms.machine()
        return {
            "Id": self.id, "RepoTags": [f"{NAME}:latest"], "RepoDigests": [], "Parent": "",
            "Comment": "This machine's own system and Python environment.", "Created": "0001-01-01T00:00:00Z",
            "Author": "", "Config": self.config, "Architecture": here.architecture, "Os": here.os, "Size": 0,
            "VirtualSize": 0, "GraphDriver": {"Name": "overlay2", "Data": None},
            "RootFS": {"Type": "layers", "Layers": []},
        }  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """The facts that decide, gathered once; tests give others.

    Attributes:
        uid: who we are; ids of files are compared with it.
        privileged: whether ids of others can be copied up (rung ``root``).
        mountinfo: the text of /proc/self/mountinfo.
        prefixes: directories of the kernel's Python.
        executable: its program.
        user_base: where ``pip install --user`` puts packages, if the kernel uses those; else "".
        home: the user's home.
        private: directories that must not be seen: Jupyter's runtime files, this store.
        root: what ``/`` is (a test's folder).
    """

    uid: int
    privileged: bool
    mountinfo: str
    prefixes: tuple[str, ...]
    executable: str
    user_base: str = ""
    home: str = "/root"
    private: tuple[str, ...] = ()
    virtual_env: str = ""
    root: str = "/"

    def at(self, path: str) -> Path:
        """*path* of the machine as a path to look at."""
        return Path(self.root) / path.lstrip("/")


def this_machine(privileged: bool, private: tuple[str, ...] = ()) -> Machine:
    """The facts of the machine and Python that we run on; *private* are directories to hide, as the store."""
    base = site.getuserbase() if site.ENABLE_USER_SITE and site.getusersitepackages() in sys.path else ""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    runtime, share = os.environ.get("JUPYTER_RUNTIME_DIR", ""), f"{Path.home()}/.local/share/jupyter"
    return Machine(
        uid=os.geteuid(),
        privileged=privileged,
        mountinfo=Path("/proc/self/mountinfo").read_text(errors="surrogateescape"),
        prefixes=tuple(dict.fromkeys(prefixes)),
        executable=sys.executable,
        user_base=base,
        home=str(Path.home()),
        private=tuple(path for path in (*private, runtime, f"{share}/runtime", f"{share}/notebook_secret") if path),
        virtual_env=sys.prefix if sys.prefix != sys.base_prefix else "",
    )


def host_image(machine: Machine) -> HostImage:
    """The ``host`` image of *machine*."""
    plan = _Plan(machine, _mounts(machine.mountinfo))
    plan.skeleton()
    for path in _SYSTEM:
        plan.include(path)
    for path in (*_python_directories(machine), *_user_packages(machine)):
        plan.include(path)
    plan.executable(machine.executable)
    plan.separate_mounts()
    return HostImage(tuple(plan.entries.values()), tuple(plan.masks()), _config(machine))


@dataclass
class _Plan:
    """Entries as they are decided, by destination."""

    machine: Machine
    mounts: dict[str, str]
    entries: dict[str, Entry] = field(default_factory=dict)

    def skeleton(self) -> None:
        packaged = _PACKAGED if self.machine.at("/var/lib/dpkg").is_dir() else {}
        for path, mode in (_EMPTY | packaged).items():
            self.entries[path] = Entry("", path, "dir", mode)
        for path in _LINKS:
            if self.machine.at(path).is_symlink():
                self._link(path)

    def include(self, path: str) -> None:
        """Add a directory (at its own name, and its real one where that differs), or the link that it is."""
        if self.covered(path):
            return
        here = self.machine.at(path)
        if here.is_symlink() and "/" not in path[1:]:
            self._link(path)
        elif here.is_dir():
            self._parents(path)
            self.entries[path] = Entry(path, path, self._kind(path))
            real = self._real(path)
            if real != path and self.machine.root == "/":
                self.include(real)
        elif here.is_file():
            self._parents(path)
            self.entries[path] = Entry(path, path, "readonly")

    def executable(self, path: str) -> None:
        """Add the links on the way from the program's name to the program itself."""
        for _ in range(40):
            here = self.machine.at(path)
            if not here.is_symlink():
                break
            if not self.covered(path):
                self._parents(path)
                self._link(path)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), str(here.readlink())))
        if not self.covered(path):
            self.include(path)

    def separate_mounts(self) -> None:
        """What is mounted beneath an included directory is not seen through an overlay of it: an entry of its own."""
        for path, kind in self.mounts.items():
            above = self.entries.get(self._above(path))
            if above is None or above.destination == path or above.kind not in ("overlay", "readonly"):
                continue
            if kind in _NO_FILES or kind == "tmpfs" or path in _OWN_FILES or not self.machine.at(path).exists():
                continue
            wanted = self._kind(path) if self.machine.at(path).is_dir() else "readonly"
            if above.kind == "overlay" or wanted != "readonly":
                self.entries[path] = Entry(path, path, wanted)

    def masks(self) -> list[str]:
        """Secrets beneath included directories; tmpfs mounts there too: that is how clusters hand out secrets."""
        found = {f"/{item.relative_to(self.machine.root)}" for item in self._globs()}
        found |= {path for path, kind in self.mounts.items() if kind == "tmpfs"}
        found |= {*self.machine.private, self.machine.home}
        return sorted(path for path in found if self._seen_through(path))

    def _seen_through(self, path: str) -> bool:
        """Whether a real directory above, not the entry of that very name, shows *path*."""
        mine = self.entries.get(path)
        above = (self.entries.get(str(parent)) for parent in Path(path).parents)
        real = next((entry for entry in above if entry is not None and entry.kind != "dir"), None)
        return (mine is None or mine.kind == "dir") and real is not None

    def covered(self, path: str) -> bool:
        """Whether *path* is seen through an entry already, and not in the user's home, which is hidden."""
        home, above = self.machine.home, self._above(path)
        at_home = f"{path}/".startswith(f"{home}/") and not f"{above}/".startswith(f"{home}/")
        return self._shows(path) and not at_home

    def _shows(self, path: str) -> bool:
        above = self.entries.get(self._above(path))
        return above is not None and (above.kind in ("overlay", "readonly") or above.destination == path)

    def _above(self, path: str) -> str:
        while path not in self.entries and path not in ("/", ""):
            path = posixpath.dirname(path)
        return path

    def _globs(self) -> list[Path]:
        top = Path(self.machine.root)
        folders = ["/etc/jupyter", "/usr/etc/jupyter", "/usr/local/etc/jupyter"]
        folders += [f"{prefix}/etc/jupyter" for prefix in self.machine.prefixes]
        patterns = [*_SECRETS, *(f"{folder}/{name}" for folder in folders for name in _SERVER_FILES)]
        return [path for pattern in patterns for path in top.glob(pattern.lstrip("/"))]

    def _kind(self, path: str) -> str:
        if self.machine.privileged:
            return "overlay"
        # A user namespace cannot overlay a directory that has mounts of others beneath it.
        inner = any(other.startswith(f"{path}/") for other in self.mounts)
        mine = self.machine.at(path).stat().st_uid == self.machine.uid
        return "overlay" if mine and not inner else "readonly"

    def _link(self, path: str) -> None:
        self.entries[path] = Entry(str(self.machine.at(path).readlink()), path, "symlink")

    def _parents(self, path: str) -> None:
        for parent in reversed(Path(path).parents[:-1]):
            if not self.covered(str(parent)):
                self.entries.setdefault(str(parent), Entry("", str(parent), "dir"))

    def _real(self, path: str) -> str:
        return os.path.realpath(path) if self.machine.root == "/" else path


def _python_directories(machine: Machine) -> list[str]:
    """The prefixes; of one that holds the user's home too (a venv made in it), only Python's part."""
    found = []
    for prefix in machine.prefixes:
        if prefix in ("/", ""):
            continue
        if machine.home == prefix or machine.home.startswith(f"{prefix}/"):
            found += [f"{prefix}/{part}" for part in ("bin", "lib", "lib64", "include", "share/jupyter", "pyvenv.cfg")]
        else:
            found.append(prefix)
    return found


def _user_packages(machine: Machine) -> list[str]:
    return [f"{machine.user_base}/lib", f"{machine.user_base}/bin"] if machine.user_base else []


def _mounts(mountinfo: str) -> dict[str, str]:
    """Mount point to file system type, parents first. https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if len(fields := before.split(" ")) > 4 and after:
            found[_unescaped(fields[4])] = after.split(" ")[0]
    return dict(sorted(found.items()))


def _unescaped(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def _config(machine: Machine) -> dict[str, Any]:
    first = posixpath.dirname(machine.executable)
    path = PATH if first in PATH.split(":") else f"{first}:{PATH}"
    env = [f"PATH={path}"]
    env += [f"VIRTUAL_ENV={machine.virtual_env}"] if machine.virtual_env else []
    env += [f"PYTHONUSERBASE={machine.user_base}"] if machine.user_base else []
    return {"Env": env, "Cmd": [machine.executable], "WorkingDir": "/", "Labels": None, "Entrypoint": None, "User": ""}
