"""A small registry that misbehaves on demand: stalls, drips, breaks off, lies, sends elsewhere.

It serves distribution-spec's reading half from dictionaries and takes uploads; a :data:`Fault` is asked before each
request and may answer in the registry's place. Every request is kept with its headers, so that a test can look where
credentials went. On loopback, over plain http. Not here: real registries (:mod:`tests.rigs.registry`).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Fault = Callable[["Handler"], bool]


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class BadRegistry:
    """One that runs; fill it and give it faults.

    Attributes:
        host: ``127.0.0.1:PORT``.
        documents: manifests by ``REPOSITORY/TAG-OR-DIGEST``: bytes and media type.
        blobs: bytes by digest.
        faults: for each kind of request (``ping manifests blobs tags uploads``) what is asked first.
        requests: all that came.
    """

    host: str = ""
    documents: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    uploads: dict[str, bytearray] = field(default_factory=dict)

    def add(self, data: bytes) -> dict[str, Any]:
        """Keep a blob; its digest and size."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def image(self, name: str, *layers: bytes, **config: Any) -> dict[str, Any]:
        """Keep an image of *layers* (tars, which are gzipped) as ``REPOSITORY:TAG``; its manifest."""
        described = [{"mediaType": LAYER, **self.add(gzip.compress(layer, 1, mtime=0))} for layer in layers]
        diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
        value = {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        data = json.dumps(value | config).encode()
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **self.add(data)}}
        manifest["layers"] = described
        self.document(name, manifest)
        return manifest

    def document(self, name: str, value: Any, media_type: str = MANIFEST) -> dict[str, Any]:
        """Keep a manifest or index, by ``REPOSITORY:TAG`` and by digest; its descriptor."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        repository, _, tag = name.rpartition(":")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.documents[f"{repository}/{tag}"] = self.documents[f"{repository}/{digest}"] = (data, media_type)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def fault(self, kind: str, fault: Fault, times: int = 1_000_000) -> None:
        """Have *fault* answer the next *times* requests of that kind."""
        left = [times]

        def bounded(handler: Handler) -> bool:
            if left[0] <= 0:
                return False
            left[0] -= 1
            return fault(handler)

        self.faults.setdefault(kind, []).append(bounded)

    def count(self, kind: str) -> int:
        """How many requests of that kind came."""
        return sum(_kind(request.path) == kind for request in self.requests)


def tar_of(size: int, name: str = "data") -> bytes:
    """A tar with one file of *size* bytes that do not compress."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = size
        content = b"".join(hashlib.sha256(f"{name}{n}".encode()).digest() for n in range(size // 32 + 1))
        tar.addfile(entry, io.BytesIO(content[:size]))
    return out.getvalue()


@contextlib.contextmanager
def running() -> Iterator[BadRegistry]:
    """A registry without faults yet."""
    server = _Server(("127.0.0.1", 0), Handler)
    server.registry = BadRegistry(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.registry
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: BadRegistry

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.ending = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that goes away is none."""


def _kind(path: str) -> str:
    found = re.search(r"/(manifests|blobs/uploads|blobs|tags)/", path)
    return found[1].rpartition("/")[2] if found else "ping" if path.rstrip("/") == "/v2" else "other"


class Handler(BaseHTTPRequestHandler):
    """One request. Faults use :meth:`answer`, :meth:`begin`, :meth:`reset`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one(self) -> None:
        """Keep the request, ask the faults, else serve."""
        registry = self.server.registry
        path = self.path.partition("?")[0]
        registry.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        with contextlib.suppress(OSError):
            for fault in registry.faults.get(_kind(path), []):
                if fault(self):
                    return
            self._serve(registry, path)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

    def answer(self, code: int, data: bytes = b"", **headers: str) -> bool:
        """A whole answer."""
        self.begin(code, len(data), **headers)
        if self.command != "HEAD":
            self.wfile.write(data)
        return True

    def begin(self, code: int, length: int, **headers: str) -> None:
        """Status and headers; an underscore in a name is a hyphen."""
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def reset(self) -> bool:
        """Break the connection (RST)."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        return True

    def wait(self, seconds: float) -> None:
        """Sleep, at most until the registry ends."""
        self.server.ending.wait(seconds)

    def log_message(self, *words: object) -> None:
        """Nothing."""

    @property
    def blob(self) -> bytes:
        """What the request wants, from where its Range begins."""
        return self.server.registry.blobs[self.path.rpartition("/")[2]]

    @property
    def start(self) -> int:
        """The first byte that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def _serve(self, registry: BadRegistry, path: str) -> None:
        kind, last = _kind(path), path.rpartition("/")[2]
        repository = path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
        if kind == "ping":
            self.answer(200, b"{}")
        elif kind == "uploads":
            self._upload(registry)
        elif kind == "manifests" and self.command == "PUT":
            data = self.rfile.read(int(self.headers["Content-Length"]))
            registry.document(f"{repository}:{last}", data, self.headers["Content-Type"])
            self.answer(201)
        elif kind == "manifests" and f"{repository}/{last}" in registry.documents:
            data, media_type = registry.documents[f"{repository}/{last}"]
            self.answer(200, data, Content_Type=media_type)
        elif kind == "tags":
            tags = [name.rpartition("/")[2] for name in registry.documents if name.startswith(f"{repository}/")]
            self.answer(200, json.dumps({"tags": [tag for tag in tags if ":" not in tag]}).encode())
        elif kind == "blobs" and last in registry.blobs:
            self._blob(registry.blobs[last])
        else:
            self.answer(
                404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
            )

    def _blob(self, data: bytes) -> None:
        start = self.start
        if start >= len(data) and start:
            self.answer(416)
        elif start:
            self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.answer(200, data)

    def _upload(self, registry: BadRegistry) -> None:
        """POST begins, PATCH adds, PUT ends, GET says how far it is."""
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "POST":
            name = f"u{len(registry.uploads)}"
            registry.uploads[name] = bytearray()
            path += name
        upload = registry.uploads.get(name)
        if upload is None:
            self.answer(404)
        elif self.command == "PUT":
            registry.add(bytes(upload + data))
            self.answer(201)
        else:
            upload += data
            code = {"GET": 204, "DELETE": 204}.get(self.command, 202)
            self.answer(code, Location=path, Range=f"0-{max(0, len(upload) - 1)}")


# --- faults ---


def stalls(after: int = 0, seconds: float = 60) -> Fault:
    """Sends *after* bytes of a blob and then nothing."""

    def fault(handler: Handler) -> bool:
        data = handler.blob
        handler.begin(200, len(data))
        handler.wfile.write(data[:after])
        handler.wfile.flush()
        handler.wait(seconds)
        return handler.reset()

    return fault


def silent(seconds: float = 60) -> Fault:
    """Answers nothing at all."""

    def fault(handler: Handler) -> bool:
        handler.wait(seconds)
        return handler.reset()

    return fault


def drips(every: float = 0.05) -> Fault:
    """Sends a byte now and then, for ever."""

    def fault(handler: Handler) -> bool:
        data = handler.blob
        handler.begin(200, len(data))
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            handler.wait(every)
            if handler.server.ending.is_set():
                break
        return handler.reset()

    return fault


def drips_headers(every: float = 0.05) -> Fault:
    """Never comes to the end of its headers."""

    def fault(handler: Handler) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not handler.server.ending.is_set():
            handler.wfile.write(b"x")
            handler.wfile.flush()
            handler.wait(every)
        return handler.reset()

    return fault


def status(code: int, data: bytes = b"", **headers: str) -> Fault:
    """Answers with a status."""
    return lambda handler: handler.answer(code, data, **headers)


def resets(after: int) -> Fault:
    """Breaks off *after* bytes of what is asked for, which it begins where it should."""

    def fault(handler: Handler) -> bool:
        data, start = handler.blob, handler.start
        more = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        handler.begin(206 if start else 200, len(data) - start, **more)
        handler.wfile.write(data[start : start + after])
        time.sleep(0.05)  # a reset throws away what the other end has not read
        return handler.reset()

    return fault


def sends(data: bytes, length: int | None = None) -> Fault:
    """Sends other bytes; *length* is what it says they are."""

    def fault(handler: Handler) -> bool:
        handler.begin(200, len(data) if length is None else length)
        handler.wfile.write(data)
        handler.close_connection = True
        return True

    return fault


def redirects(to: str, code: int = 307) -> Fault:
    """Sends elsewhere; ``{path}`` in *to* is the request's."""
    return lambda handler: handler.answer(code, Location=to.replace("{path}", handler.path))


def challenges(header: str, unless: str = "") -> Fault:
    """Wants to know who asks; *unless* an Authorization is given."""

    def fault(handler: Handler) -> bool:
        given = handler.headers.get("Authorization", "")
        if unless and given == unless:
            return False
        return handler.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate=header)

    return fault
