"""``%%dockerfile``: the cell is the Dockerfile; flags, words and looks are those of ``%container build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers import line as lines

if TYPE_CHECKING:
    from jupyter_containers.magics import ContainerMagics


def run(magics: ContainerMagics, line: str, body: str) -> Any:
    """The image that the cell builds. Variables are substituted in the line, never in the Dockerfile."""
    from jupyter_containers.cli import run_dockerfile

    line, body = lines.continued(line, body)
    words = lines.words(line, magics.namespace, str(Path.cwd()))
    return run_dockerfile(words, body, magics.engine)
