"""Our rows: the engine and the cell magic, called as a notebook calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Row
from tests.benchmarks.peers import BWRAP, DOCKER, FLOOR, MANY, at_once, spawn
from tests.rigs import roots
from tests.rigs.engines import BUSYBOX

CELL = "%%container cell, --network none"
NETWORKED = "%%container cell, default network"
ENGINE = "engine.containers.run, network none"


def rows(store: Path) -> list[Row]:
    """Everything of ours with a budget (SPEC §14), or the reason why it can't run."""
    os.environ["JUPYTER_CONTAINERS_HOME"] = str(store)
    try:
        engine = _engine()
        shell = _shell()
    except Exception as error:  # noqa: BLE001 the peers' figures are wanted even where ours is broken
        why = f"{type(error).__name__}: {error}"
        return [Row(name, why_not=why) for name in (CELL, NETWORKED, ENGINE)]

    def run() -> None:
        engine.containers.run(BUSYBOX, ["/bin/true"], remove=True, network="none")

    def cell() -> None:
        shell.run_cell_magic("container", f"--quiet --network none {BUSYBOX} sh", "true")

    def networked() -> None:
        shell.run_cell_magic("container", f"--quiet {BUSYBOX} sh", "true")

    many = Row(f"{MANY} × ours", lambda: at_once(run), group="many")
    many.budget = {f"{MANY} × {DOCKER}": 1 / 20}
    return [
        Row(CELL, cell, budget={FLOOR: 1.5, BWRAP: 1.0, DOCKER: 1 / 40}),
        Row(NETWORKED, networked, budget={DOCKER: 1 / 40}),
        Row(ENGINE, run, budget={FLOOR: 1.5, BWRAP: 1.0, DOCKER: 1 / 40}),
        many,
        *_programs(),
    ]


def _engine() -> Any:
    from jupyter_containers import from_env

    engine = from_env()
    repository, tag = BUSYBOX.split(":")
    engine.images.import_image(str(roots.busybox_tar()), repository=repository, tag=tag)
    engine.containers.run(BUSYBOX, ["/bin/true"], remove=True)
    return engine


def _shell() -> Any:
    """An IPython shell in this process with the extension loaded, its output thrown away."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.interactiveshell import InteractiveShell

    DisplayHook.quiet = lambda self: True  # type: ignore[method-assign]
    shell = InteractiveShell.instance(colors="nocolor")
    shell.run_line_magic("load_ext", "jupyter_containers")
    return shell


def _programs() -> list[Row]:
    """The command's start, and what loading the extension adds to a shell that is there already."""
    command = [str(Path(sys.executable).parent / "jupyter-containers"), "--version"]
    return [
        Row("jupyter-containers --version", lambda: spawn(command), group="program", budget={_LIMIT_COMMAND: 1.0}),
        Row("%load_ext jupyter_containers", _LoadExtension(), group="program", budget={_LIMIT_EXTENSION: 1.0}),
    ]


_LIMIT_COMMAND, _LIMIT_EXTENSION = "150 ms", "100 ms"


def limits() -> list[Row]:
    """Budgets in seconds, as rows to compare with."""
    return [
        Row(_LIMIT_COMMAND, group="program", seconds=[0.150]),
        Row(_LIMIT_EXTENSION, group="program", seconds=[0.1]),
    ]


class _LoadExtension:
    """Times inside a fresh Python: the import alone, IPython's own not counted."""

    _CODE = (
        "import time; from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "t = time.perf_counter(); s.run_line_magic('load_ext', 'jupyter_containers');"
        "print(time.perf_counter() - t)"
    )

    def __call__(self) -> float:
        done = subprocess.run([sys.executable, "-c", self._CODE], check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])


def end(store: Path) -> None:
    """End our launcher."""
    from jupyter_containers import from_env

    engine = from_env()
    for name in ("layers", "containers"):
        engine.runtime.delete(store / name)
    engine.runtime.quit()
