"""The frame of a program that carries out orders: JSON documents in, lines of JSON out.

Orders come as the one argument, or one per line of standard input, a socket: descriptors that an order needs come
along, and ``descriptors`` names the fields that they are (``root``, ``inputs.0.root``). Answers are
``{"progress": bytes}`` now and then, at last ``{"result": {...}}`` or ``{"error": {...}}``
(``errors.ContainersError.to_dict``). With orders from standard input the program ends when that ends, at once: it never
outlives who asked. Not here: the verbs (``unpack``, ``build.worker``), the other side (``program``).
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_containers.errors import ContainersError, InvalidArgument, LayerError

Order = dict[str, object]
_CHUNK = 1 << 16
_MOST_DESCRIPTORS = 64  # of one order
Verbs = Mapping[str, Callable[[Order], Order]]


def serve(verbs: Verbs, argv: list[str], name: str, usage: str) -> int:
    """Carry out the order in *argv*, or those that come in, each by the verb that it names; the exit code.

    Args:
        name, usage: of the program, for orders that are none.
    """
    os.umask(0)
    if len(argv) > 1:
        return _carry_out(verbs, argv[1], [], name, usage)
    orders = _incoming_orders()
    while True:
        _carry_out(verbs, *orders.get(), name, usage)


def tell_progress(count: int) -> None:
    """Say that *count* bytes are done."""
    _answer("progress", count)


def number(order: Order, key: str) -> int:
    """A field that must be there and be a whole number, a descriptor for example."""
    value = order[key]
    if not isinstance(value, int):
        raise InvalidArgument(f"not an order: {key} is no number")
    return value


def texts(value: object) -> list[str]:
    """A field that is a list of texts, empty where it is absent."""
    return [str(item) for item in value] if isinstance(value, list) else []


def _carry_out(verbs: Verbs, text: str, fds: list[int], name: str, usage: str) -> int:
    try:
        order = json.loads(text)
        verb = verbs[order["verb"]]
        for field, fd in zip(order.get("descriptors", ()), fds, strict=True):
            _put(order, field, fd)
    except (LookupError, TypeError, ValueError):
        return _not_an_order("it is no JSON object with a verb", name, usage)
    try:
        return _answer("result", _done(verb, order, fds))
    except KeyError as error:
        return _not_an_order(f"it lacks {error}", name, usage)
    except ContainersError as error:
        return _answer("error", error.to_dict()) or 1
    except OSError as error:
        return _answer("error", LayerError(str(error), str(order["verb"])).to_dict()) or 1


def _put(order: Any, field: str, fd: int) -> None:
    """Let *field* of an order, a path through lists and objects, be a descriptor."""
    *path, last = field.split(".")
    for part in path:
        order = order[int(part)] if isinstance(order, list) else order[part]
    order[last] = fd


def _done(verb: Callable[[Order], Order], order: Order, fds: list[int]) -> Order:
    """The result of an order, whose descriptors are closed then: who reads from them sees the end."""
    try:
        return verb(order)
    finally:
        for fd in fds:
            os.close(fd)


def _not_an_order(why: str, name: str, usage: str) -> int:
    return _answer("error", InvalidArgument(f"not an order: {why}", name, usage).to_dict()) or 2


def _answer(kind: str, value: object) -> int:
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()
    return 0


def _incoming_orders() -> queue.SimpleQueue[tuple[str, list[int]]]:
    """Orders as they come, with descriptors. The end of standard input ends the program, also amid an order."""
    import socket  # not for an order in argv

    orders: queue.SimpleQueue[tuple[str, list[int]]] = queue.SimpleQueue()

    def read() -> None:
        waiting, fds = b"", []
        stdin = socket.socket(fileno=0)
        while True:
            data, more, _, _ = socket.recv_fds(stdin, _CHUNK, _MOST_DESCRIPTORS)
            if not data:
                os._exit(3)
            fds += more
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:  # who sends descriptors waits for the answer before the next order
                orders.put((line.decode(), fds))
                fds = []

    threading.Thread(target=read, name="orders", daemon=True).start()
    return orders
