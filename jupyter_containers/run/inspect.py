"""Docker's JSON for a container, from its record and the runtime's state. Pure, but for ``top`` which reads /proc.

Field names: Docker Engine API v1.43, ``GET /containers/{id}/json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_containers.errors import Conflict, InvalidArgument
from jupyter_containers.run.records import Record

_NEVER = "0001-01-01T00:00:00Z"
_FILTERS = ("id", "name", "status", "label", "ancestor", "exited", "before", "since")


def status(state: Mapping[str, Any]) -> str:
    """Docker's word for the runtime's status."""
    return {"stopped": "exited", "creating": "created"}.get(state["status"], str(state["status"]))


def container(record: Record, state: Mapping[str, Any]) -> dict[str, Any]:
    """``docker inspect``."""
    config = _config_json(record)
    return {
        "Id": record.id,
        "Created": stamp(record.created),
        "Path": record.args[0] if record.args else "",
        "Args": record.args[1:],
        "State": _state(state),
        "Image": record.image_id,
        "ResolvConfPath": "",  # these three are no files of the host
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": str(record.bundle / "log"),
        "Name": f"/{record.name}",
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": _host_config(record.options),
        "Mounts": [_mount(mount) for mount in record.options.get("volumes", ())],
        "Config": _config(record, config),
        "NetworkSettings": _network(record.options),
        "Isolation": {"Rung": state.get("rung", "")},
    }


def stamp(seconds: float) -> str:
    """RFC 3339 with nanoseconds, as Docker prints times."""
    if not seconds:
        return _NEVER
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}000Z"


def _config_json(record: Record) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((record.bundle / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _state(state: Mapping[str, Any]) -> dict[str, Any]:
    word = status(state)
    running = word in ("running", "paused")
    fault = state.get("fault") or {}
    return {
        "Status": word,
        "Running": running,
        "Paused": word == "paused",
        "Restarting": False,
        "OOMKilled": bool(state.get("oomKilled", False)),
        "Dead": False,
        "Pid": int(state.get("pid", 0)) if running else 0,
        "ExitCode": int(state.get("exitCode", 0)),
        "Error": f"{fault.get('step', '')} {fault.get('object', '')}: {fault.get('cause', '')}" if fault else "",
        "StartedAt": stamp(state.get("startedAt", 0)),
        "FinishedAt": stamp(state.get("finishedAt", 0)),
        "Reason": state.get("reason", ""),
    }


def _config(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    process, options = config.get("process", {}), record.options
    return {
        "Hostname": record.hostname,
        "Domainname": "",
        "User": process.get("user", {}).get("username", ""),
        "AttachStdin": bool(options.get("interactive")),
        "AttachStdout": not options.get("detach"),
        "AttachStderr": not options.get("detach"),
        "Tty": bool(options.get("tty")),
        "OpenStdin": bool(options.get("interactive")),
        "StdinOnce": bool(options.get("interactive")),
        "Env": process.get("env", []),
        "Cmd": options.get("command") or record.args,
        "Image": record.image,
        "Volumes": None,
        "WorkingDir": process.get("cwd", ""),
        "Entrypoint": options.get("entrypoint"),
        "OnBuild": None,
        "Labels": record.labels,
    }


def _host_config(options: Mapping[str, Any]) -> dict[str, Any]:
    ulimits = options.get("ulimits", ())
    return {
        "Binds": [_bind(mount) for mount in options.get("volumes", ()) if mount["type"] != "tmpfs"] or None,
        "NetworkMode": options.get("network", "default"),
        "PortBindings": {},
        "RestartPolicy": {"Name": options.get("restart", "no"), "MaximumRetryCount": 0},
        "AutoRemove": bool(options.get("rm")),
        "CapAdd": options.get("cap_add"),
        "CapDrop": options.get("cap_drop"),
        "Privileged": bool(options.get("privileged")),
        "ReadonlyRootfs": bool(options.get("read_only")),
        "SecurityOpt": options.get("security_opt"),
        "ShmSize": options.get("shm_size", 64 << 20),
        "CpuShares": options.get("cpu_shares") or 0,
        "Memory": options.get("memory") or 0,
        "MemorySwap": options.get("memory_swap") or 2 * (options.get("memory") or 0),
        "NanoCpus": int((options.get("cpus") or 0) * 1e9),
        "CpusetCpus": options.get("cpuset_cpus") or "",
        "PidsLimit": options.get("pids_limit"),
        "Init": options.get("init"),
        "Ulimits": [{"Name": u["name"], "Soft": u["soft"], "Hard": u["hard"]} for u in ulimits],
        "Sysctls": options.get("sysctls", {}),
    }


def _bind(mount: Mapping[str, Any]) -> str:
    return f"{mount['source']}:{mount['target']}" + (":ro" if mount.get("read_only") else "")


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"Type": mount["type"], "Source": mount["source"], "Destination": mount["target"], "Mode": ""}
    if mount["type"] == "volume":
        shown |= {"Name": mount["source"], "Driver": "local"}
    return shown | {"RW": not mount.get("read_only"), "Propagation": "rprivate" if mount["type"] == "bind" else ""}


def _network(options: Mapping[str, Any]) -> dict[str, Any]:
    name = {"default": "bridge"}.get(options.get("network", "default"), options.get("network", "default"))
    return {"Ports": {}, "Networks": {name: {"NetworkID": name}}}


# -- filters and processes -------------------------------------------------------------------------------------


def matches(attrs: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether ``docker ps --filter`` keeps a container; values of one key are alternatives.

    Raises:
        InvalidArgument: an unknown key.
    """
    for key, given in filters.items():
        if key not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'", mend=f"Known filters: {', '.join(_FILTERS)}.")
        values = [given] if isinstance(given, (str, int)) else list(given)
        combine = all if key == "label" else any
        if not combine(_matches(attrs, key, str(value)) for value in values):
            return False
    return True


def _matches(attrs: Mapping[str, Any], key: str, value: str) -> bool:
    if key == "id":
        return str(attrs["Id"]).startswith(value)
    if key == "name":
        return value.removeprefix("/") in str(attrs["Name"])
    if key == "status":
        return bool(attrs["State"]["Status"] == value)
    if key == "ancestor":
        return value in (attrs["Config"]["Image"], attrs["Image"], attrs["Config"]["Image"].partition(":")[0])
    if key == "exited":
        return attrs["State"]["Status"] == "exited" and str(attrs["State"]["ExitCode"]) == value
    if key == "label":
        name, equals, wanted = value.partition("=")
        labels = attrs["Config"]["Labels"] or {}
        return name in labels and (not equals or labels[name] == wanted)
    return bool(str(attrs["Created"]) < value if key == "before" else str(attrs["Created"]) > value)


def top(state: Mapping[str, Any]) -> dict[str, Any]:
    """The processes of a running container as the host sees them: those of its first process's pid namespace."""
    if status(state) not in ("running", "paused"):
        raise Conflict("the container is not running", mend="Start it first.")
    namespace = _namespace(int(state["pid"]))
    rows = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and namespace and _namespace(int(entry.name)) == namespace:
            rows.append(_process(entry))
    titles = ["UID", "PID", "PPID", "STIME", "TIME", "CMD"]
    return {"Titles": titles, "Processes": sorted(filter(None, rows), key=lambda row: int(row[1]))}


def _namespace(pid: int) -> str:
    try:
        with Path(f"/proc/{pid}/status").open(encoding="ascii", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        depth = len(fields["NSpid"].split())
    except (OSError, KeyError):
        return ""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return "" if depth < 2 else f"hidden-{_root_of(pid)}"


def _root_of(pid: int) -> int:
    """The outermost ancestor of *pid* that is PID 1 of a namespace: stands for it where its link can't be read."""
    while pid > 1:
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
            if ":" in line
        )
        if fields["NSpid"].split()[-1] == "1":
            return pid
        pid = int(fields["PPid"])
    return pid


def _process(entry: Path) -> list[str]:
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        name = (entry / "comm").read_text(errors="replace").strip()
        uid = entry.stat().st_uid
    except OSError:
        return []
    seconds = (int(fields[11]) + int(fields[12])) // 100
    started = datetime.now().astimezone().strftime("%H:%M")
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return [str(uid), entry.name, fields[1], started, clock, words or f"[{name}]"]
