"""The user's own terminal while a container uses it: its descriptors, its raw mode, its size, its signals.

As docker: with ``-t`` the terminal is raw and every key goes to the container; without it signals are passed on.
What docker lets hang is ended: a second Ctrl-C (or SIGTERM) is followed by stronger signals, and so is the loss of the
terminal. A container that we are only attached to is left then, as docker does. See termios(3), signal(7).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from .keys import CTRL_P_CTRL_Q, DetachKeys, Typing

if TYPE_CHECKING:
    from jupyter_containers.run.runtime import Connection

_ENDING = (signal.SIGINT, signal.SIGTERM)
_GRACE = 3.0  # seconds
_PATIENCE = 3  # Ctrl-C's, as docker
_PASSED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH")


class Foreground:
    """Holds the terminal for one container; a context manager that puts everything back.

    Args:
        interactive: standard input goes to the container (``-i``).
        tty: the container has a terminal of its own (``-t``).
        owns: the program ends with us (``run``, ``exec``); otherwise it only has us as a guest (``attach``, ``start``).
        proxies: signals go to the program (``--sig-proxy``).
    """

    def __init__(self, interactive: bool, tty: bool, owns: bool = True, proxies: bool = True) -> None:
        self._interactive, self._tty, self._owns, self._proxies = interactive, tty, owns, proxies
        self._connection: Connection | None = None
        self._seen: list[int] = []
        self._waiting = 0
        self._undo = contextlib.ExitStack()
        self._null = -1
        self._typing: Typing | None = None

    @property
    def stdio(self) -> tuple[int, int, int]:
        """The descriptors for the container."""
        if self._typing:
            return (self._typing.reader, 1, 2)
        return (0 if self._interactive else self._null, 1, 2)

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns of the terminal; None where there is none."""
        try:
            columns, rows = os.get_terminal_size(1)
        except OSError:
            return None
        return rows, columns

    def __enter__(self) -> Foreground:
        """Open what is needed. The terminal is changed when the container runs: making it can take a while."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._undo.callback(os.close, self._null)
        if self._interactive and (self._tty or not self._owns):
            self._typing = Typing(0, DetachKeys(CTRL_P_CTRL_Q if self._tty else b""))
            self._undo.callback(self._typing.close)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the terminal and the signals back."""
        self._undo.close()
        if self._typing and self._typing.detached:
            sys.stderr.write("read escape sequence\n")  # docker's words

    def ready(self) -> None:
        """The program is about to run, the container's first or one that ``exec`` asks for: terminal and signals are
        for it from now on. One that comes before it runs waits for it.
        """
        for name in _PASSED_ON if self._proxies else ("SIGWINCH",):
            number = getattr(signal, name)
            self._undo.callback(signal.signal, number, signal.signal(number, self._on_signal))
        self._raw()

    def follow(self, connection: Connection) -> int:
        """Stay with the program until it ends or the user leaves it: its exit code, or 0."""
        self.connected(connection)
        return self._typing.follow(connection) if self._typing else connection.wait().exit_code

    def connected(self, connection: Connection) -> None:
        """The program runs: tell it the size of the window, and the signal that has waited for it."""
        self._connection = connection
        self._resize()
        if self._waiting:
            self._on_signal(self._waiting, None)

    def _raw(self) -> None:
        if not (self._tty and self._interactive and os.isatty(0)):
            return
        import termios
        import tty

        before = termios.tcgetattr(0)
        self._undo.callback(termios.tcsetattr, 0, termios.TCSADRAIN, before)
        tty.setraw(0, termios.TCSADRAIN)

    def _resize(self) -> None:
        told = None
        while self._tty and (size := self.size) and size != told:  # again where it changed between look and tell
            self._tell({"op": "resize", "rows": size[0], "columns": size[1]})
            told = size

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGWINCH:
            self._resize()
            return
        if self._connection is None:
            if self._waiting:  # it does not come to run
                raise KeyboardInterrupt
            self._waiting = number
            return
        if not self._owns:
            self._as_guest(number)
            return
        if number == signal.SIGHUP:  # the terminal is gone, nobody can end the container by hand any more
            self._tell({"op": "stop", "signal": number, "grace": _GRACE})
            return
        again = number in _ENDING and number in self._seen
        self._seen.append(number)
        self._tell({"op": "interrupt"} if again else {"op": "signal", "signal": number})

    def _as_guest(self, number: int) -> None:
        """Pass it on; who has lost the terminal, or has tried three times to end, leaves."""
        self._seen += [number] if number in _ENDING else []
        if number == signal.SIGHUP or len(self._seen) == _PATIENCE:
            raise SystemExit(128 + number)
        self._tell({"op": "signal", "signal": number})

    def _tell(self, message: dict[str, Any]) -> None:
        from jupyter_containers.errors import ContainersError
        from jupyter_containers.run.runtime import mapped

        if self._connection:
            with contextlib.suppress(OSError, ContainersError):  # it has just ended
                mapped(self._connection.tell)(message)
