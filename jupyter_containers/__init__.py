"""Containers as a native object of the Jupyter notebook.

``%load_ext jupyter_containers`` gives ``%%container`` and ``%container``; :func:`from_env` gives the same engine to
Python, with docker-py's object names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"
__all__ = ["ContainerResult", "Engine", "__version__", "from_env", "load_ipython_extension"]

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.engine import Engine, from_env
    from jupyter_containers.result import ContainerResult

_WHERE = {"Engine": "engine", "from_env": "engine", "ContainerResult": "result"}


def __getattr__(name: str) -> Any:
    """Public names, imported at their first use: a command line that only prints its version needs none of them."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext jupyter_containers``."""
    from jupyter_containers.magics import load

    load(shell)
