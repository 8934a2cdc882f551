"""``wait`` for containers that end at the very moment somebody begins to wait."""

from __future__ import annotations

from tests.rigs import engines
from tests.rigs.users import User


def _codes() -> list[int]:
    from jupyter_containers import from_env

    engine, codes = from_env(), []
    for number in range(40):
        container = engine.containers.create(engines.BUSYBOX, ["sh", "-c", f"exit {number % 3}"])
        container.start()
        codes.append(int(container.wait()["StatusCode"]) - number % 3)
        container.remove()
    return codes


def test_a_container_that_just_ended_has_its_own_exit_code(as_user: User) -> None:
    engines.add_busybox(as_user)
    assert as_user.call(_codes) == [0] * 40
