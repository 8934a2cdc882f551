"""``python -m jupyter_containers``: the same program as the script ``jupyter-containers``."""

from __future__ import annotations

import sys

from jupyter_containers.cli import main

if __name__ == "__main__":
    sys.exit(main())
