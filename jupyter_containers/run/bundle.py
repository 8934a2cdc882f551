"""Makes the bundle of a container: its folder with config.json and the files that are mounted into it.

A failure half-way removes what was made.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any

from jupyter_containers.config import Settings
from jupyter_containers.errors import ContainersError, InvalidArgument, StorageFull
from jupyter_containers.options import RunOptions
from jupyter_containers.run import etc, oci, rootfs
from jupyter_containers.run.host import HostParts
from jupyter_containers.run.profile import profile
from jupyter_containers.run.records import Record, Records
from jupyter_containers.run.runtime import Runtime

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
    """Files of a cell that its container sees read-only: path inside -> (content, mode)."""

    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)


def command_line(options: RunOptions, config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command as Docker joins them: a given entrypoint also sets the image's command aside."""
    if options.entrypoint is not None:
        return [*options.entrypoint, *options.command]
    words = [*(config.get("Entrypoint") or []), *(options.command or config.get("Cmd") or [])]
    if not words:
        raise InvalidArgument("no command specified", options.image, "Name one after the image.")
    return words


class Bundles:
    """Makes bundles in a store."""

    def __init__(self, settings: Settings, records: Records, runtime: Runtime) -> None:
        self._settings, self._records, self._runtime = settings, records, runtime

    def make(self, options: RunOptions, source: Source, args: Sequence[str], extra: Extra | None = None) -> Record:
        """A new container, not started.

        Raises:
            InvalidArgument, Conflict, StorageFull: nothing is left behind.
        """
        record = self._record(options, source, args)
        try:
            record.bundle.mkdir(mode=0o700, parents=True)
            record.name = self._name(options, record.id)
            self._records.add(record)
            config = self._config(options, source, args, record, extra or Extra())
            (record.bundle / "config.json").write_text(json.dumps(config, separators=(",", ":")))
        except BaseException as error:
            self.discard(record)
            if isinstance(error, OSError) and not isinstance(error, ContainersError):
                raise _disk_error(error, record.bundle) from error
            raise
        return record

    def plan(self, options: RunOptions, source: Source, args: Sequence[str]) -> dict[str, Any]:
        """The config.json that :meth:`make` would write; nothing is made (``--dry-run``)."""
        record = self._record(options, source, args)
        return oci.config(self._plan(options, source, args, record, self._root(source, record.bundle), ()))

    def discard(self, record: Record) -> None:
        """Remove a bundle that was never started, or has ended, and its name."""
        if record.bundle.exists():
            self._runtime.delete(record.bundle)
        if record.name:
            self._records.free_name(record.name)

    # -- parts -------------------------------------------------------------------------------------------------

    def _record(self, options: RunOptions, source: Source, args: Sequence[str]) -> Record:
        container_id = secrets.token_hex(32)
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

    def _name(self, options: RunOptions, container_id: str) -> str:
        if options.name:
            self._records.take_name(options.name, container_id)
            return options.name
        return self._records.take_random_name(container_id)

    def _root(self, source: Source, bundle: Path) -> rootfs.RootFs:
        if source.host is None:
            return rootfs.of_layers(bundle, source.layers)
        return rootfs.of_host(bundle, source.host)

    def _config(
        self, options: RunOptions, source: Source, args: Sequence[str], record: Record, extra: Extra
    ) -> dict[str, Any]:
        root = self._root(source, record.bundle)
        for folder in (record.bundle / "rootfs", *root.folders):
            folder.mkdir()
        etc.write(record.bundle, record.hostname, options.network, {})
        mounts = [*self._apt_settings(source), *_extra_mounts(record.bundle, extra)]
        return oci.config(self._plan(options, source, args, record, root, mounts))

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


def with_volume_names(options: RunOptions) -> RunOptions:
    """Options whose anonymous volumes have got names, as Docker's: 64 hex digits."""
    volumes = tuple(
        replace(mount, source=secrets.token_hex(32)) if mount.type == "volume" and not mount.source else mount
        for mount in options.volumes
    )
    return replace(options, volumes=volumes) if volumes != options.volumes else options


def _extra_mounts(bundle: Path, extra: Extra) -> Iterable[dict[str, Any]]:
    for number, (destination, (content, mode)) in enumerate(extra.files.items()):
        path = bundle / f"file{number}"
        path.write_bytes(content)
        path.chmod(mode)
        yield _bind(destination, path, "ro")
    for destination, path in extra.writable.items():
        yield _bind(destination, path, "rw")


def _bind(destination: str, path: Path, access: str) -> dict[str, Any]:
    options = ["bind", "rprivate", "nosuid", "nodev", access]
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
