"""Reading a container's log: Docker's json-file format, rotated files included, followed while it is written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_POLL = 0.1  # seconds between looks at a log that is followed


@dataclass(frozen=True)
class Wanted:
    """Which entries, and how: docker's flags of ``logs``. *since* and *until* are seconds since the epoch."""

    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    tail: int | str = "all"
    since: float | None = None
    until: float | None = None


def read(path: Path, wanted: Wanted, alive: Callable[[], bool] | None = None) -> Iterator[bytes]:
    """The wanted lines; with *alive*, also those that come while it is true."""
    for _, line in entries(path, wanted, alive):
        yield line


def entries(path: Path, wanted: Wanted, alive: Callable[[], bool] | None = None) -> Iterator[tuple[str, bytes]]:
    """The same with the name of the stream."""
    lines = [line for file in _files(path) for line in _lines(file)]
    found = [entry for entry in map(_decode, lines) if entry]
    chosen = [entry for entry in found if _is_wanted(entry, wanted)]
    if wanted.tail != "all":
        chosen = chosen[max(0, len(chosen) - int(wanted.tail)) :] if int(wanted.tail) else []
    for entry in chosen:
        yield entry["stream"], _format(entry, wanted)
    if alive:
        for entry in _follow(path, sum(map(len, _lines(path))), alive):
            if _is_wanted(entry, wanted):
                yield entry["stream"], _format(entry, wanted)


def _files(path: Path) -> Iterable[Path]:
    older = sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda file: -int(file.suffix[1:]))
    return [*older, path]


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _follow(path: Path, position: int, alive: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    last = False
    while True:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if size < position:  # rotated
            position = 0
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(1 << 20)
        whole = data[: data.rfind(b"\n") + 1]
        position += len(whole)
        yield from filter(None, map(_decode, whole.splitlines(keepends=True)))
        if not whole:
            if last:
                return
            last = not alive()
            time.sleep(0 if last else _POLL)


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "log" in entry else None


def _is_wanted(entry: dict[str, Any], wanted: Wanted) -> bool:
    if not (wanted.stdout if entry["stream"] == "stdout" else wanted.stderr):
        return False
    if wanted.since is None and wanted.until is None:
        return True
    moment = datetime.strptime(entry["time"][:26] + "Z", "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
    return (wanted.since is None or moment >= wanted.since) and (wanted.until is None or moment <= wanted.until)


def _format(entry: dict[str, Any], wanted: Wanted) -> bytes:
    text = f"{entry['time']} {entry['log']}" if wanted.timestamps else str(entry["log"])
    return text.encode()
