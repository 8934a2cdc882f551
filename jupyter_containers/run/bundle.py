"""Makes the bundle of a container: its folder with config.json and the files that are mounted into it.

A failure half-way removes what was made.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from glob import glob
from operator import attrgetter
from pathlib import Path
from typing import Any

from jupyter_containers.config import Settings
from jupyter_containers.errors import ContainersError, InvalidArgument, StorageFull
from jupyter_containers.options import RunOptions
from jupyter_containers.run import etc, oci, rootfs
from jupyter_containers.run.host import HostParts
from jupyter_containers.run.interpreter import SCRIPT
from jupyter_containers.run.profile import profile
from jupyter_containers.run.records import Record, Records
from jupyter_containers.run.runtime import Runtime

_MOST_INLINE = 64 * 1024  # bytes of a cell's file that travels in config.json
_READ = ("rprivate", "nosuid", "nodev", "ro")
_APT_FOLDER = "etc/apt/apt.conf.d"
_APT_SETTINGS = Path(__file__).with_name("apt.conf")


@dataclass(frozen=True)
class Source:
    """The image as the run sees it.

    Attributes:
        config: its ``config`` object. layers: top first. host: what the ``host`` image is made of.
    """

    name: str
    id: str
    config: Mapping[str, Any]
    layers: Sequence[Path] = ()
    host: HostParts | None = None


@dataclass(frozen=True)
class Extra:
    """What a container has that nobody's options say: a cell's files, the mounts of a build's step.

    Attributes:
        files: seen read-only: path inside -> (content, mode).
        writable: files of the host that may be written: path inside -> path.
        mounts: each gives a mount as config.json has it, once the bundle's folder is known.
    """

    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    mounts: Sequence[Callable[[Path], Mapping[str, Any]]] = ()


def command_line(options: RunOptions, config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command as Docker joins them: a given entrypoint also sets the image's command aside."""
    if options.entrypoint is not None:
        return [*options.entrypoint, *options.command]
    words = [*(config.get("Entrypoint") or []), *(options.command or config.get("Cmd") or [])]
    if not words:
        raise InvalidArgument("no command specified", options.image, "Name one after the image.")
    return words


@dataclass(frozen=True)
class Draft:
    """A container that is known to its maker alone: folders and a name, if one was asked for, but no record."""

    record: Record
    config: dict[str, Any]
    alike: Hashable = None


_SHAPING = attrgetter(
    "network", "volumes", "workdir", "user", "hostname", "memory", "memory_swap", "cpus", "cpuset_cpus", "cpu_shares",
    "pids_limit", "ulimits", "shm_size", "read_only", "cap_add", "cap_drop", "security_opt", "devices", "init", "tty",
    "privileged", "group_add",
)  # fmt: skip


def alike(options: RunOptions, source: Source, extra: Extra | None) -> Hashable:
    """Equal for containers whose config.json will probably differ in nothing but what is each one's own.

    ``None`` for one that is asked to explain how it is made.
    """
    if getattr(options, "explain", False):
        return None
    return source.id, tuple(extra.files) if extra else (), bool(options.sysctls), _SHAPING(options)


class Bundles:
    """Makes bundles in a store."""

    def __init__(self, settings: Settings, records: Records, runtime: Runtime) -> None:
        self._settings, self._records, self._runtime = settings, records, runtime
        self._init_layer = cache(lambda script: rootfs.init_layer(settings.home, script))

    def draft(
        self,
        options: RunOptions,
        source: Source,
        args: Sequence[str],
        extra: Extra | None = None,
        container_id: str = "",
    ) -> Draft:
        """What a new container needs to be started; :meth:`keep` makes it one that others find.

        Args:
            container_id: of one that is ready, and has its folders.

        Raises:
            InvalidArgument, Conflict, StorageFull: nothing is left behind.
        """
        record = self._record(options, source, args, container_id)
        with self._or_discard(record):
            root = self._root(source, record.bundle, extra)
            if not container_id:
                _make_folders(record.bundle, root)
            if options.name:
                self._records.take_name(options.name, record.id)
                record.name = options.name
            mounts = [*self._apt_settings(source), *_extra_mounts(record.bundle, extra or Extra())]
            config = oci.config(self._plan(options, source, args, record, root, mounts))
        return Draft(record, config, alike(options, source, extra))

    def plan(self, options: RunOptions, source: Source, args: Sequence[str]) -> dict[str, Any]:
        """The config.json that a container would get; nothing is made (``--dry-run``)."""
        record = self._record(options, source, args)
        return oci.config(self._plan(options, source, args, record, self._root(source, record.bundle, None), ()))

    def keep(self, draft: Draft) -> None:
        """Give a draft its name, write config.json and record: others find it from now on.

        A container that is being started meanwhile may have ended already, and be gone.

        Raises:
            StorageFull: what is written so far stays for :meth:`discard`.
        """
        record = draft.record
        try:
            if not record.name:
                record.name = self._records.take_random_name(record.id)
            (record.bundle / "config.json").write_text(json.dumps(draft.config, separators=(",", ":")))
            self._records.add(record)
        except OSError as error:
            if record.bundle.exists():
                raise _disk_error(error, record.bundle) from error

    @contextmanager
    def _or_discard(self, record: Record) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard(record)
            raise _disk_error(error, record.bundle) from error
        except BaseException:
            self.discard(record)
            raise

    def discard(self, record: Record) -> None:
        """Remove a bundle that was never started, or has ended, and its name."""
        if record.bundle.exists():
            self._runtime.delete(record.bundle)
        if record.name:
            self._records.free_name(record.name)

    # -- parts -------------------------------------------------------------------------------------------------

    def _record(self, options: RunOptions, source: Source, args: Sequence[str], container_id: str = "") -> Record:
        container_id = container_id or secrets.token_hex(32)
        return Record(
            id=container_id,
            name="",
            image=source.name,
            image_id=source.id,
            created=time.time(),
            options=options.to_dict(),
            args=list(args),
            path=self._records.folder / container_id,
            creator=(os.getpid(), self._runtime.own_start()),
            labels={**(source.config.get("Labels") or {}), **options.labels},
            hostname=options.hostname or (os.uname().nodename if options.network == "host" else container_id[:12]),
        )

    def _root(self, source: Source, bundle: Path, extra: Extra | None) -> rootfs.RootFs:
        if source.host is None:
            script = SCRIPT if extra and SCRIPT in extra.files else ""
            return rootfs.of_layers(bundle, [*source.layers, self._init_layer(script)])
        return rootfs.of_host(bundle, source.host)

    def _plan(
        self,
        options: RunOptions,
        source: Source,
        args: Sequence[str],
        record: Record,
        root: rootfs.RootFs,
        mounts: Sequence[Mapping[str, Any]],
    ) -> oci.Plan:
        return oci.Plan(
            options=options,
            args=args,
            bundle=record.bundle,
            root=root.mounts,
            image_config=source.config,
            profile=profile(options),
            hostname=record.hostname,
            rung=self._runtime.rung,
            pids_limit=self._settings.pids_limit if self._runtime.has_cgroup else 0,
            extra_mounts=mounts,
            masks=root.masks,
            volumes=self._volumes(options),
            thermal=_thermal(),
            etc=etc.files(record.hostname, options.network, {}),
        )

    def _apt_settings(self, source: Source) -> Iterable[dict[str, Any]]:
        """With one user id apt can't become ``_apt`` to fetch, and checks that (it ends with 112): tell it not to."""
        if self._runtime.rung == "rootless-single" and any((layer / _APT_FOLDER).is_dir() for layer in source.layers):
            yield _bind(f"/{_APT_FOLDER}/99nb-containers", _APT_SETTINGS, "ro")

    def _volumes(self, options: RunOptions) -> dict[str, Path]:
        """The folders of named volumes, made where missing; missing bind sources that ``-v`` makes."""
        found: dict[str, Path] = {}
        for mount in options.volumes:
            if mount.type == "volume":
                folder = self._settings.home / "volumes" / mount.source / "_data"
                folder.mkdir(parents=True, exist_ok=True)
                found[mount.source] = folder
            elif mount.type == "bind" and mount.create:
                Path(mount.source).mkdir(parents=True, exist_ok=True)
        return found


def _make_folders(bundle: Path, root: rootfs.RootFs) -> None:
    bundle.mkdir(mode=0o700)
    for folder in root.folders:
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask: the container's / has the mode of its writable layer


def with_volume_names(options: RunOptions) -> RunOptions:
    """Options whose anonymous volumes have got names, as Docker's: 64 hex digits."""
    volumes = tuple(
        replace(mount, source=secrets.token_hex(32)) if mount.type == "volume" and not mount.source else mount
        for mount in options.volumes
    )
    return replace(options, volumes=volumes) if volumes != options.volumes else options


def _extra_mounts(bundle: Path, extra: Extra) -> Iterable[Mapping[str, Any]]:
    for number, (destination, (content, mode)) in enumerate(extra.files.items()):
        text = _text(content)
        if text is not None:
            yield {"destination": destination, "type": "data", "source": text, "options": [f"mode={mode:04o}", *_READ]}
            continue
        path = bundle / f"file{number}"
        path.write_bytes(content)
        path.chmod(mode)
        yield _bind(destination, path, "ro")
    for destination, path in extra.writable.items():
        yield _bind(destination, path, "rw")
    yield from (mount(bundle) for mount in extra.mounts)


def _text(content: bytes) -> str | None:
    """*content* as text for config.json; ``None`` for what is none, or too much."""
    try:
        return content.decode() if len(content) <= _MOST_INLINE and b"\0" not in content else None
    except UnicodeDecodeError:
        return None


def _bind(destination: str, path: Path, access: str) -> dict[str, Any]:
    options = ["bind", *_READ[:-1], access]
    return {"destination": destination, "type": "bind", "source": str(path), "options": options}


@lru_cache(maxsize=1)
def _thermal() -> tuple[str, ...]:
    """What GHSA-6fw5-f8r9-fgfm hides: it tells a container the load of the machine."""
    return tuple(sorted(glob("/sys/devices/system/cpu/cpu*/thermal_throttle")))


def _disk_error(error: OSError, bundle: Path) -> ContainersError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("no room for a container", str(bundle.parent), "Free some space: `%container prune`.")
    return ContainersError(f"{error.strerror or error}", str(error.filename or bundle))
