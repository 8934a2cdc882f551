"""``RUN --mount``: what a step sees that is no part of the image.

Every source is made of layers: those of a stage or image, or a layer of its own that the context's files become, kept
like any other and so made once for the same content. A path in a source is looked up in the layers, where links are
followed as if the source were ``/`` (CVE-2024-1753), so what is mounted is always a folder or file of the store's own.
Cache folders are named by a hash of their id (CVE-2024-9675). Secrets go through memory: the container's config.json is
never written to a disk. Not here: the parsing of flags (``mounts``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers.build.cache import key_of
from jupyter_containers.build.mounts import Mount
from jupyter_containers.build.source import Fault, Location
from jupyter_containers.build.stage import Step
from jupyter_containers.build.state import State
from jupyter_containers.errors import InvalidArgument, suggest
from jupyter_containers.image.locks import locked, try_locked

if TYPE_CHECKING:
    from jupyter_containers.build.builder import Build

OciMount = Mapping[str, Any]
InBundle = Callable[[Path], OciMount]

_COMMON = ("rprivate", "nosuid", "nodev")
_CACHES = "mounts"
_SECRETS, _AGENT = "/run/secrets", "/run/buildkit/ssh_agent.{}"
_MODE = {"secret": 0o400, "cache": 0o755}


@dataclass
class Mounted:
    """What the mounts of one step come to.

    Attributes:
        mounts: made once the bundle's folder is known. env: secrets as variables.
        places: paths inside, in the order of the mounts.
    """

    mounts: list[InBundle] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)


class Mounts:
    """The mounts of one ``RUN``.

    Args:
        step: the step. found: its mounts, expanded.
    """

    def __init__(self, build: Build, step: Step, found: Sequence[Mount]) -> None:
        self._build, self._step, self._found = build, step, found
        self._workdir = str(step.state.config.get("WorkingDir") or "/")
        self._sources = {number: self._source(mount) for number, mount in enumerate(found)}

    def key(self) -> list[object]:
        """What the step's result depends on: the content of what is bound, the names of the rest."""
        return [self._key(number, mount) for number, mount in enumerate(self._found)]

    def open(self, opened: ExitStack) -> Mounted:
        """Make what is mounted; locks are held as long as *opened*.

        Raises:
            Fault, NotFound, InvalidArgument: a source, secret or agent is not there.
        """
        made = Mounted()
        for number, mount in enumerate(self._found):
            getattr(self, f"_{mount.type}")(number, mount, made, opened)
        return made

    # --- sources ---

    @property
    def _location(self) -> Location:
        return self._step.instruction.location

    def _source(self, mount: Mount) -> State | None:
        """The layers that a mount is from; None for nothing."""
        if mount.type == "bind" and not mount.from_:
            return self._build.of_context(mount.source or "/", self._location)
        found = self._build.state_of(mount.from_, self._location) if mount.from_ else None
        return self._build.of_state(found, mount.source or "/") if found and mount.type == "cache" else found

    def _key(self, number: int, mount: Mount) -> object:
        source = self._sources[number]
        said = {
            "type": mount.type, "target": mount.target, "source": mount.source, "readonly": mount.readonly,
            "id": mount.id, "size": mount.size, "env": mount.env, "mode": mount.mode, "uid": mount.uid,
            "gid": mount.gid,
        }  # fmt: skip
        return [said, source.chain_id if source else ""]

    def _target(self, mount: Mount, default: str = "") -> str:
        return mount.path(self._workdir) if mount.target or not default else default

    # --- kinds ---

    def _bind(self, number: int, mount: Mount, made: Mounted, _: ExitStack) -> None:
        source, target = self._sources[number], self._target(mount)
        assert source is not None
        places = self._places(mount, source)
        made.places.append(target)
        if len(places) == 1 and (mount.readonly or not places[0].is_dir()):
            made.mounts.append(lambda _: _bound(target, places[0], "ro"))
        else:
            made.mounts.append(lambda bundle: _overlaid(target, places, bundle, f"mount{number}", mount.readonly))

    def _places(self, mount: Mount, source: State) -> list[Path]:
        """Where a path of a source is: the folders to be merged, top first, or one file."""
        order = {"verb": "locate", "lower": self._build.layering.lower(source), "path": mount.source or "/"}
        found = self._build.layering.ask(order)["places"]
        if not found:
            raise Fault(f"there is no {mount.source!r:.120} in {mount.from_ or 'the build context'}", mount.source)
        return [Path(place) for place in found]

    def _cache(self, number: int, mount: Mount, made: Mounted, opened: ExitStack) -> None:
        target = self._target(mount)
        folder = self._folder(mount, opened)
        order = {
            "verb": "cache", "path": str(folder), "mode": _MODE["cache"] if mount.mode is None else mount.mode,
            "uid": mount.uid or 0, "gid": mount.gid or 0, "unpack": self._content(number),
        }  # fmt: skip
        with self._build.cache.making(key_of("cache folder", folder.name)):  # those who share it come here at once
            self._build.layering.ask(order)
        made.places.append(target)
        made.mounts.append(lambda _: _bound(target, folder, "ro" if mount.readonly else "rw"))

    def _content(self, number: int) -> dict[str, Any] | None:
        """What a new cache folder begins with: one layer."""
        source = self._sources[number]
        return self._build.layering.unpacking(source.layers[0]) if source and source.layers else None

    def _folder(self, mount: Mount, opened: ExitStack) -> Path:
        """The folder of a cache, held while the step runs: a private one is another one while the first is in use."""
        name = hashlib.sha256(key_of(mount.id, mount.from_).encode()).hexdigest()[:32]
        root = self._build.cache.root / _CACHES
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1000):
            folder = root / f"{name}-{number}"
            lock = folder.with_suffix(".lock")
            if mount.sharing != "private":
                opened.enter_context(locked(lock, shared=mount.sharing != "locked"))
                return folder
            if opened.enter_context(try_locked(lock)) is not None:
                return folder
        raise InvalidArgument("a thousand steps use this private cache", mount.id)

    def _tmpfs(self, _: int, mount: Mount, made: Mounted, __: ExitStack) -> None:
        target = self._target(mount)
        size = [f"size={mount.size}"] if mount.size else []
        options = ["nosuid", "nodev", "noexec", *size, "ro" if mount.readonly else "rw"]
        made.places.append(target)
        made.mounts.append(lambda _: {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options})

    def _secret(self, _: int, mount: Mount, made: Mounted, __: ExitStack) -> None:
        content = self._build.secret(mount.id)
        if content is None:
            if mount.required:
                known = sorted(self._build.request.secrets)
                mend = suggest(mount.id, known) or f"Give it with --secret id={mount.id},src=FILE (or env=NAME)."
                raise Fault(f"secret {mount.id!r:.80} not found", mount.id, mend)
            return
        if mount.env:
            made.env[mount.env] = content.decode(errors="surrogateescape")
        if mount.target or not mount.env:
            target = self._target(mount, f"{_SECRETS}/{mount.id}")
            mode = _MODE["secret"] if mount.mode is None else mount.mode
            made.places.append(target)
            made.mounts.append(lambda _: _data(target, content, mode, mount.uid or 0, mount.gid or 0))

    def _ssh(self, number: int, mount: Mount, made: Mounted, _: ExitStack) -> None:
        agent = self._build.request.agents.get(mount.id)
        if agent is None:
            if mount.required:
                raise Fault(f"ssh agent {mount.id!r:.80} not found", mount.id, f"Give it with --ssh {mount.id}.")
            return
        target = self._target(mount, _AGENT.format(number))
        made.env["SSH_AUTH_SOCK"] = target
        made.places.append(target)
        made.mounts.append(lambda _: _bound(target, agent, "rw"))


def caches(root: Path) -> Iterator[tuple[Path, float]]:
    """The cache folders in ``build-cache``, and when each was used last, seconds since 1970."""
    for lock in sorted((root / _CACHES).glob("*.lock")):
        folder = lock.with_suffix("")
        with suppress(FileNotFoundError):  # pruned meanwhile
            yield folder, max(lock.stat().st_mtime, folder.stat().st_mtime)


def prune_caches(root: Path, remove: Callable[[Path], None]) -> Iterator[str]:
    """Remove the cache folders that no step uses now; their names.

    Args:
        root: ``build-cache``. remove: removes a tree whoever owns its files.
    """
    for lock in sorted((root / _CACHES).glob("*.lock")):
        with try_locked(lock) as alone:
            if alone is not None:
                remove(lock.with_suffix(""))
                lock.unlink(missing_ok=True)
                yield lock.stem


def _bound(target: str, source: Path, access: str) -> OciMount:
    options = ["rbind" if source.is_dir() else "bind", *_COMMON, access]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _overlaid(target: str, places: Sequence[Path], bundle: Path, name: str, readonly: bool) -> OciMount:
    """Several folders as one; what the step writes there is thrown away."""
    upper, work = bundle / f"{name}-upper", bundle / f"{name}-work"
    for folder in (upper, work):
        folder.mkdir()
        folder.chmod(0o755)
    layers = [*(f"lowerdir+={place}" for place in places), f"upperdir={upper}", f"workdir={work}"]
    options = [*layers, "nosuid", "nodev", *["ro"] * readonly]
    return {"destination": target, "type": "overlay", "source": "overlay", "options": options}


def _data(target: str, content: bytes, mode: int, uid: int, gid: int) -> OciMount:
    """A file in memory."""
    options = [f"mode={mode:04o}", f"uid={uid}", f"gid={gid}", *_COMMON, "ro"]
    text = content.decode(errors="surrogateescape")
    return {"destination": target, "type": "data", "source": text, "options": options}
