"""The rig of the build tests: contexts made by a few lines of shell, builds as each kind of user, what came of them.

A context is made by the user who builds, in a folder of that user; ``User.call`` runs :func:`build` there. Everything
begins with ``busybox:test`` from one cached archive, so that images of different users can be equal to the byte.

Not here: what docker makes of the same (``rig_build_oracle``), file trees (:mod:`tests.rigs.trees`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rigs import engines, roots, trees
from tests.rigs.users import User

BASE = engines.BUSYBOX
CONFIG = (
    "Env", "Cmd", "Entrypoint", "Labels", "ExposedPorts", "Volumes", "User", "WorkingDir", "Shell", "StopSignal",
    "Healthcheck", "OnBuild",
)  # fmt: skip

_BEGIN = (
    "import json, sys; from tests.engine.rig_builds import build; print(json.dumps(build(*json.loads(sys.argv[1]))))"
)
BRING = ("ADD", "COPY", "RUN")


@dataclass(frozen=True)
class Built:
    """What came of a build.

    Attributes:
        id: of the image; empty where the build failed. digest: of its manifest.
        steps: how each instruction that may make files ended, by its id (``stage.number``).
        output: what the steps printed. error: text; kind: its class.
        image: id of the files before a failed step.
        events: everything that was told, where asked for.
    """

    id: str = ""
    digest: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
    output: str = ""
    error: str = ""
    kind: str = ""
    image: str = ""
    events: str = ""

    @property
    def made(self) -> list[str]:
        """The steps that were carried out, in the order of the file."""
        return [step for step, status in self.steps.items() if status == "done"]

    @property
    def cached(self) -> list[str]:
        """The steps whose result was in the cache."""
        return [step for step, status in self.steps.items() if status == "cached"]


class Workshop:
    """A user with a store for builds and folders for contexts.

    Args:
        user: who builds. store: name of the store, beside the user's first one; empty for the first one, which
            ``leak_watch`` looks at and whose base is another image.
    """

    def __init__(self, user: User, store: str = "builds") -> None:
        self.user = user.with_store(store) if store else user
        if store:
            engines.load(self.user, roots.archive(roots.busybox_tar(), BASE, "docker"))
        else:
            engines.add_busybox(user)

    def context(self, name: str, script: str = "", dockerfile: str | None = None) -> Path:
        """A new folder *name*, with what *script* (``sh -e``) makes in it, and a Dockerfile if one is given."""
        folder = self.user.home / "contexts" / name
        shutil.rmtree(folder, ignore_errors=True)
        self.user.run("mkdir", "-p", folder)
        self.change(folder, script)
        if dockerfile is not None:
            path = folder / "Dockerfile"
            path.write_text(dockerfile)
            os.chown(path, self.user.uid, self.user.gid)
        return folder

    def change(self, folder: Path, script: str) -> None:
        """Let *script* work in a context."""
        self.user.run("sh", "-ec", script, cwd=folder)

    def build(self, context: Path | None, **options: Any) -> Built:
        """Build; *options* are those of ``BuildOptions``, and ``network`` (``none`` unless given)."""
        return Built(**self.user.call(build, context, options, timeout=options.pop("timeout", 120)))

    def must_build(self, context: Path | None, **options: Any) -> Built:
        """The same; fails the test where the build fails."""
        done = self.build(context, **options)
        assert done.id, f"{done.error}\n{done.output}"
        return done

    def begin(self, context: Path, **options: Any) -> subprocess.Popen[str]:
        """Begin a build in a process of its own; its answer is one line of JSON (:meth:`finish`)."""
        words = [sys.executable, "-c", _BEGIN, json.dumps([str(context), options])]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process: subprocess.Popen[str] = self.user.popen(words, **pipes)
        return process

    def finish(self, process: subprocess.Popen[str], timeout: float = 120) -> Built:
        """What came of a build that was begun."""
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == 0, err
        return Built(**json.loads(out))

    def run(self, image: str, *command: str, **options: Any) -> str:
        """Run a command in a built image; its stdout and stderr.

        Raises:
            CallFailed: it exited other than 0.
        """
        return str(self.user.call(run, image, list(command), {"network": "none", **options}))

    def saved(self, image: str) -> bytes:
        """``docker save`` of an image."""
        path = self.user.tmp / "saved.tar"
        try:
            self.user.call(save, image, path)
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    def tree(self, image: str) -> trees.Tree:
        """The files of an image."""
        return unpacked(self.saved(image))[1]

    def config(self, image: str) -> dict[str, Any]:
        """What of an image's configuration a Dockerfile says."""
        return unpacked(self.saved(image))[0]


def unpacked(archive: bytes) -> tuple[dict[str, Any], trees.Tree]:
    """Configuration and files of the one image in a docker-archive, read without anything of ours."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        [found] = json.loads(_member(tar, "manifest.json"))
        config = json.loads(_member(tar, found["Config"]))
        tree = trees.of_layers([_member(tar, name) for name in found["Layers"]])
    said = {key: config["config"].get(key) for key in CONFIG}
    return {key: value for key, value in {**said, "Author": config.get("author")}.items() if value}, tree


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file, name
    return file.read()


# --- what is called as the user ---


def build(context: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """A build's outcome as the fields of :class:`Built`."""
    from jupyter_containers import from_env
    from jupyter_containers.engine.builds import BuildOptions
    from jupyter_containers.errors import ContainersError
    from jupyter_containers.options import RunOptions

    events: list[dict[str, Any]] = []
    wants_events = options.pop("events", False)
    run_options = RunOptions("", network=options.pop("network", "none"))
    wanted = BuildOptions(context=Path(context) if context else None, run=run_options, **options)
    try:
        image = from_env().builds.build(wanted, events.append)
        found = {"id": image.id, "digest": image.target.digest}
    except ContainersError as error:
        found = {"error": str(error), "kind": type(error).__name__, "image": getattr(error, "image", "")}
    return {
        **found,
        "steps": _steps(events),
        "output": "".join(event["text"] for event in events if event["type"] == "output"),
        "events": json.dumps(events) if wants_events else "",
    }


def _steps(events: list[dict[str, Any]]) -> dict[str, str]:
    """The last status of each step that brings files, in order."""
    texts = {step["id"]: step["text"] for event in events if event["type"] == "stage" for step in event["steps"]}
    ends = {event["id"]: event["status"] for event in events if event["type"] == "step"}
    return {id: ends[id] for id, text in texts.items() if text.split()[0].upper() in BRING and id in ends}


def run(image: str, command: list[str], options: dict[str, Any]) -> str:
    """What a command prints."""
    from jupyter_containers import from_env

    output: bytes = from_env().containers.run(image, command, remove=True, stderr=True, **options)
    return output.decode(errors="replace")


def save(image: str, path: str) -> None:
    """``save`` into a file."""
    from jupyter_containers import from_env

    with Path(path).open("wb") as file:
        for chunk in from_env().images.save([image]):
            file.write(chunk)


def engine() -> Any:
    """The user's engine."""
    from jupyter_containers import from_env

    return from_env()


def load(path: str) -> None:
    """Put the images of an archive into the store."""
    engine().images.load(path)


def forget_image(image: str) -> None:
    """Remove an image."""
    engine().images.remove(image, force=True)


def forget(image: str) -> None:
    """Forget all results of steps, and an image."""
    if image:
        forget_image(image)
    engine().builds.prune()


# --- what runs meanwhile ---


def sleeping(seconds: str) -> list[int]:
    """The processes of ``sleep SECONDS``, which are in a container."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def until(true: Callable[[], object], seconds: float) -> None:
    """Wait until something is so; fails the test after *seconds*."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
