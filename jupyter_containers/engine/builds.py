"""Builds with docker-py's keyword arguments, and what they leave in the cache.

Not here: how a build goes (``build.builder``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from jupyter_containers.build import builder, mounted
from jupyter_containers.build.cache import FOLDER, BuildCache, Entry
from jupyter_containers.build.contents import Hashes
from jupyter_containers.build.context import Context
from jupyter_containers.build.context import Dockerfile as Text
from jupyter_containers.build.dockerfile import parse
from jupyter_containers.build.events import Event, OnEvent
from jupyter_containers.build.request import BuildRequest, Secret
from jupyter_containers.build.sandbox import Sandbox
from jupyter_containers.config import Settings
from jupyter_containers.engine.about import tree_size
from jupyter_containers.engine.registries import Registries
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image import platforms, reference
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.store import Image, ImageStore
from jupyter_containers.options import RunOptions
from jupyter_containers.run.records import Records
from jupyter_containers.run.runtime import Runtime

EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class BuildOptions:
    """``docker build``'s flags.

    Attributes:
        context: a folder; None for none. archive: a tar, or a Dockerfile, to be read instead (``docker build -``).
        dockerfile: a path, of an archive a name in it; empty for ``Dockerfile`` in the context.
        text: the Dockerfile itself (``%%dockerfile``). text_name: what errors call it.
        secrets: ``id=NAME,src=FILE`` or ``id=NAME,env=VARIABLE``. agents: ``NAME[=SOCKET]`` (``--ssh``).
        run: limits and network of ``RUN``.
    """

    context: Path | None = None
    archive: IO[bytes] | None = None
    dockerfile: str = ""
    text: str | None = None
    text_name: str = "Dockerfile"
    tags: Sequence[str] = ()
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    cache_from: Sequence[str] = ()
    inline_cache: bool = False
    pull: bool = False
    secrets: Sequence[str] = ()
    agents: Sequence[str] = ()
    run: RunOptions = field(default_factory=lambda: RunOptions(""))


class Builds:
    """The builds of a store.

    Args:
        store: gives the store when it is first needed. using: see :class:`Sandbox`.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records,
        runtime: Runtime,
        store: Callable[[], ImageStore],
        registries: Registries,
        using: Callable[[], Any],
    ) -> None:
        self._settings, self._records, self._runtime = settings, records, runtime
        self._store, self._registries, self._using = store, registries, using

    @cached_property
    def cache(self) -> BuildCache:
        """What steps gave."""
        return BuildCache(self._settings.home / FOLDER)

    def build(self, options: BuildOptions, on_event: OnEvent | None = None) -> Image:
        """Build an image; see :func:`builder.build`."""
        self._records.prepare()
        self._sweep_area()
        with ExitStack() as opened:
            opened.callback(self._leave_area)
            request = self._request(options, opened)
            image = builder.build(self._place(), request, on_event)
        if self.cache.size() > self._settings.build_cache_size:
            self.prune(keep=self._settings.build_cache_size)
        return image

    # --- the cache ---

    def prune(self, all_unused: bool = True, older: float = 0.0, keep: int = 0) -> dict[str, Any]:
        """``docker builder prune``: forget results, and remove what only they kept.

        Args:
            all_unused: results of images that are there, too; else only what no image has.
            older: seconds since the last use.
            keep: bytes that may stay.

        Returns:
            ``{"CachesDeleted": [key], "SpaceReclaimed": bytes}``.
        """
        from jupyter_containers.image import removal

        store, before = self._store(), time.time() - older
        held = store.chain_ids_of_images()

        def wanted(entry: Entry) -> bool:
            return entry.used <= before and (all_unused or entry.result.chain_id not in held)

        gone = self.cache.prune(wanted, keep)
        sizes = {} if older or keep else {path.name: tree_size(path) for path, _ in mounted.caches(self.cache.root)}
        folders = list(mounted.prune_caches(self.cache.root, self._runtime.delete)) if sizes else []
        freed = removal.prune_orphans(store) + sum(sizes.get(name, 0) for name in folders)
        return {"CachesDeleted": [entry.key for entry in gone] + folders, "SpaceReclaimed": freed}

    # --- requests ---

    def _place(self) -> builder.Place:
        store = self._store()
        sandbox = lambda: Sandbox(self._settings, self._records, self._runtime, self._using)  # noqa: E731
        return builder.Place(store, self.cache, sandbox, self._pull, self._area, lambda: self._registries.access)

    def _sweep_area(self) -> None:
        """Remove contexts and downloads of processes that were killed."""
        for path in self._area.parent.glob("*-*"):
            pid, _, started = path.name.partition("-")
            if not (pid.isdecimal() and started.isdecimal() and self._runtime.is_alive(int(pid), int(started))):
                self._runtime.delete(path)

    def _leave_area(self) -> None:
        with suppress(OSError):  # it was not needed, or another build of this process is in it
            self._area.rmdir()

    @property
    def _area(self) -> Path:
        """A folder of this process's own for contexts and downloads."""
        return self._settings.home / "stages" / f"{os.getpid()}-{self._runtime.own_start()}"

    def _request(self, options: BuildOptions, opened: ExitStack) -> BuildRequest:
        context, text = self._context(options, opened)
        epoch = options.args.get(EPOCH) or os.environ.get(EPOCH) or ""
        if epoch and not epoch.isdecimal():
            raise InvalidArgument(f"{epoch!r:.40} is no number of seconds since 1970", EPOCH)
        return BuildRequest(
            dockerfile=parse(text.data.decode("utf-8", "replace"), text.name),
            context=context,
            names=tuple(_name(tag) for tag in options.tags),
            target=options.target,
            args=options.args,
            labels=options.labels,
            platform=platforms.parse(options.platform) if options.platform else None,
            use_cache=not options.no_cache,
            cache_from=tuple(options.cache_from),
            inline_cache=options.inline_cache or options.args.get("BUILDKIT_INLINE_CACHE") == "1",
            pull=options.pull,
            secrets=dict(_secret(word) for word in options.secrets),
            agents=dict(_agent(word) for word in options.agents),
            options=options.run,
            epoch=int(epoch) if epoch else None,
        )

    def _context(self, options: BuildOptions, opened: ExitStack) -> tuple[Context | None, Text]:
        hashes = Hashes(str(self.cache.root / "files")) if options.context else None
        context: Context | None = None
        if options.archive is not None:
            context = opened.enter_context(Context.stream(options.archive, self._area))
        elif options.context is not None:
            context = opened.enter_context(Context.directory(options.context, hashes))
        if options.text is not None:
            data = options.text.encode()
            return context, context.inline(data, options.text_name) if context else Text(options.text_name, data)
        if context is None:
            raise InvalidArgument("neither a build context nor a Dockerfile was given", "build")
        return context, context.dockerfile(options.dockerfile)

    def _pull(self, name: str, platform: Platform, anew: bool, on_event: Callable[[Event], None]) -> Image:
        if name in ("host", "host:latest"):
            mend = "Build FROM an image that was pulled, loaded or imported."
            raise InvalidArgument("the image 'host' is this machine itself: nothing can be built on it", name, mend)
        options = RunOptions(name, pull="always" if anew else "missing", platform=str(platform))
        self._registries.ensure(options, on_event)
        image = self._store().resolve(name)
        platforms.check(image.platform, platform, name)
        return image


def _name(tag: str) -> reference.Reference:
    found = reference.parse(tag)
    if found.digest:
        raise InvalidArgument("a built image gets a tag, not a digest", f"--tag {tag}")
    return found


def _secret(word: str) -> tuple[str, Secret]:
    """``id=NAME[,src=FILE|,env=VARIABLE]``; without either the variable NAME, else the file NAME."""
    given = _fields(word, ("type", "id", "src", "source", "env"), "--secret")
    name = given.get("id", "")
    path = given.get("src") or given.get("source")
    if not name:
        raise InvalidArgument(
            "a secret needs an id", f"--secret {word}", "Write id=NAME,src=FILE or id=NAME,env=VARIABLE."
        )
    if path and given.get("type") != "env":
        return name, Secret(path=Path(path).expanduser().absolute())
    variable = given.get("env") or path or name
    if variable in os.environ or given.get("env") or given.get("type") == "env":
        return name, Secret(variable=variable)
    return name, Secret(path=Path(name).absolute())


def _agent(word: str) -> tuple[str, Path]:
    """``default|NAME[=SOCKET]``."""
    name, _, path = word.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise InvalidArgument("no ssh agent runs", f"--ssh {word}", "Start one, or name its socket: --ssh NAME=SOCKET.")
    return name or "default", Path(path).absolute()


def _fields(word: str, known: Iterable[str], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in word.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise InvalidArgument(
                f"{part!r:.60} is no KEY=VALUE of a secret", f"{flag} {word}", f"Known: {', '.join(known)}."
            )
        found[key] = value
    return found
