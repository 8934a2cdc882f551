"""Running ``image.unpack`` (or one with more verbs) as a program, in the containers' user namespace where there is one.

One process serves many orders, one at a time; it ends with the block that opened it, or with us. Orders go through a
socket, so that descriptors can come along.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
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
        module: what runs.
    """

    def __init__(self, unshare: Unshare | None = None, module: str = UNPACK) -> None:
        argv = [sys.executable, "-P", "-m", module]
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                unshare(argv) if unshare else argv,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                cwd="/",
                text=True,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self._orders.close()
        for pipe in (self._process.stdout, self._process.stderr):
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

    def stream(
        self, order: dict[str, Any], fds: Mapping[str, int], size: int = 1 << 20
    ) -> Generator[bytes, None, dict[str, Any]]:
        """What *order* writes to its descriptor ``output``, in pieces of at most *size* bytes; returns its result.

        Raises:
            ContainersError: as the program found. Whoever stops reading ends the program.
        """
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            try:
                self.tell(order, {**fds, "output": writing})
            finally:
                os.close(writing)
            try:
                while data := pipe.read(size):
                    yield data
            except BaseException:
                self.abandon()
                raise
        return self.answer()

    def tell(self, order: dict[str, Any], fds: Mapping[str, int] | None = None) -> None:
        """Give an *order* whose result :meth:`answer` will be; *fds* are descriptors that it needs, by name."""
        fds = fds or {}
        data = json.dumps({**order, "descriptors": list(fds)}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer tells
            sent = socket.send_fds(self._orders, [data], list(fds.values()))
            self._orders.sendall(data[sent:])

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
