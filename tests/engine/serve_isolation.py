"""An engine in a process of its own, driven by lines of JSON: the other end of :class:`rig_isolation.Box`.

Run as ``serve_isolation.py`` by that user, with the user's environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import sys
import termios
import time
import traceback
import tty
from collections.abc import Callable
from typing import Any

from jupyter_containers import from_env
from jupyter_containers.engine import Engine
from jupyter_containers.errors import ContainersError
from jupyter_containers.options import RunOptions

Message = dict[str, Any]


def import_image(engine: Engine, asked: Message) -> Message:
    """``import`` of a root tar."""
    return {"id": engine.images.import_image(asked["path"], asked["name"]).id}


def run(engine: Engine, asked: Message) -> Message:
    """A container in the foreground."""
    done = engine.containers.run_foreground(RunOptions.from_dict(asked["options"]))
    return {"code": done.exit_code, "out": done.stdout, "err": done.stderr, "id": done.container_id}


def rest(engine: Engine, _asked: Message) -> Message:
    """Keep none ready, and wait until none is."""
    engine.runtime.rest()
    waiting, end = engine.settings.home / "waiting", time.monotonic() + 5
    while os.listdir(waiting) and time.monotonic() < end:
        time.sleep(0.002)
    return {}


def ready(engine: Engine, asked: Message) -> Message:
    """Run once, wait until the next of its kind is ready; the ids of all that are."""
    rest(engine, asked)
    run(engine, asked)
    waiting, end, ids = engine.settings.home / "waiting", time.monotonic() + 5, []
    while not ids and time.monotonic() < end:
        time.sleep(0.005)
        ids = [name.rpartition("-")[2] for name in os.listdir(waiting) if not name.startswith(".")]
    return {"ids": ids}


def start(engine: Engine, asked: Message) -> Message:
    """A container in the background."""
    container = engine.containers.create(RunOptions.from_dict(asked["options"]))
    container.start()
    return {"id": container.id}


def execute(engine: Engine, asked: Message) -> Message:
    """``exec``."""
    code, output = engine.containers.get(asked["id"]).exec_run(asked["command"], **asked["options"])
    return {"code": code, "out": output.decode(errors="replace")}


def bundle(engine: Engine, asked: Message) -> Message:
    """Make a container, change its config.json as *asked*, run it; what an attacker who writes specs can do."""
    container = engine.containers.create(RunOptions.from_dict(asked["options"]))
    path = container.record.bundle / "config.json"
    config = json.loads(path.read_text())
    without = asked["changes"].pop("without", [])
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] not in without]
    for place, value in asked["changes"].items():
        *parents, last = place.split(".")
        here = config
        for name in parents:
            here = here[name]
        here[last] = value
    path.write_text(json.dumps(config))
    try:
        container.start()
        code = int(container.wait()["StatusCode"])
        return {"code": code, "out": b"".join([container.logs()]).decode(errors="replace")}
    finally:
        container.remove(force=True)


def terminal(engine: Engine, asked: Message) -> Message:
    """Run on a terminal that is the controlling one of its caller; the output, and bytes pushed into the terminal."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        try:
            engine.containers.run_with_stdio(RunOptions.from_dict(asked["options"]), (slave, writer, writer))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(pid, 0)
    waiting = struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, b"    "))[0]
    os.close(master)
    os.close(slave)
    return {"found": json.loads(text), "waiting": waiting}


def logs(engine: Engine, asked: Message) -> Message:
    """The output so far."""
    return {"text": b"".join([engine.containers.get(asked["id"]).logs()]).decode(errors="replace")}


def end(engine: Engine, asked: Message) -> Message:
    """Kill and remove."""
    engine.containers.get(asked["id"]).remove(force=True)
    return {}


def info(engine: Engine, _asked: Message) -> Message:
    """The launcher's report."""
    return engine.runtime.info()


def left(engine: Engine, _asked: Message) -> Message:
    """What is in the store's folder of containers, once what is being removed is gone."""
    folder, end = engine.settings.home / "containers", time.monotonic() + 5
    while (names := os.listdir(folder) if folder.exists() else []) and time.monotonic() < end:
        time.sleep(0.005)
    return {"names": names}


OPERATIONS: dict[str, Callable[[Engine, Message], Message]] = {
    "import": import_image, "run": run, "start": start, "exec": execute, "bundle": bundle, "logs": logs, "end": end,
    "info": info, "terminal": terminal, "left": left, "ready": ready, "rest": rest,
}  # fmt: skip


def main() -> None:
    """Answer until the input ends."""
    engine = from_env()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = OPERATIONS[asked["op"]](engine, asked)
        except ContainersError as error:
            code = getattr(error, "exit_code", 125)
            answer = {"code": code, "kind": type(error).__name__, "text": str(error)}
            if asked["op"] not in ("run", "exec", "bundle"):
                answer = {"crash": f"{type(error).__name__}: {error}"}
        except Exception:  # noqa: BLE001 - told to the test
            answer = {"crash": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.runtime.quit()  # also where the tests were killed


if __name__ == "__main__":
    main()
