"""The log of a container in Docker's json-file format: bounded, rotated, readable while it is written.

One JSON object a line: ``{"log": "text\\n", "stream": "stdout", "time": "2026-01-01T00:00:00.000000000Z"}``. A line
longer than 16 KiB is cut into several entries, as Docker does.
"""

from __future__ import annotations

import json
import os
import time

_LONGEST = 16 * 1024


class JsonLog:
    """Appends what a container prints; when *max_size* bytes are reached the file becomes ``log.1`` and so on."""

    def __init__(self, path: str, max_size: int, max_file: int) -> None:
        self.path, self._max_size, self._max_file = path, max_size, max(1, max_file)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._size = os.fstat(self._file.fileno()).st_size
        self._rest: dict[str, bytes] = {}

    def write(self, stream: str, data: bytes) -> None:
        """Log what came from *stream* (``stdout`` or ``stderr``); the unfinished last line waits."""
        text = self._rest.pop(stream, b"") + data
        entries = bytearray()
        while text:
            end = text.find(b"\n", 0, _LONGEST) + 1
            if not end and len(text) < _LONGEST:
                self._rest[stream] = text
                break
            end = end or _LONGEST
            entries += self._entry(stream, text[:end])
            text = text[end:]
        self._append(bytes(entries))

    def close(self) -> None:
        """Write the unfinished lines and close."""
        for stream, rest in self._rest.items():
            self._append(self._entry(stream, rest))
        self._rest.clear()
        self._file.close()

    @staticmethod
    def _entry(stream: str, line: bytes) -> bytes:
        now = time.time_ns()
        seconds, fraction = divmod(now, 1_000_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"
        entry = {"log": line.decode("utf-8", "replace"), "stream": stream, "time": stamp}
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _append(self, entries: bytes) -> None:
        if self._size + len(entries) > self._max_size and self._size:
            self._rotate()
        try:
            self._file.write(entries)
        except OSError:
            return  # a full disk must not stop the container; what is printed still reaches those attached
        self._size += len(entries)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._max_file - 1, 0, -1):
            newer = self.path if number == 1 else f"{self.path}.{number - 1}"
            if os.path.exists(newer):
                os.rename(newer, f"{self.path}.{number}")
        self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115
        self._size = 0
