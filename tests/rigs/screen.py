"""A terminal with somebody in front of it: a program started on it, what it shows, keys, window sizes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time
from typing import Any

from tests.rigs.users import User

_SECONDS = 20.0


class Screen:
    """A program of *user* on a terminal of 24 rows and 80 columns; a context manager that ends it."""

    def __init__(self, user: User, *command: str) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        self.resize(24, 80)
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        os.fchown(slave, user.uid, user.gid)
        words = ["setsid", "--ctty", "--wait", *command]
        self.process = user.popen(words, **streams)
        os.close(slave)

    def __enter__(self) -> Screen:
        """The screen itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the program."""
        os.close(self._master)  # its session gets SIGHUP
        with contextlib.suppress(Exception):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size: the foreground process group gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str, seconds: float = _SECONDS) -> str:
        """Wait for *text*; what was shown up to its end since the last call.

        Raises:
            AssertionError: it is not shown in time, or the program has ended.
        """
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(end - time.monotonic()), f"{text!r} is not in {self.shown!r}"
        seen, _, rest = self.shown.partition(text)
        self.shown = rest
        return seen + text

    def ended(self, seconds: float = _SECONDS) -> int:
        """The program's exit code; everything that it still shows is in :attr:`shown`."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            continue
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 4096)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
