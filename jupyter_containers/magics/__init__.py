"""The IPython edge: ``%%container``, ``%container`` and ``%%dockerfile``. A magic parses and calls; it decides nothing.

:class:`ContainerMagics` reads its defaults from traitlets, so that ``ipython_config.py`` can set them::

    c.ContainerMagics.default_image = "debian:bookworm"
    c.ContainerMagics.minimum_isolation = "rootless"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class, no_var_expand
from traitlets import Int, List, Unicode

from jupyter_containers.config import Settings, default_home
from jupyter_containers.errors import ContainersError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.engine import Engine


_REGISTRIES = ("registry_mirrors", "insecure_registries", "token_hosts")  # from the environment where not given


@magics_class
class ContainerMagics(Magics):
    """``%%container``, ``%container``, ``%%dockerfile``."""

    home = Unicode("", help="The store; default: $JUPYTER_CONTAINERS_HOME or ~/.local/share/jupyter-containers.").tag(
        config=True
    )
    default_image = Unicode("host", help="The image of a cell that names none.").tag(config=True)
    minimum_isolation = Unicode("", help="Refuse a weaker rung: root, rootless or rootless-single.").tag(config=True)
    pids_limit = Int(2048, help="Processes per container where --pids-limit is not given.").tag(config=True)

    registry_mirrors = List(Unicode(), help="URLs of mirrors of docker.io, asked first.").tag(config=True)
    insecure_registries = List(
        Unicode(), help="Registries that may be spoken to without a trusted certificate: HOST, HOST:PORT or a network."
    ).tag(config=True)
    token_hosts = List(
        Unicode(), help="REGISTRY=HOST: a token server on another host that may have the registry's password."
    ).tag(config=True)

    @cached_property
    def engine(self) -> Engine:
        """The engine of this kernel, made at the first need."""
        from jupyter_containers.engine import Engine

        home = Path(self.home).expanduser() if self.home else default_home()
        settings = Settings(
            home=home,
            default_image=self.default_image,
            minimum_isolation=self.minimum_isolation,
            pids_limit=self.pids_limit,
        )
        given: dict[str, Any] = {name: tuple(getattr(self, name)) for name in _REGISTRIES if getattr(self, name)}
        return Engine(replace(settings, **given))

    @property
    def namespace(self) -> dict[str, Any]:
        """The notebook's variables."""
        assert self.shell is not None
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    @property
    def ask(self) -> Callable[[], str] | None:
        """Asks for a line of input; None where nobody can answer (``jupyter execute``, a front end without a box)."""
        kernel = getattr(self.shell, "kernel", None)
        if kernel is not None and not kernel._allow_stdin:
            return None
        return input  # the kernel's own, which goes to Jupyter's input box

    @no_var_expand
    @line_cell_magic
    def container(self, line: str, cell: str | None = None) -> Any:
        """Run the cell in a container (``%%container [OPTIONS] [IMAGE] [INTERPRETER…]``), or a verb: ``%container ps``.

        ``%container --help`` lists the verbs, ``%%container --help`` the options of a cell.
        """
        from jupyter_containers.magics import cell as cells
        from jupyter_containers.magics import verbs

        try:
            if cell is None:
                return verbs.run(self, line)
            return cells.run(self, line, cell)
        except ContainersError as error:
            raise show(error) from None

    @no_var_expand
    @cell_magic
    def dockerfile(self, line: str, cell: str) -> Any:
        """Build an image: the cell is the Dockerfile (``%%dockerfile -t NAME [OPTIONS] [CONTEXT]``).

        ``%%dockerfile --help`` lists the options. The image is the cell's value.
        """
        from jupyter_containers.magics import dockerfile

        try:
            return dockerfile.run(self, line, cell)
        except ContainersError as error:
            raise show(error) from None


def show(error: ContainersError) -> ContainersError:
    """The error with a card instead of a traceback."""
    from jupyter_containers.magics.card import with_card

    return with_card(error)


def load(shell: InteractiveShell) -> None:
    """``%load_ext jupyter_containers``: register, and wake the launcher so that the first cell need not wait."""
    magics = ContainerMagics(shell)
    shell.register_magics(magics)
    Thread(target=_wake, args=(magics,), name="jupyter-containers-wake", daemon=True).start()


def _wake(magics: ContainerMagics) -> None:
    try:
        magics.engine.containers  # noqa: B018 - imports, folders
        magics.engine.runtime.rung  # noqa: B018 - starts the launcher
    except ContainersError:
        return  # the first cell will say it


__all__ = ["ContainerMagics", "load", "show"]
