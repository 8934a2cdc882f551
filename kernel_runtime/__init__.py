"""An OCI runtime written in Python: a ``config.json`` in, an isolated process out.

Usable alone (``python -m kernel_runtime --help``) and free of third-party modules, so that the launcher can start as
``python -I -S``. It knows nothing of images, notebooks or Docker: those live in :mod:`jupyter_containers`.
"""

__version__ = "0.1.0"
