"""Running ``image.unpack`` (or one with more verbs) as a program, in the containers' user namespace where there is one.

One process serves many orders, one at a time; it ends with the block that opened it, or with us.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jupyter_containers
from jupyter_containers.errors import ContainersError, LayerError

Unshare = Callable[[list[str]], list[str]]


UNPACK = "jupyter_containers.image.unpack"


class Program:
    """A running program that carries out orders (``orders``). Use as a context manager.

    Args:
        unshare: makes of a command one that runs it inside the namespace; None where we are root already.
        fds: descriptors that it inherits, by the same numbers.
        module: what runs.
    """

    def __init__(self, unshare: Unshare | None = None, fds: Sequence[int] = (), module: str = UNPACK) -> None:
        argv = [sys.executable, "-P", "-m", module]
        self._process = subprocess.Popen(
            unshare(argv) if unshare else argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            cwd="/",
            text=True,
            pass_fds=fds,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def abandon(self) -> None:
        """End it at once, in the middle of an order; who waits for the answer gets an error."""
        self._process.kill()

    def call(self, order: dict[str, Any], progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """The result of *order*.

        Raises:
            ContainersError: as the program found.
        """
        self.tell(order)
        return self.answer(progress)

    def tell(self, order: dict[str, Any]) -> None:
        """Give an *order* whose result :meth:`answer` will be."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the answer tells
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def answer(self, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """The result of the last order.

        Raises:
            ContainersError: as the program found.
        """
        assert self._process.stdout
        try:
            for line in self._process.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise ContainersError.from_dict(answer["error"])
                if "result" in answer:
                    return dict(answer["result"])
                if progress:
                    progress(answer["progress"])
        except ValueError:
            pass
        raise self._died()

    def _died(self) -> LayerError:
        assert self._process.stderr
        said = self._process.stderr.read()[-2000:].strip()
        code = self._process.wait()
        return LayerError(f"the program that works on layers ended with code {code}: {said}", " ".join(sys.argv[:1]))


def _environment() -> dict[str, str]:
    """Ours, so that the same packages are found, and no byte code is written in a namespace's name."""
    home = str(Path(jupyter_containers.__file__).parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
