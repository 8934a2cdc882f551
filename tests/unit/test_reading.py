"""Whether a process waits for input is looked up in /proc; here of processes of our own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from kernel_runtime import console, reading
from kernel_runtime.reading import Place

PYTHON = "import os, select, sys, time, threading\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def waits(source: str, stdin: int, place: Place) -> bool:
    """Whether a program is found waiting within two seconds."""
    with subprocess.Popen([sys.executable, "-c", PYTHON + source], stdin=stdin) as process:
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                if reading.waits(process.pid, place):
                    return True
                time.sleep(0.05)
            return False
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("os.read(0, 1)", True),
        ("sys.stdin.readline()", True),
        ("os.readv(0, [bytearray(9)])", True),
        ("select.select([0], [], [])", True),
        ("p = select.poll(); p.register(0, select.POLLIN); p.poll()", True),
        ("p = select.epoll(); p.register(0, select.EPOLLIN); p.poll()", True),
        ("os.dup2(0, 200); os.read(200, 1)", True),
        ("threading.Thread(target=os.read, args=(0, 1)).start(); time.sleep(60)", True),
        ("os.fork() and os.wait(); os.read(0, 1)", True),
        ("time.sleep(60)", False),
        ("select.select([], [], [], 60)", False),
        ("r, w = os.pipe(); os.read(r, 1)", False),
        ("r, w = os.pipe(); p = select.poll(); p.register(r, select.POLLIN); p.register(0, 0); p.poll()", False),
        ("while True: pass", False),
    ],
)
def test_only_a_wait_for_the_pipe_is_one(pipe: tuple[int, int], source: str, found: bool) -> None:
    assert waits(source, pipe[0], Place.of(pipe[0])) == found


def test_a_terminal_is_known_by_its_number() -> None:
    master, slave = os.openpty()
    other, unused = os.openpty()
    try:
        assert waits("os.read(0, 1)", slave, Place(terminal=console.number(master)))
        assert not waits("os.read(0, 1)", slave, Place(terminal=console.number(other)))
    finally:
        for fd in (master, slave, other, unused):
            os.close(fd)


def test_what_has_ended_waits_for_nothing(pipe: tuple[int, int]) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert not reading.waits(process.pid, Place.of(pipe[0]))
