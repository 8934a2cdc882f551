"""runc's verbs on a bundle, for whoever wants the runtime alone: each takes the store, the options and the words."""

from __future__ import annotations

import json
import os
import signal
import sys

from kernel_runtime import state
from kernel_runtime.client import Client
from kernel_runtime.errors import NotRunning, SpecError
from kernel_runtime.spec import load


def _bundle(store: str, container_id: str) -> str:
    return os.path.join(store, "containers", container_id)


def _words(words: list[str], count: int, usage: str) -> list[str]:
    if len(words) < count:
        raise SpecError("read command line", " ".join(words), "a word is missing", f"Usage: {usage}.")
    return words


def run(store: str, options: dict[str, str], words: list[str]) -> int:
    """Run a bundle in the foreground; the exit code is the container's."""
    container_id = _words(words, 1, "run [--bundle DIR] ID")[0]
    bundle = os.path.abspath(options.get("bundle") or os.getcwd())
    client = Client(store, rung=options.get("rung", ""))
    config = load(os.path.join(bundle, "config.json"))
    terminal = config.process.terminal
    connection, _ = client.start(
        bundle, (0, 1, 2), id=container_id, owned=True, network=config.network, terminal=terminal
    )
    with connection:
        while True:
            try:
                return connection.wait().exit_code
            except KeyboardInterrupt:
                connection.tell({"op": "signal", "signal": signal.SIGINT})


def show_state(store: str, _options: dict[str, str], words: list[str]) -> int:
    """Print the state of a container, as the OCI runtime-spec has it."""
    found = state.read(_bundle(store, _words(words, 1, "state ID")[0]))
    if found is None:
        raise NotRunning("read state", words[0], "no such container")
    json.dump(found, sys.stdout, indent=2)
    return 0


def show_list(store: str, _options: dict[str, str], _words: list[str]) -> int:
    """Print the containers of the store."""
    folder = os.path.join(store, "containers")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        found = state.read(os.path.join(folder, name)) or {"status": "created", "pid": 0}
        sys.stdout.write(f"{name[:24]:<24}  {found.get('pid', 0):>8}  {found['status']}\n")
    return 0


def kill(store: str, _options: dict[str, str], words: list[str]) -> int:
    """Send a signal (default SIGTERM) by number or name."""
    container_id, *rest = _words(words, 1, "kill ID [SIGNAL]")
    name = rest[0] if rest else "TERM"
    number = int(name) if name.isdigit() else signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    with Client(store).connect(container_id) as connection:
        connection.ask({"op": "signal", "signal": int(number)})
    return 0


def execute(store: str, _options: dict[str, str], words: list[str]) -> int:
    """Run one more command in a running container."""
    container_id, *args = _words(words, 2, "exec ID CMD [ARG...]")
    bundle = _bundle(store, container_id)
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        process = {**json.load(file)["process"], "args": args, "terminal": False}
    with Client(store).connect(container_id) as connection:
        connection.ask({"op": "exec", "process": process}, (0, 1, 2))
        return connection.wait().exit_code


def delete(store: str, _options: dict[str, str], words: list[str]) -> int:
    """Remove a stopped container."""
    Client(store).delete(_bundle(store, _words(words, 1, "delete ID")[0]))
    return 0


def sweep(store: str, _options: dict[str, str], _words: list[str]) -> int:
    """End and remove what killed monitors left behind; prints the ids."""
    for name in Client(store).sweep():
        sys.stdout.write(f"{name}\n")
    return 0


VERBS = {
    "run": run,
    "state": show_state,
    "list": show_list,
    "kill": kill,
    "exec": execute,
    "delete": delete,
    "sweep": sweep,
}
