"""A person as a container's standard input: asked when the program really waits for a line, never before.

The container reads a pipe. When nothing has been printed for a moment and the pipe is empty, its monitor is asked
whether a process of it waits for that pipe (or for the terminal that it feeds); if so the person is asked for a line.

Not here: how a person is asked (Jupyter's input box, a prompt: the front ends give a function).
"""

from __future__ import annotations

import array
import fcntl
import os
import selectors
import signal
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from jupyter_containers.errors import Conflict
from jupyter_containers.run.runtime import Connection, mapped

Ask = Callable[[], str]  # a line without its end; EOFError for no more

WAKE = "wake"
_PATIENCE = 0.05  # seconds without output before the monitor is asked; longer while it says no
_MOST_PATIENCE = 0.4


class Asking:
    """The pipe, and whether it is time to ask."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._pending = ask, b""
        self._looking = self.is_due = False
        self._pause = _PATIENCE
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    @property
    def patience(self) -> float | None:
        """Seconds to wait for output before :meth:`look`; None where there is no need to."""
        return None if self._looking or self.is_due or self._writer < 0 else self._pause

    def started(self) -> None:
        """The container has its end of the pipe."""
        if self.reader >= 0:
            os.close(self.reader)
        self.reader = -1

    def look(self, connection: Connection) -> None:
        """Ask the monitor whether the container waits, where it has read all that it was given."""
        if self._pending:
            self._write()
        elif not _waiting_bytes(self._writer):
            with suppress(Conflict):  # it has just ended
                mapped(connection.tell)({"op": "reads"})
                self._looking = True

    def told(self, waits: bool) -> None:
        """The monitor's answer."""
        self._looking, self.is_due = False, waits
        self._pause = min(self._pause * 2, _MOST_PATIENCE)

    def ask(self) -> None:
        """Ask for a line and give it to the container; the end of input is its end of input."""
        try:
            line = self._ask()
        except EOFError:
            self.close()
        else:
            self._pending = line.encode() + b"\n"
            self._write()
        finally:
            self.is_due, self._pause = False, _PATIENCE

    def close(self) -> None:
        """Close the pipe."""
        self.started()
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self._writer, self._pending) :]
        except BlockingIOError:
            return  # later, when it has read some
        except BrokenPipeError:
            self.close()


class Meanwhile:
    """Goes on with *step* in a thread while a block of code waits for a person; ends the wait where *ended*.

    The block's own KeyboardInterrupt is the user's; the one by which the thread ends the wait stays inside.
    """

    def __init__(self, selector: selectors.BaseSelector, step: Callable[[], None], ended: Callable[[], bool]) -> None:
        self._selector, self._step, self._ended = selector, step, ended
        self._thread = threading.Thread(target=self._go_on, name="jupyter-containers-meanwhile", daemon=True)
        self._wake, self._waker = os.pipe()
        self._stopped = False
        self._asker = threading.current_thread()

    def __enter__(self) -> Meanwhile:
        """Start the thread."""
        self._selector.register(self._wake, selectors.EVENT_READ, WAKE)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> bool:
        """End the thread; whether the block was only interrupted because there is nobody left to answer."""
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._stopped = True
        while self._waker >= 0:
            try:
                os.write(self._waker, b"x")
                self._thread.join()
                self._close()
            except KeyboardInterrupt:
                interrupted = True
        if interrupted and not self._ended() and kind is None:
            raise KeyboardInterrupt
        return interrupted and self._ended()

    def _close(self) -> None:
        with suppress(KeyError):
            self._selector.unregister(self._wake)
        os.close(self._wake)
        os.close(self._waker)
        self._waker = -1

    def _go_on(self) -> None:
        while not self._stopped and not self._ended():
            self._step()
        if not self._stopped and self._asker is threading.main_thread():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _waiting_bytes(pipe: int) -> int:
    """How much of what was written to a pipe is not read yet (FIONREAD, pipe(7))."""
    number = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, number)
    return number[0]
