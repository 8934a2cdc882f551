"""What tests do as some user, through our engine: each function is called by ``user.call`` in a process of its own."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
          "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu0/thermal_throttle")  # fmt: skip
Result = dict[str, Any]


def run(image: str, command: list[str], options: Result | None = None) -> Result:
    """Run a container in the foreground: ``code stdout stderr reason``, or ``error`` where it could not be started."""
    from jupyter_containers import from_env
    from jupyter_containers.errors import ContainersError
    from jupyter_containers.options import Mount, RunOptions

    options = dict(options or {})
    options["volumes"] = tuple(Mount(**volume) for volume in options.get("volumes", ()))
    options.setdefault("network", "none")
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    asked = RunOptions(image=image, command=tuple(command), rm=True, **tuples)
    try:
        result = from_env().containers.run_foreground(asked)
    except ContainersError as error:
        return {"error": str(error), "code": getattr(error, "exit_code", 125), "stdout": "", "stderr": "", "reason": ""}
    return {
        "error": "",
        "code": result.exit_code,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "reason": result.reason,
        "memory": result.peak_memory,
        "duration": result.duration,
        "id": result.container_id,
    }


def probe(source: str) -> Result:
    """What :mod:`probe` finds inside, with secrets in our own environment."""
    os.environ["JUPYTER_TOKEN"] = "secret"
    os.environ["AWS_SECRET_ACCESS_KEY"] = "secret"
    os.environ["DOCKER_HOST"] = "unix:///nowhere"
    disk = os.stat("/").st_dev
    words = [sys.executable, "-c", source, f"{os.major(disk)}:{os.minor(disk)}", str(os.getpid()), ",".join(MASKED)]
    result = run("host", words)
    assert result["code"] == 0, result
    found: Result = json.loads(result["stdout"])
    return found


def make_image(name: str, links: dict[str, str], files: dict[str, str], config: list[str]) -> None:
    """An image of the test's busybox with links and files of its own (a file's mode is 4755 where its name says so)."""
    from jupyter_containers import from_env
    from tests.rigs import roots

    buffer = io.BytesIO()
    with tarfile.open(roots.busybox_tar()) as base, tarfile.open(fileobj=buffer, mode="w") as out:
        for member in base:
            path = member.name.removeprefix("./").rstrip("/")
            if path in links or path in files:
                continue
            out.addfile(member, base.extractfile(member) if member.isfile() else None)
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            out.addfile(link)
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content.encode()), 0o755
            out.addfile(info, io.BytesIO(content.encode()))
    buffer.seek(0)
    from_env().images.import_image(buffer, repository=name, tag="test", changes=config)


def info() -> Result:
    """The launcher's report."""
    from jupyter_containers import from_env

    found: Result = from_env().runtime.info()
    return found


def containers() -> list[str]:
    """What is left in the store's folder of containers."""
    from jupyter_containers import from_env

    folder = from_env().settings.home / "containers"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def victim(path: str) -> str:
    """Make a file that a container must not reach; its path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("untouched")
    return path
