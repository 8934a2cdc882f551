"""Images with docker-py's names: ``engine.images.load(…)``, ``.list``, ``.get``, ``image.tag(…)`` …"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jupyter_containers.build.cache import FOLDER, BuildCache
from jupyter_containers.config import Settings
from jupyter_containers.engine.registries import Registries
from jupyter_containers.errors import ImageNotFound, InvalidArgument
from jupyter_containers.image import host, platforms
from jupyter_containers.image.host import HostImage
from jupyter_containers.image.progress import OnEvent
from jupyter_containers.image.store import Image as StoredImage
from jupyter_containers.image.store import ImageStore, Users
from jupyter_containers.options import RunOptions
from jupyter_containers.run import host as host_parts
from jupyter_containers.run.bundle import Source
from jupyter_containers.run.host import HostParts
from jupyter_containers.run.records import Records
from jupyter_containers.run.runtime import Runtime
from jupyter_containers.text import filters as text_filters

if TYPE_CHECKING:
    from jupyter_containers.engine.builds import Builds

_RUNNING = ("creating", "running", "paused")


class Image:
    """One image."""

    def __init__(self, owner: Images, found: StoredImage | HostImage) -> None:
        self._owner, self.found = owner, found

    def __repr__(self) -> str:
        """As docker-py's."""
        return f"<Image: {', '.join(repr(tag) for tag in self.tags)}>"

    @property
    def is_host(self) -> bool:
        """Whether it is the embedded ``host`` image."""
        return isinstance(self.found, HostImage)

    @property
    def id(self) -> str:
        """Digest of its configuration."""
        return self.found.id

    @property
    def short_id(self) -> str:
        """``sha256:`` and ten digits, as docker-py."""
        return self.found.id[:17]

    @property
    def tags(self) -> list[str]:
        """Familiar names with tag."""
        return ["host:latest"] if isinstance(self.found, HostImage) else self.found.tags

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its configuration."""
        return {} if isinstance(self.found, HostImage) else self.found.labels

    @property
    def attrs(self) -> dict[str, Any]:
        """``docker image inspect``'s JSON."""
        found = self.found
        return found.inspect() if isinstance(found, HostImage) else self._owner.store.inspect(found)

    def history(self) -> list[dict[str, Any]]:
        """``docker history``'s rows, newest first."""
        return [] if isinstance(self.found, HostImage) else list(self._owner.store.history(self.found))

    def layers(self, files: bool = False) -> dict[str, Any]:
        """What each layer adds, changes, removes and wastes, bottom first; with *files* every name.

        Raises:
            InvalidArgument: it is ``host``, which has no layers.
        """
        if isinstance(self.found, HostImage):
            raise InvalidArgument("the image 'host' is this machine itself and has no layers")
        return self._owner.store.layer_view(self.found, files)

    def save(self, chunk_size: int = 2 << 20, named: bool | str = False) -> Iterator[bytes]:
        """As docker-py: an archive of it, nameless, or with its first name or the one given."""
        name = named if isinstance(named, str) else self.tags[0] if named and self.tags else self.id
        return self._owner.save([name])

    def tag(self, repository: str, tag: str | None = None) -> bool:
        """Give it one more name."""
        self._owner.tag(self.tags[0] if self.tags else self.id, f"{repository}:{tag}" if tag else repository)
        return True


class Images:
    """All images of a store, and ``host``."""

    def __init__(self, home: Path, runtime: Runtime, records: Records, settings: Settings | None = None) -> None:
        self._home, self._runtime, self._records = home, runtime, records
        self._settings = settings or Settings(home=home)

    @cached_property
    def store(self) -> ImageStore:
        """The store; its layers have the owners of the rung in use."""
        rung = self._runtime.rung
        unshare = None if rung == "root" else self._runtime.unshare
        return ImageStore(self._home, rung, unshare, kept=BuildCache(self._home / FOLDER))

    @cached_property
    def registries(self) -> Registries:
        """Where images come from and go to."""
        return Registries(self._settings, lambda: self.store)

    @cached_property
    def builds(self) -> Builds:
        """Builds of images, and their cache."""
        from jupyter_containers.engine.builds import Builds  # not for `images`

        return Builds(self._settings, self._records, self._runtime, lambda: self.store, self.registries, self.using)

    @cached_property
    def host(self) -> HostImage:
        """The embedded image: this machine's own system and Python."""
        machine = host.this_machine(self._runtime.rung == "root", (str(self._home),))
        return host.host_image(machine)

    @cached_property
    def _host_parts(self) -> HostParts:
        folder = self._home / "layers" / f"host-{self._runtime.rung}"
        return host_parts.parts(self.host, folder)

    # -- finding -----------------------------------------------------------------------------------------------

    def get(self, name: str) -> Image:
        """The image of a reference or of (the beginning of) an id.

        Raises:
            ImageNotFound: there is none, with the nearest name.
        """
        if _is_host(name):
            return Image(self, self.host)
        return Image(self, self.store.resolve(name))

    def list(
        self, name: str | None = None, all: bool = False, filters: Mapping[str, Any] | None = None
    ) -> builtins.list[Image]:
        """Every image of the store, newest first as ``docker images``, ``host`` last."""
        found = [Image(self, image) for image in self.store.list()]
        found.append(Image(self, self.host))
        if name:
            found = [image for image in found if any(_matches(tag, name) for tag in image.tags)]
        return found

    def source(self, options: RunOptions) -> Source:
        """What a container of *options* is made from; layers are unpacked at the first need.

        Raises:
            ImageNotFound, WrongPlatform, LayerError, StorageFull.
        """
        if _is_host(options.image):
            return Source("host", self.host.id, self.host.config, host=self._host_parts)
        image = self._resolve(options)
        wanted = platforms.parse(options.platform) if options.platform else platforms.machine()
        platforms.check(image.platform, wanted, options.image)
        return Source(options.image, image.id, image.config.run, self.store.layers(image))

    def _resolve(self, options: RunOptions) -> StoredImage:
        try:
            return self.store.resolve(options.image)
        except ImageNotFound as error:
            mend = f"{error.mend} " if error.mend else ""
            mend += "Get it with `%container pull NAME`, or from an archive: `%container load FILE`."
            raise ImageNotFound(f"No such image: {options.image}", mend=mend) from None

    # -- changing ----------------------------------------------------------------------------------------------

    def pull(
        self,
        repository: str,
        tag: str | None = None,
        all_tags: bool = False,
        platform: str | None = None,
        on_event: OnEvent | None = None,
    ) -> Image | builtins.list[Image]:
        """Pull an image, as docker-py: with *all_tags* every one of a repository, as a list.

        Raises:
            ImageNotFound, RegistryDenied, RegistryUnreachable, RegistryError: it is not to be had.
            InvalidImage, DigestMismatch, WrongPlatform, LayerError, StorageFull: it is of no use.
        """
        name = with_tag(repository, tag)
        found = [Image(self, one.image) for one in self.registries.pull(name, platform or "", all_tags, on_event)]
        return found if all_tags else found[0]

    def push(self, repository: str, tag: str | None = None, on_event: OnEvent | None = None) -> str:
        """Push an image, as docker-py, of which every tag goes where none is named; the digest of the last one.

        Raises:
            ImageNotFound, RegistryDenied, RegistryUnreachable, RegistryError.
        """
        name = with_tag(repository, tag)
        return self.registries.push(name, name == repository and ":" not in repository.rpartition("/")[2], on_event)[
            -1
        ].digest

    def build(self, **keywords: Any) -> tuple[Image, Iterator[dict[str, Any]]]:
        """Build an image with docker-py's keywords; it and what was told, as docker-py's ``build``.

        Args:
            keywords: ``path`` or ``fileobj``, ``tag``, ``dockerfile``, ``buildargs``, ``target`` ... and ``on_event``,
                which is told a build's events: see ``engine.buildkeywords``.

        Raises:
            DockerfileError, StepFailed: at a line; their ``build_log`` has what was told until then.
            InvalidArgument: no such keyword, or of no use; and what ``Builds.build`` raises.
        """
        from jupyter_containers.engine import buildkeywords  # not for `images`

        found, told = buildkeywords.build(self.builds, keywords)
        return Image(self, found), iter(told)

    def load(self, source: str | Path | IO[bytes], on_event: OnEvent | None = None) -> builtins.list[Image]:
        """Load a docker-archive or oci-archive, compressed or not; ``-`` reads standard input."""
        from jupyter_containers.image import archive  # not for `images`

        return [Image(self, image) for image in archive.load(self.store, _path(source), on_event, unpack=True)]

    def save(
        self, names: Sequence[str], form: str = "docker-archive", on_event: OnEvent | None = None
    ) -> Iterator[bytes]:
        """Images as one archive, in pieces.

        Args:
            names: references, repositories (all their tags) or ids.
            form: ``docker-archive`` (an OCI layout that every docker reads, too) or ``oci-archive``.
        """
        from jupyter_containers.image import save  # not for `images`

        for name in names:
            if _is_host(name):
                mend = "`%container run` uses it anywhere; save what was built or loaded."
                raise InvalidArgument("the image 'host' is this machine itself and can't be saved", mend=mend)
        return save.chunks(self.store, names, form, on_event)

    def import_image(
        self,
        source: str | Path | IO[bytes],
        repository: str = "",
        tag: str = "",
        changes: Iterable[str] = (),
        message: str = "",
        platform: str = "",
        on_event: OnEvent | None = None,
    ) -> Image:
        """Make an image of the tar of a root file system (``docker import``).

        Args:
            source: a path, ``-`` for standard input, or something to read from.
            repository, tag: its name; none where empty.
            changes: Dockerfile instructions (``CMD``, ``ENV`` ...) for its configuration.
            message: the comment of its history.
            platform: what its programs run on; this machine where empty.
            on_event: is told docker's progress messages.

        Raises:
            DockerfileError: a change is not acceptable.
            InvalidReference, InvalidArchive.
        """
        from jupyter_containers.build.changes import changed  # these two not for `images`
        from jupyter_containers.image import imported

        found = imported.import_root_tar(
            self.store,
            _path(source),
            repository=repository,
            tag=tag,
            config=changed({}, changes),
            message=message,
            platform=platforms.parse(platform) if platform else None,
            on_event=on_event,
            unpack=True,
        )
        return Image(self, found)

    def tag(self, name: str, new: str) -> Image:
        """Give an image one more name."""
        if _is_host(name) or _is_host(new):
            raise InvalidArgument("the name 'host' stands for this machine", mend="Use another name.")
        return Image(self, self.store.tag(name, new))

    def remove(self, image: str, force: bool = False) -> builtins.list[dict[str, str]]:
        """``docker rmi``: rows of ``Untagged`` and ``Deleted``."""
        if _is_host(image):
            raise InvalidArgument("the image 'host' is this machine itself and can't be removed")
        return list(self.store.remove(image, force, self._users()))

    def prune(self, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Remove images that no container uses: those without a tag, with ``{"dangling": False}`` all.

        Args:
            filters: as docker-py's: ``dangling``, ``until`` (a time or a duration), ``label``, ``label!``.

        Returns:
            ``{"ImagesDeleted": [{"Untagged"|"Deleted": …}], "SpaceReclaimed": bytes}``.
        """
        from jupyter_containers.image import removal

        wanted, all_unused = _prune_filters(filters or {})
        passing = {image.id for image in text_filters.images(self.list(), wanted)} if wanted else None
        done = removal.prune(
            self.store, lambda image: passing is None or image.id in passing, all_unused, self._users()
        )
        return {"ImagesDeleted": done.rows, "SpaceReclaimed": done.bytes}

    def prune_builds(
        self, filters: Mapping[str, Any] | None = None, keep_storage: int | None = None, all: bool | None = None
    ) -> dict[str, Any]:
        """Forget results of builds, as docker-py: those that no image has, with *all* every one.

        Args:
            filters: ``until``: a time or a duration; what was used since stays. keep_storage: bytes that may stay.

        Returns:
            ``{"CachesDeleted": [key], "SpaceReclaimed": bytes}``.
        """
        from jupyter_containers.engine import buildkeywords

        return self.builds.prune(bool(all), buildkeywords.older(filters or {}), keep_storage or 0)

    def using(self) -> AbstractContextManager[None]:
        """While the block runs, no image is removed, nor a container without a record: until there is one."""
        return self.store.layout.using()

    @contextmanager
    def nobody_begins(self) -> Iterator[bool]:
        """Whether no process is about to begin a container, nor can while the block runs."""
        with self.store.layout.unused() as alone:
            yield alone

    def _users(self) -> Users:
        """The containers of an image and whether they run; read when first asked, which is under the removal's lock."""
        found: dict[str, dict[str, bool]] = {}
        read = False

        def users(image_id: str) -> dict[str, bool]:
            nonlocal read
            for record in () if read else self._records.all():
                runs = self._runtime.state(record.bundle)["status"] in _RUNNING
                found.setdefault(record.image_id, {})[record.id] = runs
            read = True
            return found.get(image_id, {})

        return users


def _prune_filters(filters: Mapping[str, Any]) -> tuple[dict[str, builtins.list[str]], bool]:
    """Filters as lists of words, and whether tagged images are meant too."""
    found: dict[str, builtins.list[str]] = {}
    for key, given in filters.items():
        if key not in text_filters.PRUNE_KEYS:
            known = ", ".join(text_filters.PRUNE_KEYS)
            raise InvalidArgument(f"invalid filter '{key}'", mend=f"Known are {known}.")
        found[key] = [str(value) for value in (given if isinstance(given, (builtins.list, tuple)) else [given])]
    dangling = found.pop("dangling", ["true"])
    return found, not all(text_filters.boolean(value) for value in dangling)


def with_tag(repository: str, tag: str | None) -> str:
    """The reference of docker-py's two arguments; the tag may be a digest."""
    if not tag:
        return repository
    return f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}"


def _path(source: str | Path | IO[bytes]) -> Any:
    """What the archive reader takes: ``-``, a path, or something to read from."""
    return source if source == "-" or hasattr(source, "read") else Path(str(source)).expanduser()


def _is_host(name: str) -> bool:
    return name in ("host", "host:latest")


def _matches(tag: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(tag, pattern) or fnmatchcase(tag.rpartition(":")[0], pattern)
