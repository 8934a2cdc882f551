"""Stages side by side: each is carried out once, in a thread of its own, when somebody first wants its state.

What waits for a stage waits in its own thread, so there are as many threads as stages. The first failure ends
everything; those who are stopped because of it pass it on. Not here: what a stage does (``stage``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from jupyter_containers.build.events import Cancelled
from jupyter_containers.build.state import State

K = TypeVar("K")
V = TypeVar("V")


class Stages:
    """The stages of one build. Use as a context manager, which waits for all threads.

    Args:
        count: how many there are in the file.
        carry_out: does one, by its index.
        cancel: ends what the others do.
    """

    def __init__(self, count: int, carry_out: Callable[[int], State], cancel: Callable[[], None]) -> None:
        self._count, self._carry_out, self._cancel = count, carry_out, cancel
        self._lock = threading.Lock()
        self._futures: dict[int, Future[State]] = {}

    def __enter__(self) -> Stages:
        self._threads = ThreadPoolExecutor(self._count, "stage")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind:
            self._cancel()
        self._threads.shutdown()

    def begin(self, index: int) -> Future[State]:
        """Let a stage begin, unless it has."""
        with self._lock:
            if index not in self._futures:
                self._futures[index] = self._threads.submit(self._guarded, index)
            return self._futures[index]

    def state(self, index: int) -> State:
        """The state of a stage once it is done.

        Raises:
            ContainersError: the one that ended the build, in whichever stage.
        """
        try:
            return self.begin(index).result()
        except Cancelled:
            if (first := self._first_failure()) is not None:
                raise first from None
            raise

    def needed(self, index: int) -> State:
        """As :meth:`state`, for another stage, which is not at fault when there is none.

        Raises:
            Cancelled: it failed.
        """
        try:
            return self.begin(index).result()
        except BaseException as error:
            raise Cancelled("canceled") from error

    def _guarded(self, index: int) -> State:
        try:
            return self._carry_out(index)
        except BaseException:
            self._cancel()  # the others need not go on
            raise

    def _first_failure(self) -> BaseException | None:
        with self._lock:
            errors = [one.exception() for one in self._futures.values() if one.done()]
        return next((error for error in errors if error and not isinstance(error, Cancelled)), None)


class Once(Generic[K, V]):
    """Values by key, each made once, several at a time; who comes second waits for the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[K, Future[V]] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of *key*; an error of *make* is everybody's."""
        with self._lock:
            future = self._futures.get(key)
            mine = future is None
            if future is None:
                future = self._futures[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:  # noqa: BLE001 - raised below, here and wherever somebody waits
                future.set_exception(error)
        return future.result()
