"""``%%container -i`` in a real kernel: what waits for input asks in Jupyter's input box, and only then."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.rigs import engines
from tests.rigs.users import User

_SECONDS = 60.0


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


def kernel_run(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Execute cells in one kernel: ``text`` printed, ``error``, how often it ``asked``.

    A cell is ``{"code", "answers"}``; an answer may be ``"<stop>"``, the stop button. Without ``answers`` the front end
    allows no stdin; ``<wait>`` never answers, ``<wait later>`` once that word is printed.
    """
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(
        startup_timeout=60, extra_arguments=["--InteractiveShellApp.extensions=jupyter_containers"]
    )
    try:
        return [_execute(manager, client, cell["code"], cell.get("answers")) for cell in cells]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _execute(manager: Any, client: Any, code: str, answers: list[str] | None) -> dict[str, Any]:
    from queue import Empty

    message = client.execute(code, allow_stdin=answers is not None)
    found: dict[str, Any] = {"text": "", "error": "", "asked": [], "seconds": time.monotonic()}
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        try:
            client.get_stdin_msg(timeout=0.02)
            found["asked"].append(found["text"])
            answer = (answers or [""])[len(found["asked"]) - 1 :][:1]
            if answer == ["<stop>"]:
                manager.interrupt_kernel()
            elif answer and not answer[0].startswith("<wait"):
                client.input(answer[0])
        except Empty:
            pass
        if (answers or [""])[0] == "<wait later>" and "later" in found["text"]:
            client.input("ada")
            answers = []
        try:
            news = client.get_iopub_msg(timeout=0.02)
        except Empty:
            continue
        if news["parent_header"].get("msg_id") != message:
            continue
        content = news["content"]
        if news["msg_type"] == "stream":
            found["text"] += content["text"]
        elif news["msg_type"] == "error":
            found["error"] += "\n".join(content["traceback"])
        elif news["msg_type"] == "status" and content["execution_state"] == "idle":
            found["seconds"] = time.monotonic() - found["seconds"]
            return found
    return {**found, "error": f"the cell did not end: {found}"}


LINE = "%%container --network none -i busybox:test sh"
SH = LINE + '\nprintf "name? "; read a; printf "and yours? "; read b; echo "$a $b"'
PYTHON = "%%container --network none -i\nname = input('name? ')\nprint('hello', name)"
FRAMEWORK = """%%container --network none -i
import select, sys
poll = select.poll(); poll.register(0, select.POLLIN); poll.poll()
print("poll", sys.stdin.readline().strip())
select.select([0], [], []); print("select", sys.stdin.readline().strip())
epoll = select.epoll(); epoll.register(0, select.EPOLLIN); epoll.poll()
print("epoll", sys.stdin.readline().strip())"""
CHILD = LINE + "\nsleep 1000 &\ncat /dev/zero > /dev/null &\n(read x; echo got $x); kill %1 %2"
NEVER = LINE + "\nsleep 0.5; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i"
TERMINAL = "%%container --network none -it busybox:test sh\nread -p 'name? ' a; [ -t 0 ] && echo tty $a"
BUSY = LINE + "\n(sleep 0.3; echo late; sleep 0.2; echo later) & read x; wait; echo got $x"
TIMEOUT = "%%container --network none -i --timeout 1 busybox:test sh\nread x; echo got $x"
AFTER = "%%container --network none busybox:test sh\nread x || echo empty"


def test_what_waits_for_input_asks_in_the_input_box(user: User, leak_watch: None) -> None:
    sh, python, polls, child, never, terminal, after = user.call(
        kernel_run,
        [
            {"code": SH, "answers": ["ada", "bob"]},
            {"code": PYTHON, "answers": ["é ü"]},
            {"code": FRAMEWORK, "answers": ["1", "2", "3"]},
            {"code": CHILD, "answers": ["x"]},
            {"code": NEVER, "answers": ["unasked"]},
            {"code": TERMINAL, "answers": ["ada"]},
            {"code": AFTER, "answers": ["unasked"]},
        ],
    )
    assert (sh["text"], sh["asked"]) == ("name? and yours? ada bob\n", ["name? ", "name? and yours? "])
    assert (python["text"], python["asked"]) == ("name? hello é ü\n", ["name? "])
    assert polls["text"] == "poll 1\nselect 2\nepoll 3\n", polls
    assert (child["text"], len(child["asked"])) == ("got x\n", 1), child
    assert (never["text"], never["asked"]) == ("20000\n", []), never
    assert "tty ada" in terminal["text"], terminal
    assert terminal["asked"] == ["name? "]
    assert (after["text"], after["asked"]) == ("empty\n", [])
    assert not any(one["error"] for one in (sh, python, polls, child, never, terminal, after))


def test_while_it_waits_the_cell_goes_on_and_can_be_stopped(user: User, leak_watch: None) -> None:
    stopped, timeout, fine = user.call(
        kernel_run,
        [
            {"code": LINE + "\nread x; echo got $x", "answers": ["<stop>"]},
            {"code": TIMEOUT, "answers": ["<wait>"]},
            {"code": SH, "answers": ["a", "b"]},
        ],
    )
    assert "you stopped it" in stopped["error"], stopped
    assert "--timeout" in timeout["error"] and timeout["seconds"] < 20, timeout
    assert fine["text"].endswith("a b\n"), fine


def test_output_comes_while_the_box_is_open(user: User) -> None:
    [busy] = user.call(kernel_run, [{"code": BUSY, "answers": ["<wait later>"]}])
    assert busy["text"] == "late\nlater\ngot ada\n", busy


def test_without_an_input_box_it_is_one_clear_error(user: User, leak_watch: None) -> None:
    refused, verb = user.call(
        kernel_run,
        [{"code": SH}, {"code": "%container run --rm --network none -it busybox:test sh -c 'cat; echo end'"}],
    )
    assert "this front end can't ask for input" in refused["error"]
    assert len(refused["error"].splitlines()) == 3
    assert refused["text"] == ""
    assert "end" in verb["text"] and not verb["error"], verb


def test_a_verb_asks_too(user: User) -> None:
    line = "%container run --rm --network none -it busybox:test sh -c 'read x; echo got $x'"
    [verb] = user.call(kernel_run, [{"code": line, "answers": ["ada"]}])
    assert "got ada" in verb["text"], verb
