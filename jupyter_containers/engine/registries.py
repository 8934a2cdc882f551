"""Images from and to registries: docker-py's ``pull``, ``push`` and ``login``, and what ``run`` does first.

Not here: the protocol and the order of work (``image.registry``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_containers.config import Settings
from jupyter_containers.errors import (
    ImageNotFound,
    InvalidArgument,
    NotFound,
    RegistryDenied,
    RegistryUnreachable,
)
from jupyter_containers.image import platforms, reference
from jupyter_containers.image.progress import OnEvent
from jupyter_containers.options import RunOptions

if TYPE_CHECKING:
    from jupyter_containers.image.registry.access import Access
    from jupyter_containers.image.registry.pull import Pulled
    from jupyter_containers.image.registry.push import Pushed
    from jupyter_containers.image.registry.secret import Secret
    from jupyter_containers.image.store import Image, ImageStore

_CERTIFICATES = ("/etc/docker/certs.d", "/etc/containers/certs.d")

Say = Callable[[str], None]


def access(settings: Settings) -> Access:
    """What is configured about registries: settings, docker's folder, the folders of certificates."""
    from jupyter_containers.image.registry.access import Access

    docker = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "containers/certs.d"
    return Access(
        mirrors=settings.registry_mirrors,
        insecure=settings.insecure_registries,
        token_hosts=_pairs(settings.token_hosts),
        docker_config=docker / "config.json",
        certificates=(*map(Path, _CERTIFICATES), own),
    )


def _pairs(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        registry, equal, host = word.partition("=")
        if not (registry and equal and host):
            raise InvalidArgument(f"not REGISTRY=HOST: {word!r:.200}", "token hosts")
        found[registry] = (*found.get(registry, ()), host)
    return found


class Registries:
    """The registries, as the images of one store come from them and go to them.

    Args:
        store: gives the store when it is first needed.
    """

    def __init__(self, settings: Settings, store: Callable[[], ImageStore]) -> None:
        self._settings, self._store = settings, store

    @cached_property
    def access(self) -> Access:
        """What is configured."""
        return access(self._settings)

    def pull(
        self, name: str, platform: str = "", all_tags: bool = False, on_event: OnEvent | None = None
    ) -> list[Pulled]:
        """See :func:`jupyter_containers.image.registry.pull.pull`."""
        from jupyter_containers.image.registry.pull import pull

        return pull(self._store(), name, self.access, platform, all_tags, on_event)

    def push(self, name: str, all_tags: bool = False, on_event: OnEvent | None = None) -> list[Pushed]:
        """See :func:`jupyter_containers.image.registry.push.push`."""
        from jupyter_containers.image.registry.push import push

        return push(self._store(), name, self.access, all_tags, on_event)

    def login(self, server: str, username: str, password: Secret) -> str:
        """See :func:`jupyter_containers.image.registry.login.login`."""
        from jupyter_containers.image.registry.login import login

        return login(server, username, password, self.access)

    def logout(self, server: str) -> bool:
        """See :func:`jupyter_containers.image.registry.login.logout`."""
        from jupyter_containers.image.registry.login import logout

        return logout(server, self.access)

    def ensure(self, options: RunOptions, on_event: OnEvent | None = None, say: Say | None = None) -> None:
        """Have the image of *options* in the store, as ``--pull`` and ``docker run`` say.

        Args:
            say: is told docker's line about an image that is not there.

        Raises:
            ImageNotFound, RegistryDenied, RegistryUnreachable: it is nowhere to be had.
        """
        if options.image in ("host", "host:latest") or options.pull == "never":
            return
        if options.pull == "missing" and self._fits(options):
            return
        if reference_of(options.image) is None:
            return  # an id: what uses it says that there is none
        if options.pull == "missing" and say:
            say(f"Unable to find image '{reference.parse(options.image).familiar}' locally\n")
        try:
            self.pull(options.image, options.platform or "", on_event=on_event)
        except (ImageNotFound, RegistryDenied, RegistryUnreachable) as error:
            if options.pull == "missing":
                error.what = f"No such image: {options.image}, and it cannot be pulled: {error.what}"
                error.mend = f"{self._near(options.image)} {error.mend}".strip()
            raise

    def _fits(self, options: RunOptions) -> bool:
        found = self._find(options.image)
        if found is None or not options.platform:
            return found is not None
        return platforms.best(platforms.parse(options.platform), [found.platform]) is not None

    def _find(self, name: str) -> Image | None:
        try:
            return self._store().resolve(name)
        except NotFound:
            return None

    def _near(self, name: str) -> str:
        """What the store has that is spelt nearly so."""
        try:
            self._store().resolve(name)
        except NotFound as error:
            return error.mend if error.mend.startswith("Did you") else ""
        return ""


def reference_of(name: str) -> str | None:
    """*name* where it could be of an image in a registry; None where it is an id."""
    stem = name.removeprefix("sha256:")
    is_id = len(stem) == 64 and all(digit in "0123456789abcdef" for digit in stem)
    return None if is_id else name
