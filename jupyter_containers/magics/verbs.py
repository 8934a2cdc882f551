"""``%container VERB …``: the same parser and verbs as ``jupyter containers`` in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers import line as lines

if TYPE_CHECKING:
    from jupyter_containers.magics import ContainerMagics


def run(magics: ContainerMagics, line: str) -> Any:
    """Run one verb; a table or a document comes back as an object that the notebook shows."""
    from jupyter_containers.cli import run_verb

    words = lines.words(line, magics.namespace, str(Path.cwd()))
    return run_verb(words or ["--help"], magics.engine, ask=magics.ask)
