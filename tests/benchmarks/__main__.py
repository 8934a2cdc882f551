"""All benchmarks (``./dev bench``): every kind of user in turn, ours and peers interleaved, budgets at the end."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import builds, images, ours, peers, pulls
from tests.benchmarks.measure import REST, Row, measure, table, verdicts
from tests.rigs import dockerd, reaper, registry, roots, users

_GROUPS = (
    ("start", peers.FLOOR, 1.0),
    ("many", f"{peers.MANY} × {peers.FLOOR}", 0.05),
    ("program", "", 0.3),
    ("build", "", 0.15),
    ("Debian", "load, Debian", 0.1),
    ("20,000 small files", "load, 20,000 small files", 0.1),
    ("memory", "", 0.05),
    *((pulls.group(image), f"{pulls.PODMAN}, {image}", 0.1) for image in pulls.IMAGES),
)


def main(words: Sequence[str]) -> int:
    """Run the benchmarks; 0 when every budget that could be compared holds, else 1."""
    parser = argparse.ArgumentParser(prog="dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="runs of each quick row (default 60)")
    parser.add_argument("--rest", type=float, default=REST, help="seconds before each run (default %(default)s)")
    parser.add_argument("--users", nargs="*", choices=users.KINDS, default=list(users.fitting_kinds()))
    parser.add_argument("--only", nargs="*", default=[], help="these groups: " + ", ".join(row[0] for row in _GROUPS))
    parser.add_argument("--json", type=Path, help="write medians there too")
    parser.add_argument("--as", dest="kind", help=argparse.SUPPRESS)
    parser.add_argument("--docker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--fast-docker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--registry", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fast", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.kind:
        return _one_user(options)
    reaper.become_init()
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nbb-", dir="/var/tmp")))
        fast = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nbb-", dir=images.fast_folder(folder))))
        for path in (folder, fast):
            path.chmod(0o755)
        options.docker, options.fast_docker = _docker(stack, folder.parent), _docker(stack, fast.parent)
        options.registry = _registry(stack)
        roots.busybox_root()
        images.archives()
        return max([_start_as(kind, folder, fast, options) for kind in options.users], default=0)


def _docker(stack: ExitStack, where: Path) -> str:
    """The socket of a dockerd with the busybox image, its data in *where*; or why there is none."""
    try:
        socket = stack.enter_context(dockerd.running(where))
    except dockerd.DockerMissing as error:
        return str(error)
    dockerd.docker(socket, "import", str(roots.busybox_tar()), "busybox:test")
    return str(socket)


def _registry(stack: ExitStack) -> str:
    """The host of a registry with the images to pull; or why there is none."""
    try:
        host = stack.enter_context(registry.running()).host
        pulls.fill(host)
    except Exception as error:  # noqa: BLE001 the other rows are wanted all the same
        return f"no registry: {error}"
    return host


def _start_as(kind: str, folder: Path, fast: Path, options: argparse.Namespace) -> int:
    user = users.make(kind, folder / kind)
    own = fast / kind
    own.mkdir()
    os.chown(own, user.uid, user.gid)
    sockets = (options.docker, options.fast_docker) if user.uid == 0 else ("dockerd is root's",) * 2
    command = [sys.executable, "-m", "tests.benchmarks", "--as", kind, "--rounds", str(options.rounds)]
    command += ["--rest", str(options.rest), "--registry", options.registry, "--only", *options.only]
    command += ["--folder", str(user.base), "--fast", str(own), "--docker", sockets[0], "--fast-docker", sockets[1]]
    command += ["--json", str(options.json.absolute())] if options.json and user.uid == os.getuid() else []
    where = {"XDG_CACHE_HOME": str(roots.busybox_root().parents[1])}
    with user.popen(command, cwd=users.CHECKOUT, env={**user.environment, **where}) as process:
        return process.wait()


def _one_user(options: argparse.Namespace) -> int:
    root, folder = roots.busybox_root(), options.folder
    socket, fast_socket = (
        Path(path) if path.startswith("/") else path for path in (options.docker, options.fast_docker)
    )
    rows = [*peers.starts(root, folder, socket), *peers.many(root, socket), *ours.rows(folder / "store")]
    rows += images.rows(images.archives(), options.fast, fast_socket)
    rows += pulls.rows(options.registry, folder) + builds.rows(folder, socket)
    rows = [row for row in rows if row.group in options.only or not options.only]
    print(f"\n== {options.kind} (uid {os.getuid()})", flush=True)
    for group, floor, share in _GROUPS:
        chosen = [row for row in rows if row.group == group]
        if not chosen:
            continue
        measure(chosen, max(2, round(options.rounds * share)), 2 if group == "start" else 0, options.rest)
        print(table(chosen, floor), end="\n\n", flush=True)
    if options.only or any(row.seconds for row in rows if row.name == ours.ENGINE):
        ours.end(folder / "store")
    images.end(options.fast)
    found = verdicts([*rows, *ours.limits(), *builds.limits()])
    for holds, text in found:
        print(f"{'holds ' if holds else 'BROKEN'} {text}")
    _write(options.json, rows)
    return 0 if all(holds for holds, _ in found) else 1


def _write(path: Path | None, rows: Sequence[Row]) -> None:
    if path:
        path.write_text(json.dumps({row.name: row.median for row in rows if row.seconds}, indent=1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
