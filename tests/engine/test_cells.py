"""Cells as a notebook runs them, as every kind of user: output, errors, values, limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rigs import engines
from tests.rigs.users import User


def cells(*texts: str) -> list[dict[str, Any]]:
    """Run cells in one IPython shell: ``stdout``, ``stderr``, the error's text and the card of each."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "jupyter_containers")
    answers = []
    for text in texts:
        with capture_output() as captured:
            result = shell.run_cell(text)
        error = result.error_in_exec
        card = "\n".join(error._render_traceback_()) if hasattr(error, "_render_traceback_") else ""
        answers.append({"stdout": captured.stdout, "stderr": captured.stderr, "error": repr(error or ""), "card": card})
    return answers


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    return as_user


def test_a_cell_runs_python_of_this_machine(user: User) -> None:
    [answer] = user.call(cells, "%%container --network none\nimport os\nprint(os.getpid(), os.listdir('/home'))")
    assert answer["stdout"].startswith("1 []\n"), answer


def test_removing_usr_harms_nothing(user: User) -> None:
    from pathlib import Path

    body = "%%container --network none host sh\nrm -rf /usr/share/doc /usr/games /opt 2>/dev/null; echo done"
    before = sorted(path.name for path in Path("/usr/share").iterdir())
    [answer] = user.call(cells, body)
    assert "done" in answer["stdout"]
    assert sorted(path.name for path in Path("/usr/share").iterdir()) == before


def test_read_does_not_eat_the_body(user: User) -> None:
    [answer] = user.call(cells, "%%container --network none busybox:test sh\nread x || true\necho [$x]")
    assert answer["stdout"].startswith("[]\n")


def test_an_exit_code_is_a_card(user: User) -> None:
    [answer] = user.call(cells, "%%container --network none busybox:test sh\nexit 3")
    assert "exit code 3" in answer["card"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--memmory 1m busybox:test", "Did you mean --memory"),
        ("no-such-image", "No such image: no-such-image"),
        ("--network none --cpus 9999 busybox:test", "range of CPUs is from 0.01 to "),
        ("--network none --cpus 0.001 busybox:test", "range of CPUs is from 0.01 to "),
        ("--network none --sysctl net/../kernel.x=1 busybox:test", "sysctl 'net/../kernel.x=1' is not allowed"),
        ("--network none busybox:test nosuch", "executable file not found"),
        ("--network none busybox:test /etc/passwd", "permission"),
        ("--network none --mount type=bind,src=/no/such,dst=/x busybox:test", "/no/such"),
    ],
)
def test_bad_input_is_one_clear_line(user: User, line: str, says: str) -> None:
    [answer] = user.call(cells, f"%%container {line}\ntrue")
    assert says.lower() in answer["card"].lower(), answer


def test_values_go_in_and_come_back(user: User) -> None:
    answers = user.call(
        cells, "n = [3, 1]", "%%container --network none --in n --out m\nm = {'sorted': sorted(n)}", "print(m)"
    )
    assert answers[-1]["stdout"] == "{'sorted': [1, 3]}\n", answers


def test_a_timeout_ends_the_cell(user: User) -> None:
    [answer] = user.call(cells, "%%container --network none --timeout 0.5 busybox:test sh\nsleep 60")
    assert "timeout" in answer["card"]


def test_out_of_memory_is_told(user: User) -> None:
    """With a cgroup; without one the limit is one of the address space, and a notice says so."""
    [answer] = user.call(cells, "%%container --network none -m 64m\nx = [bytearray(1 << 20) for _ in range(200)]")
    assert "out of memory" in answer["card"] or "MemoryError" in answer["stderr"], answer


def test_many_short_programs_end_as_they_should(user: User) -> None:
    """An end may come together with the start: it must be heard all the same."""
    assert user.call(many_execs) == [0] * 30


def many_execs() -> list[int]:
    from jupyter_containers import from_env

    container = from_env().containers.run("busybox:test", ["sleep", "100"], detach=True, network="none")
    assert not isinstance(container, bytes)
    try:
        return [container.exec_run(["true"])[0] for _ in range(30)]
    finally:
        container.remove(force=True)


def test_without_a_way_outside_containers_run_and_it_is_said_once(user: User) -> None:
    warnings, network, answers = user.call(run_without_outside)
    assert warnings == ["no network to the outside: no pasta. Install it."]
    assert network == "none"
    assert [answer["stderr"] for answer in answers] == ["[no network to the outside: no pasta. Install it.]\n", ""]


def run_without_outside() -> tuple[list[str], str, list[dict[str, Any]]]:
    from jupyter_containers import from_env
    from jupyter_containers.run.runtime import Runtime

    missing = {"outside": False, "why": "no pasta", "mend": "Install it."}
    Runtime.outside = property(lambda _: missing)  # type: ignore[assignment,method-assign]
    container = from_env().containers.run("busybox:test", ["sleep", "100"], detach=True)
    assert not isinstance(container, bytes)
    try:
        network = container.attrs["HostConfig"]["NetworkMode"]
    finally:
        container.remove(force=True)
    cell = "%%container --rm busybox:test sh\ntrue"
    return container.warnings, network, cells(cell, cell)


def test_a_strict_umask_of_the_kernel_is_not_the_containers(user: User) -> None:
    assert user.call(run_under_umask) == "drwxr-xr-x -rw-r--r-- root\n"


def run_under_umask() -> str:
    import os

    from jupyter_containers import from_env

    before = os.umask(0o077)
    try:
        script = (
            "cd / && set -- $(ls -ld /) $(ls -l /etc/hosts) && echo $1 ${10} $(cat /etc/passwd | cut -d: -f1 | head -1)"
        )
        engine = from_env()
        output = engine.containers.run("busybox:test", ["sh", "-c", script], remove=True, network="none", user="1000")
    finally:
        os.umask(before)
    assert isinstance(output, bytes)
    return output.decode()
