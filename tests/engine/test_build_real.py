"""Dockerfiles as people write them, in the manner of the official images and of docker-stacks: built on each rung, then run.

They lie in ``dockerfiles/real/``, each with its context; what a Dockerfile alone can't hold is made here.
"""

from __future__ import annotations

import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_builds import Workshop
from tests.rigs import roots
from tests.rigs.users import User

FOLDER = Path(__file__).resolve().parent / "dockerfiles/real"
DEBIAN = "debian:bookworm"


@dataclass(frozen=True)
class Program:
    """A command in the built image and all that it prints.

    Attributes:
        words: the command; none for the image's own.
        single: what it prints where a container has one id, if that is something else.
        options: of ``run``.
    """

    words: tuple[str, ...]
    prints: str
    single: str = ""
    options: tuple[tuple[str, str], ...] = ()


def says(prints: str, *words: str, single: str = "", **options: str) -> Program:
    return Program(words, prints, single, tuple(options.items()))


CONF = "part one: hello\npart two: hello\n3 and $NAME stays\n3 words\n[app]\nname = world\nno $NAME here\n"
REAL = {
    "python-app": [
        says("hello, world, from 10001\n"),
        says("hello, you, from 10001\n", "you"),
        says("absent\n", "-c", "test -e /usr/share/python-wheels || echo absent", entrypoint="sh"),
    ],
    "nginx": [
        says("listening, version 1.25.3\nup\n", "echo", "up"),
        says("<h1>It works</h1>\n", "cat", "/usr/share/web/html/index.html", entrypoint=""),
        says("101 101 644\n", "stat", "-c", "%u %g %a", "/usr/share/web/html/index.html", single="0 0 644\n", entrypoint=""),
        says("web web 700\n", "stat", "-c", "%U %G %a", "/var/cache/web/client_temp", single="root root 700\n", entrypoint=""),
    ],
    "redis": [
        says("serving as redis in /data\nHello, world!\n", "redis-server", user="redis"),
        says("purged\n", "sh", "-c", "command -v hello || echo purged"),
        says("Hello, world!\n", "cat", "/usr/local/share/built"),
    ],
    "postgres": [
        says("locale charmap=\"UTF-8\", data /var/lib/postgresql/data\n"),
        says("1777\n3777\n", "stat", "-Lc", "%a", "/var/lib/postgresql", "/var/run/postgresql", entrypoint=""),
        says("postgres\n", "id", "-un", user="999", entrypoint=""),
    ],
    "node": [
        says('production\nconsole.log("app")\nmodule left-pad\n'),
        says("/usr/src/app\nbundle.js\nnode_modules\n", "sh", "-c", "pwd; ls"),
        says("1000\n", "id", "-u"),
    ],
    "c-program": [says("hello, nobody, from 65534\n"), says("hello, you, from 65534\n", "you")],
    "base-notebook": [
        says("jupyter lab as 1000:100 in /home/jovyan\n"),
        says("written\n", "bash", "-c", "touch work/x /opt/conda/x && echo written"),
        says("healthy\n", "/etc/jupyter/docker_healthcheck.py"),
        says("6775\n6775\n", "stat", "-c", "%a", "/home/jovyan/work", "/opt/conda/bin"),
    ],
    "heredocs": [says(CONF), says("640\n640\n", "stat", "-c", "%a", "/home/app/conf/config.ini", "/home/app/conf/raw.txt", entrypoint="")],
    "apt-cache": [
        says("Hello, world!\n"),
        says("0\n", "sh", "-c", "ls -A /var/lib/apt/lists /var/cache/apt/archives 2>/dev/null | grep deb | wc -l"),
        says("1\n", "grep", "-c", "^hello_", "/archives"),
    ],
    "rootfs": [says("installed numpy\ninstalled pandas\nthe application\n"), says("/usr/src/app\n", "pwd")],
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    found = Workshop(as_user, "real")
    found.user.call(load, roots.archive(roots.debian_tar(), DEBIAN, "docker"))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", REAL)
def test_it_is_built_and_runs(shop: Workshop, name: str) -> None:
    context = shop.context(f"real-{name}", f"cp -r {FOLDER / name}/. .")
    _add_what_is_made(context, name, shop)
    built = shop.must_build(context, network="default", tags=[f"real-{name}:1"], timeout=500)
    assert built.cached == []
    for program in REAL[name]:
        wanted = program.single if program.single and shop.user.kind == "nosubids" else program.prints
        found = shop.run(f"real-{name}:1", *program.words, **dict(program.options))
        assert found == wanted, program.words
    again = shop.must_build(context, network="default")
    assert (again.id, again.made) == (built.id, [])


def test_packages_come_from_the_cache_the_second_time(shop: Workshop) -> None:
    """What apt downloaded stays in its cache mount: without a network it is installed again."""
    context = shop.context("real-apt", f"cp -r {FOLDER / 'apt-cache'}/. .")
    text = (context / "Dockerfile").read_text()
    shop.must_build(context, text=text, network="default", timeout=300)
    offline = text.replace("apt-get update && apt-get", "apt-get")
    done = shop.must_build(context, text=offline, network="none", timeout=300)
    assert shop.run(done.id) == "Hello, world!\n"


def _add_what_is_made(context: Path, name: str, shop: Workshop) -> None:
    """A wheel; a root archive."""
    if name == "python-app":
        (context / "wheels").mkdir()
        (context / "wheels/greeter-1.0-py3-none-any.whl").write_bytes(_wheel())
    if name == "rootfs":
        (context / "rootfs.tar.xz").write_bytes(lzma.compress(roots.busybox_tar().read_bytes(), preset=0))


def _wheel() -> bytes:
    program = "import os, sys\n\ndef main():\n    print(f'hello, {sys.argv[1]}, from {os.getuid()}')\n"
    info = "greeter-1.0.dist-info"
    files = {
        "greeter.py": program,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngreet = greeter:main\n",
        f"{info}/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return out.getvalue()


def load(archive: str) -> None:
    """Put the Debian image into the store under its name, whatever the archive calls it."""
    from jupyter_containers import from_env

    engine: Any = from_env()
    for image in engine.images.load(archive):
        engine.images.tag(image.id, DEBIAN)
