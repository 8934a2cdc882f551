"""Package managers in a cell of an ordinary Debian image: what lessons do first, on each rung, over the default network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_cells import cells
from tests.rigs import engines, roots
from tests.rigs.users import User

DEBIAN = "debian:test"


@pytest.fixture
def user(as_user: User) -> User:
    engines.warm(as_user)
    engines.load(as_user, roots.archive(roots.debian_tar(), DEBIAN, "docker"))
    return as_user


def run(user: User, *texts: str) -> list[dict[str, Any]]:
    answers = user.call(cells, *texts)
    assert all(answer["error"] == "''" for answer in answers), answers
    return [{**answer, "stdout": answer["stdout"].removesuffix("Out[0]: ")} for answer in answers]


def test_apt_installs_a_package(user: User) -> None:
    body = (
        "apt-get update && apt-get install -y hello\nhello\ndpkg -L hello | grep bin/hello\nstat -c %u /usr/bin/hello"
    )
    [answer] = run(user, f"%%container {DEBIAN} sh\n{body}")
    assert answer["stdout"].splitlines()[-3:] == ["Hello, world!", "/usr/bin/hello", "0"]


def test_a_package_that_makes_users_and_changes_owners_is_configured(user: User) -> None:
    body = "apt-get update -qq && apt-get install -y -qq openssh-client >/dev/null\nssh -V 2>&1\ndpkg -s openssh-client"
    [answer] = run(user, f"%%container {DEBIAN} sh\n{body}")
    assert "Status: install ok installed" in answer["stdout"]


def test_pip_installs_into_a_cell_and_not_into_this_machine(user: User) -> None:
    """In an environment of its own: the tests' one belongs to root, and stays read-only for others."""
    body = "python3 -m venv /tmp/it && /tmp/it/bin/pip install -q cowsay==6.1\n/tmp/it/bin/cowsay -t moo"
    [answer] = run(user, f"%%container host sh -e\n{body}")
    assert "moo" in answer["stdout"]
    assert not Path("/tmp/it").exists()  # noqa: S108 - the cell's /tmp is not this machine's


@pytest.mark.parametrize(
    ("line", "body", "says"),
    [
        (f"{DEBIAN} python3", "import sys\nprint(sys.version_info.major)", "3\n"),
        (f"{DEBIAN} bash", "a=(1 2); echo ${#a[@]}", "2\n"),
        (f"{DEBIAN} sh", "read x || true; echo [$x]", "[]\n"),
        (DEBIAN, "print(1)", "1\n"),
        (DEBIAN, "#!/bin/bash\necho $BASH_VERSION | cut -c1", "5\n"),
        ("busybox:test sh", "echo $0", "/run/cell/script\n"),
        ("busybox:test", "echo hi", "hi\n"),
    ],
)  # fmt: skip
def test_bodies_of_each_interpreter(user: User, line: str, body: str, says: str) -> None:
    [answer] = run(user, f"%%container --network none {line}\n{body}")
    assert answer["stdout"] == says


def test_removing_all_of_usr_harms_nothing(user: User) -> None:
    before = sum(1 for _ in Path("/usr").rglob("*"))
    [answer] = run(user, "%%container --network none host sh\nrm -rf /usr 2>/dev/null; echo done")
    assert answer["stdout"] == "done\n"
    assert sum(1 for _ in Path("/usr").rglob("*")) == before


@pytest.mark.parametrize("as_user", ["subids", "nosubids"], indirect=True)
def test_the_way_outside_is_made_again_when_its_program_was_killed(user: User) -> None:
    reach = "%%container host\nimport socket\nprint(socket.create_connection(('deb.debian.org', 80), 20) and 'there')"
    [answer] = run(user, reach)
    assert answer["stdout"] == "there\n"
    assert user.call(kill_what_leads_outside) == 1
    [answer] = run(user, reach)
    assert answer["stdout"] == "there\n"


def kill_what_leads_outside() -> int:
    """SIGKILL to pasta or slirp4netns of this store's launcher; how many there were. Returns when that was noticed."""
    import os
    import signal
    import time

    from jupyter_containers import from_env

    runtime = from_env().runtime._client.runtime
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"{runtime}/netns" in words and Path(words[0]).name in ("pasta", "pasta.avx2", "slirp4netns"):
            os.kill(int(path.parent.name), signal.SIGKILL)
            found += 1
    time.sleep(1)
    return found
