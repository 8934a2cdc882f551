"""The one door: an :class:`Engine` with docker-py's object names over the store and the runtime of this machine.

Synchronous, and free of IPython, traitlets and Tornado: those live at the edges. State is files, so any number of
engines, in kernels, servers and terminals, see the same containers.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from jupyter_containers.config import Settings
from jupyter_containers.run.records import Records
from jupyter_containers.run.runtime import Runtime

if TYPE_CHECKING:
    from jupyter_containers.engine.builds import Builds
    from jupyter_containers.engine.containers import Containers
    from jupyter_containers.engine.images import Images

__all__ = ["Engine", "from_env"]


class Engine:
    """Images and containers of one store.

    Args:
        settings: where the store lies and what is the default; from the environment where not given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.runtime = Runtime(self.settings)
        self.records = Records(self.settings.home)

    @cached_property
    def images(self) -> Images:
        """The images of the store, the ``host`` image among them."""
        from jupyter_containers.engine.images import Images

        return Images(self.settings.home, self.runtime, self.records, self.settings)

    @cached_property
    def containers(self) -> Containers:
        """The containers of the store."""
        from jupyter_containers.engine.containers import Containers

        self.records.prepare()
        return Containers(self.settings, self.records, self.runtime, self.images)

    @cached_property
    def builds(self) -> Builds:
        """Builds of images, and their cache."""
        return self.images.builds

    def login(self, username: str, password: str, registry: str = "") -> dict[str, str]:
        """As docker-py's ``login``: ask the registry, then keep the credentials where docker does.

        Raises:
            RegistryDenied: the registry refuses them.
        """
        from jupyter_containers.image.registry.secret import Secret

        secret, password = Secret(password), ""  # a traceback with variables must not show it
        self.images.registries.login(registry, username, secret)
        return {"Status": "Login Succeeded"}

    def logout(self, registry: str = "") -> bool:
        """Forget the credentials of a registry; whether there were any."""
        return self.images.registries.logout(registry)

    def version(self) -> dict[str, Any]:
        """As docker-py's ``version()``."""
        from jupyter_containers.engine import about

        return about.version()

    def info(self) -> dict[str, Any]:
        """As docker-py's ``info()``, with ``Isolation`` added."""
        from jupyter_containers.engine import about

        return about.info(self)

    def df(self) -> dict[str, Any]:
        """What the store takes on disk, as docker-py's ``df()``."""
        from jupyter_containers.engine import about

        return about.df(self)

    def doctor(self) -> dict[str, Any]:
        """The rungs of isolation, each tried; the one in use; cgroup and network, with the mends."""
        from jupyter_containers.engine import about

        return about.doctor(self)

    def close(self) -> None:
        """Nothing is held open; for symmetry with docker-py."""


def from_env(**settings: Any) -> Engine:
    """The engine of this user, as the environment says (``JUPYTER_CONTAINERS_HOME``); settings override."""
    return Engine(Settings(**settings))
