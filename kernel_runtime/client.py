"""What callers use: start a launcher where none runs, start containers, talk to their monitors.

Never forks, unshares or joins a namespace in the calling process: a Jupyter kernel has threads. Starting the launcher
is a ``subprocess``. Everything here may be called from any thread.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kernel_runtime import kinds, state, waiting
from kernel_runtime.conversation import Connection, to_fault
from kernel_runtime.errors import NotRunning, ProtocolError, RuntimeFault
from kernel_runtime.protocol import Channel, Message, connect, door_path

_HERE = os.path.dirname(os.path.abspath(__file__))
_START_TIMEOUT = 60.0


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Changes with the code of this package: a launcher of other code is asked to leave."""
    stamps = [
        os.stat(os.path.join(_HERE, name)).st_mtime_ns for name in sorted(os.listdir(_HERE)) if name.endswith(".py")
    ]
    return f"{len(stamps)}-{max(stamps)}-{sys.version_info[:2]}"


@dataclass
class Knock:
    """A conversation with a container that waits for its order, which must follow at once, or :meth:`close`.

    Attributes:
        id: of one that is ready, whose id and folder are given; ``""`` of one that is prepared for any order.
        kind: the name of its kind.
    """

    channel: Channel
    id: str = ""
    kind: str = ""

    def close(self) -> None:
        """No order will follow."""
        self.channel.close()


class Client:
    """The runtime of one store, for one user.

    Args:
        store: the folder of the store; ``containers/`` lies in it.
        site: where pyroute2 can be imported from; empty for none (then no default network).
        minimum: refuse a weaker rung than this one.
        rung: use this rung, for tests; empty for the best one.
    """

    def __init__(self, store: str, site: str = "", minimum: str = "", rung: str = "") -> None:
        self.store, self._site, self._minimum, self._rung = os.path.abspath(store), site, minimum, rung
        os.makedirs(self.store, mode=0o700, exist_ok=True)
        self.runtime = state.runtime_folder(self.store)
        self._socket = os.path.join(self.runtime, "launcher.sock")

    # -- launcher ----------------------------------------------------------------------------------------------

    def request(self, message: Message, fds: tuple[int, ...] = ()) -> Connection:
        """Send a request to the launcher, started first where none runs (or one of other code)."""
        message = {**message, "code": fingerprint()}
        for _ in range(5):
            try:
                channel = connect(self._socket)
            except (FileNotFoundError, ConnectionRefusedError):
                self._start_launcher()
                continue
            try:
                channel.send(message, fds)
            except OSError:
                channel.close()
                continue
            return Connection(channel)
        raise ProtocolError("reach", "the launcher", "it ends as soon as it is started", f"See {self._log_path()}.")

    def info(self) -> dict[str, Any]:
        """Rung, cgroup and network of the launcher."""
        return self._ask_launcher({"op": "info"})

    def sweep(self) -> list[str]:
        """End and remove what killed monitors left behind; the ids of the containers concerned."""
        return list(self._ask_launcher({"op": "sweep"})["recovered"])

    def delete(self, bundle: str) -> None:
        """Remove a folder of the store whose files may belong to mapped ids."""
        self._ask_launcher({"op": "delete", "path": bundle})

    def open_root(self, bundle: str) -> int:
        """A descriptor of a container's merged root (see :mod:`kernel_runtime.merged`); the caller closes it.

        Raises:
            RuntimeFault: it can't be opened.
        """
        for _ in range(3):
            with self.request({"op": "root", "path": bundle}) as connection:
                event = connection.next_event()
                fds = connection.take_fds()
                if fds:
                    return fds[0]
                if event["event"] not in ("outdated", "gone"):
                    break
        raise ProtocolError("open root", bundle, "no descriptor came", f"See {self._log_path()}.")

    def rest(self) -> None:
        """Have the launcher keep no container ready until one is asked for again."""
        self._ask_launcher({"op": "rest"})

    def quit(self) -> None:
        """Ask a running launcher to leave; containers go on."""
        try:
            channel = connect(self._socket)
        except OSError:
            return
        with Connection(channel) as connection:
            connection.tell({"op": "quit"})
            connection.next_event(10)

    def _ask_launcher(self, message: Message) -> Message:
        for _ in range(3):
            with self.request(message) as connection:
                event = connection.next_event()
                if event["event"] not in ("outdated", "gone"):
                    return event
        raise ProtocolError("reach", "the launcher", "no answer", f"See {self._log_path()}.")

    def _start_launcher(self) -> None:
        """Start one, unless another process is just doing it.

        The lock is also the launcher's own until it listens: when we are killed meanwhile, nobody starts a second one.
        """
        lock = os.open(state.launcher_lock(self.runtime), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                connect(self._socket).close()
            except OSError:
                self._spawn(lock)
        finally:
            os.close(lock)

    def _spawn(self, lock: int) -> None:
        program = os.path.realpath(sys.executable)
        words = [program, "-I", "-S", os.path.join(_HERE, "__main__.py"), "launcher"]
        words += [f"--store={self.store}", f"--runtime={self.runtime}", f"--code={fingerprint()}"]
        words += [f"--site={self._site}", f"--minimum={self._minimum}", f"--rung={self._rung}", f"--lock={lock}"]
        answer = b""
        for prefix in ([_delegated_scope()] if _delegated_scope() else []) + [[]]:
            with open(self._log_path(), "ab") as log:
                process = subprocess.Popen(
                    [*prefix, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            assert process.stdout is not None
            answer = process.stdout.readline()
            process.stdout.close()
            process.wait()
            if answer:
                break
        self._check_answer(answer)

    def _check_answer(self, answer: bytes) -> None:
        if not answer:
            raise ProtocolError("start", "the launcher", "it ended at once", f"See {self._log_path()}.")
        message = json.loads(answer)
        if "fault" in message:
            raise RuntimeFault.from_dict(message["fault"])

    def _log_path(self) -> str:
        return os.path.join(self.runtime, "launcher.log")

    # -- containers --------------------------------------------------------------------------------------------

    def start(
        self,
        bundle: str,
        stdio: tuple[int, int, int] | None,
        knock: Knock | None = None,
        **options: Any,
    ) -> tuple[Connection, Message]:
        """Start the container of *bundle*; the connection and its ``started`` event.

        Args:
            stdio: descriptors for the container's 0, 1, 2; ``None`` for none (``log`` should be set then).
            knock: what :meth:`knock` gave; closed here.
            options: fields of :class:`kernel_runtime.orders.Request`; and ``config``, the decoded config.json, which is
                read from the bundle else; and ``split``, its two parts where it is of a kind.

        Raises:
            RuntimeFault: it could not be started, with ``exit_code``; nothing is left behind.
        """
        split: kinds.Split | None = options.pop("split", None)
        message = {"op": "start", "bundle": bundle, "id": os.path.basename(bundle), **options}
        if split:
            message["kind"] = split.name
        if knock and knock.id and not (split and split.name == knock.kind):
            self._decline(knock)
            knock = None
        for _ in range(3):
            connection = self._order(message, stdio or (), knock, split)
            knock = None
            try:
                event = connection.next_event()
            except BaseException:
                connection.close()
                raise
            if event["event"] == "started":
                return connection, event
            connection.close()
            if event["event"] == "exit":
                raise to_fault(event)
            if event["event"] == "gone" and not _is_unbegun(bundle):
                raise ProtocolError(
                    "start", os.path.basename(bundle)[:12], "its monitor ended", f"See {self._log_path()}."
                )
        raise ProtocolError("start", bundle, "the launcher gave no answer", f"See {self._log_path()}.")

    def knock(self, network: str, kind: str = "") -> Knock | None:
        """Wake a container that waits for an order, which must follow at once; ``None`` where none waits.

        It takes half a millisecond to wake: time in which the order can be written.

        Args:
            kind: take one that is ready, if there is one of this kind.
        """
        if kind and (container_id := waiting.claim(self.store, kind)):
            with suppress(OSError):  # it has just been killed: the folder serves all the same
                return Knock(connect(state.monitor_socket(self.runtime, container_id)), container_id, kind)
            return Knock(Channel(socket.socket()), container_id, kind)
        try:
            return Knock(connect(door_path(self.runtime, network)))
        except OSError:
            return None

    def _decline(self, knock: Knock) -> None:
        """What was made ready is of another kind: let it end, and keep the folder."""
        with Connection(knock.channel) as connection, suppress(RuntimeFault):
            connection.tell({"op": "decline", "code": fingerprint()})
            while connection.next_event(_START_TIMEOUT)["event"] != "gone":
                pass

    def _order(
        self, message: Message, stdio: tuple[int, ...], knock: Knock | None, split: kinds.Split | None
    ) -> Connection:
        """Give an order to a container that waits for one, else to the launcher."""
        knock = knock or self.knock(str(message.get("network", "none")))
        if knock is None:
            return self.request(message, stdio)
        if knock.id and split:
            told = {name: value for name, value in message.items() if name != "config"}
            order = {**told, "own": split.own, "code": fingerprint()}
        else:
            order = {**message, "code": fingerprint()}
        try:
            knock.channel.send(order, stdio)
        except OSError:
            knock.close()
            return self.request(message, stdio)
        return Connection(knock.channel)

    def connect(self, container_id: str) -> Connection:
        """Talk to the monitor of a running container.

        Raises:
            NotRunning: it does not run.
        """
        try:
            return Connection(connect(state.monitor_socket(self.runtime, container_id)))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning("reach", container_id[:12], "the container is not running") from None


def _is_unbegun(bundle: str) -> bool:
    """Whether no process has run the program of *bundle*, so that another may."""
    return os.path.isdir(bundle) and not (state.read(bundle) or waiting.has_begun(bundle))


def _delegated_scope() -> list[str]:
    """The words that start a program in a cgroup of its own under the user's systemd; empty where there is none."""
    if os.geteuid() == 0:
        return []
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if not os.path.exists(os.path.join(folder, "systemd", "private")) or not os.path.exists("/usr/bin/systemd-run"):
        return []
    return ["/usr/bin/systemd-run", "--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
