"""A small engine in memory with docker-py's names, for tests of the verbs. Not a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyter_containers.errors import Conflict, ImageNotFound, NotFound, StepFailed
from jupyter_containers.options import RunOptions
from jupyter_containers.result import ContainerResult

NEVER = "0001-01-01T00:00:00Z"
IMAGE_ID = "sha256:" + "731e808cdac2" * 5 + "abcd"
CACHE = [
    {"ID": "sha256:" + "ab" * 32, "Type": "regular", "Description": "RUN make", "InUse": True, "Shared": True, "Size": 3000, "LastUsed": 0.0},
    {"ID": "0f" * 16 + "-0", "Type": "exec.cachemount", "Description": "RUN", "InUse": False, "Shared": False, "Size": 5000, "LastUsed": 0.0},
]  # fmt: skip


class FakeContainer:
    """One container; ``calls`` says what was asked of it."""

    def __init__(self, owner: FakeContainers, options: RunOptions, number: int) -> None:
        self.owner, self.options, self.calls = owner, options, owner.calls
        self.id, self.name = f"{number:x}" * 64, options.name or f"name{number}"
        self.status, self.exit_code = "created", 0
        self.record = SimpleNamespace(bundle=owner.folder)
        self.warnings: list[str] = []

    @property
    def attrs(self) -> dict[str, Any]:
        running = self.status == "running"
        started = NEVER if self.status == "created" else "2026-01-01T00:00:00Z"
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": f"2026-01-01T00:00:0{self.id[0]}Z",
            "Path": "sleep",
            "Args": ["9"],
            "Image": IMAGE_ID,
            "State": {
                "Status": self.status,
                "Running": running,
                "ExitCode": self.exit_code,
                "StartedAt": started,
                "FinishedAt": NEVER,
            },
            "Config": {"Image": self.options.image, "Labels": dict(self.options.labels)},
            "Mounts": [],
            "NetworkSettings": {
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
                "Networks": {"bridge": {}},
            },
        }

    def start(self) -> None:
        self.status = "running"

    def stop(self, timeout: float | None = None) -> None:
        self.calls.append(("stop", self.name, timeout))
        self.status = "exited"

    def restart(self, timeout: float | None = None) -> None:
        self.calls.append(("restart", self.name, timeout))

    def kill(self, signal: str | int | None = None) -> None:
        if self.status != "running":
            raise Conflict(f"Container {self.id} is not running")
        self.calls.append(("kill", self.name, signal))

    def pause(self) -> None:
        self.status = "paused"

    def unpause(self) -> None:
        self.status = "running"

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        return {"StatusCode": self.exit_code}

    def remove(self, force: bool = False, v: bool = False) -> None:
        if self.status == "running" and not force:
            raise Conflict(f"You cannot remove a running container {self.id}", mend="Stop it or use -f.")
        self.owner.all.remove(self)

    def rename(self, name: str) -> None:
        self.name = name

    def export(self) -> Iterator[bytes]:
        yield b"root of "
        yield self.name.encode()

    def top(self) -> dict[str, Any]:
        return {"Titles": ["UID", "CMD"], "Processes": [["0", "sleep 9"]]}

    def exec_run(self, cmd: list[str], on_output: Any = None, **options: Any) -> tuple[int, bytes]:
        self.calls.append(("exec", cmd, options))
        on_output("stdout", " ".join(cmd) + "\n")
        return (3 if cmd[0] == "fail" else 0), b""

    def exec_foreground(self, cmd: list[str], stdio: tuple[int, int, int], **options: Any) -> int:
        self.calls.append(("exec", cmd, stdio, options))
        return 4

    def exec_detached(self, cmd: list[str], **options: Any) -> None:
        self.calls.append(("exec -d", cmd, options))


class FakeContainers:
    """All containers."""

    def __init__(self, folder: Path) -> None:
        self.all: list[FakeContainer] = []
        self.calls: list[Any] = []
        self.folder = folder

    def get(self, name: str) -> FakeContainer:
        for one in self.all:
            if name == one.name or one.id.startswith(name):
                return one
        raise NotFound(f"No such container: {name}")

    def list(self, all: bool = False) -> list[FakeContainer]:
        return [one for one in self.all if all or one.status == "running"]

    def create(self, image: RunOptions) -> FakeContainer:
        if image.image == "nope":
            raise ImageNotFound("No such image: nope", mend="Did you mean node?")
        self.all.append(FakeContainer(self, image, len(self.all) + 1))
        return self.all[-1]

    def run_detached(self, options: RunOptions) -> FakeContainer:
        container = self.create(options)
        container.start()
        return container

    def run_foreground(self, options: RunOptions, on_output: Any = None, **_: Any) -> ContainerResult:
        self.calls.append(("run", options))
        on_output("stdout", "out\n")
        on_output("stderr", "err\n")
        return ContainerResult(7 if options.command == ("false",) else 0, image=options.image)

    def run_with_stdio(self, options: RunOptions, stdio: tuple[int, int, int], connected: Any = None) -> int:
        self.create(options)
        self.calls.append(("run", options, stdio))
        return 7 if options.command == ("false",) else 0

    def prune(self, filters: Any = None) -> dict[str, Any]:
        gone = [one for one in self.all if one.status != "running"]
        self.all = [one for one in self.all if one not in gone]
        return {"ContainersDeleted": [one.id for one in gone], "SpaceReclaimed": 0}


class FakeImage:
    """One image."""

    def __init__(self, tags: list[str]) -> None:
        self.id, self.tags, self.is_host = IMAGE_ID, tags, False
        self.view: dict[str, Any] = {}

    def layers(self, files: bool = False) -> dict[str, Any]:
        return self.view

    @property
    def attrs(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "RepoTags": self.tags,
            "RepoDigests": [],
            "Created": "2026-01-01T00:00:00Z",
            "Size": 1982319,
            "Config": {"Labels": None},
        }

    def history(self) -> list[dict[str, Any]]:
        return [{"Id": self.id, "Created": 1767225600, "CreatedBy": "sh", "Size": 3, "Comment": ""}]


class FakeRegistries:
    """All registries: empty."""

    def ensure(self, options: RunOptions, *_: Any) -> None:
        """Nothing can be pulled."""


class FakeImages:
    """All images."""

    def __init__(self, calls: list[Any]) -> None:
        self.all, self.calls = [FakeImage(["busybox:1.36", "busybox:latest"])], calls
        self.registries = FakeRegistries()

    def get(self, name: str) -> FakeImage:
        for one in self.all:
            if name in one.tags or f"{name}:latest" in one.tags or name == one.id:
                return one
        raise ImageNotFound(f"No such image: {name}")

    def list(self) -> list[FakeImage]:
        return self.all

    def load(self, source: Any, on_event: Any = None) -> list[FakeImage]:
        self.calls.append(("load", source))
        if on_event:
            for tag in self.all[0].tags:
                on_event({"stream": f"Loaded image: {tag}\n"})
        return self.all

    def save(self, names: list[str], form: str, on_event: Any = None) -> Iterator[bytes]:
        self.calls.append(("save", names, form))
        for name in names:
            self.get(name)
            yield name.encode()

    def import_image(self, source: Any, **options: Any) -> FakeImage:
        on_event = options.pop("on_event", None)
        self.calls.append(("import", source, options))
        if on_event:
            on_event({"status": "Importing", "progressDetail": {"current": 1}})
            on_event({"status": self.all[0].id})
        return self.all[0]

    def tag(self, name: str, new: str) -> None:
        self.get(name).tags.append(new)

    def remove(self, image: str, force: bool = False) -> list[dict[str, str]]:
        self.get(image).tags.remove(image)
        return [{"Untagged": image}, {"Deleted": IMAGE_ID}]

    def prune(self, filters: Any = None) -> dict[str, Any]:
        self.calls.append(("prune images", filters))
        return {"ImagesDeleted": [], "SpaceReclaimed": 0}

    def prune_builds(self, filters: Any = None, keep_storage: int = 0, all: bool = False) -> dict[str, Any]:
        self.calls.append(("prune builds", filters, keep_storage, all))
        return {"CachesDeleted": ["sha256:0123"], "SpaceReclaimed": 2_000_000}


class FakeBuilds:
    """Builds whose Dockerfile says how they end: ``fail``, ``stop``, or well."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def build(self, options: Any, on_event: Any) -> FakeImage:
        archive = options.archive.read() if options.archive else None
        self.calls.append(("build", options, archive))
        on_event(
            {"type": "stage", "stage": 0, "name": "stage-0", "base": "x", "steps": [{"id": "0.1", "text": "RUN make"}]}
        )
        on_event({"type": "step", "id": "0.1", "status": "running"})
        on_event({"type": "output", "id": "0.1", "stream": "stdout", "text": "made\n"})
        if options.target == "stop":
            raise KeyboardInterrupt
        if options.target == "fail":
            on_event({"type": "step", "id": "0.1", "status": "failed", "seconds": 0.1, "error": "exit code: 3"})
            raise StepFailed("exit code: 3", "Dockerfile:2", "Look.", 2, 1, "Dockerfile:2\n 2 | >>> RUN make", 3, "abc")
        on_event({"type": "step", "id": "0.1", "status": "done", "seconds": 0.1})
        on_event({"type": "image", "id": IMAGE_ID, "names": list(options.tags), "seconds": 0.2})
        return FakeImage(["busybox:latest"])


class FakeEngine:
    """The one door."""

    def __init__(self, folder: Path) -> None:
        self.containers = FakeContainers(folder)
        self.calls = self.containers.calls
        self.images = FakeImages(self.calls)
        self.builds = FakeBuilds(self.calls)

    def version(self) -> dict[str, Any]:
        return {"Version": "1.2.3", "ApiVersion": "1.43", "Os": "linux", "Arch": "x86_64"}

    def info(self) -> dict[str, Any]:
        return {"Containers": len(self.containers.all), "Name": "here", "MemTotal": 1 << 30}

    def df(self) -> dict[str, Any]:
        written = [{"Id": one.id, "SizeRw": 3} for one in self.containers.all]
        return {
            "LayersSize": 10,
            "Images": [{"Id": IMAGE_ID, "Size": 1982319}],
            "Containers": written,
            "Volumes": [],
            "BuildCache": CACHE,
        }

    def doctor(self) -> dict[str, Any]:
        return {"rungs": [{"rung": "rootless", "works": True}], "rung": "rootless"}
