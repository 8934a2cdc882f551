"""Trying again: how often, how long, and when not.

Not here: what is worth another try; who raises :class:`~jupyter_containers.image.registry.transport.Failed` says so.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from jupyter_containers.errors import RegistryError
from jupyter_containers.image.registry.access import Timing
from jupyter_containers.image.registry.transport import Failed

T = TypeVar("T")


class Retries:
    """The tries of one piece of work: bounded in number, and in the time spent waiting between them.

    Args:
        timing: the bounds.
        cancelled: ends a wait, and the tries, when set.
    """

    def __init__(self, timing: Timing, cancelled: threading.Event) -> None:
        self._timing, self._cancelled = timing, cancelled
        self._in_row = self._in_all = 0
        self._waited = 0.0

    def progressed(self) -> None:
        """Something was gained: the count of tries in vain begins again (that of all tries does not)."""
        self._in_row = 0

    def failed(self, failure: Failed) -> None:
        """Wait for the next try.

        Raises:
            RegistryError: there is none: it would not help, or the bounds are reached.
        """
        self._in_row += 1
        self._in_all += 1
        timing = self._timing
        wait = self._backoff() if failure.wait is None else failure.wait
        if not failure.again or self._cancelled.is_set():
            raise failure.error
        if self._in_row >= timing.attempts or self._in_all >= timing.ceiling:
            raise _spent(failure.error, f"{self._in_all} tries")
        if wait > timing.longest or self._waited + wait > timing.total:
            raise _spent(failure.error, f"it asks to wait {wait:.0f} s more")
        self._waited += wait
        if self._cancelled.wait(wait):
            raise failure.error

    def _backoff(self) -> float:
        longest: float = self._timing.first * 2 ** (self._in_row - 1)
        return min(longest, self._timing.longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def trying(work: Callable[[], T], timing: Timing, cancelled: threading.Event) -> T:
    """The result of *work*, which is done again where that makes sense.

    Raises:
        RegistryError: why the last try failed.
    """
    retries = Retries(timing, cancelled)
    while True:
        try:
            return work()
        except Failed as failure:
            last = failure
        retries.failed(last)


def _spent(error: RegistryError, how: str) -> RegistryError:
    error.what = f"{error.what} ({how})"
    error.args = (error.what, *error.args[1:])
    return error
