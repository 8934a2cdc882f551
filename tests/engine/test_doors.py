"""What comes to the door of a prepared container: nonsense, callers that leave, callers of other code. It stays of use."""

from __future__ import annotations

import pytest

from tests.rigs import engines
from tests.rigs.users import User

NONSENSE = [
    b"",
    b"\n",
    b"[]\n",
    b"7\n",
    b"not JSON\n",
    b"{}\n",
    b'{"code": "old"}\n',
    b'{"op": "start", "code": "old"}',
]


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


@pytest.mark.parametrize("said", NONSENSE, ids=repr)
def test_nonsense_at_the_door_harms_nobody(user: User, said: bytes) -> None:
    assert user.call(say_and_run, said.decode(), False) == "fine\n"


def test_an_order_that_makes_no_sense_is_told_and_the_launcher_stays(user: User) -> None:
    for order in ("{}", '{"bundle": "/nowhere", "id": "x", "network": "moon"}', '{"bundle": "/nowhere", "id": "x"}'):
        assert user.call(say_and_run, order, True) == "fine\n"


def say_and_run(said: str, with_our_code: bool) -> str:
    """Say something at the door of network ``none``, leave at once, then run a container of the same launcher's."""
    import json

    from jupyter_containers import from_env
    from kernel_runtime.client import fingerprint
    from kernel_runtime.protocol import connect, door_path

    engine = from_env()
    before = engine.runtime.info()["pid"]
    with connect(door_path(engine.runtime._client.runtime, "none")) as caller:
        if with_our_code:
            caller.send({**json.loads(said), "op": "start", "code": fingerprint()})
            answer = caller.receive()
            assert answer and ("fault" in answer), answer
        else:
            caller.socket.sendall(said.encode())
    output = engine.containers.run("busybox:test", ["echo", "fine"], remove=True, network="none")
    assert isinstance(output, bytes)
    assert '"code": "old"' in said or engine.runtime.info()["pid"] == before
    return output.decode()


def test_a_waiting_process_that_was_killed_fails_nobody(user: User) -> None:
    assert user.call(kill_and_run) == [0] * 4


def kill_and_run() -> list[int]:
    """Kill the first processes that wait, which are the children of the launcher's children; then run containers."""
    import os
    import signal
    from pathlib import Path

    from jupyter_containers import from_env
    from jupyter_containers.options import RunOptions

    engine = from_env()
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    monitors = [pid for pid, parent in parents.items() if parent == engine.runtime.info()["pid"]]
    for pid in [pid for pid, parent in parents.items() if parent in monitors]:
        os.kill(pid, signal.SIGKILL)
    networks = ("none", "none", "host", "default")  # at each door some wait again afterwards, as before
    asked = [RunOptions(image="busybox:test", command=("true",), rm=True, network=network) for network in networks]
    return [engine.containers.run_foreground(one).exit_code for one in asked]
