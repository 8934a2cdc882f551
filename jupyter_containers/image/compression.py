"""Decompression of layer blobs as a bounded stream, with digests taken on the way.

gzip (isal), zstd, xz and none are told apart by their first bytes, concatenated members included. Each step gives at
most :data:`STEP` bytes for what it is fed, so that a bomb costs time and never memory; the ratio of output to input
is bounded as well. :class:`Stream` does reading, hashing and inflating in a thread of its own, beside the consumer
that writes files. Not here: what the bytes mean (``tarstream``).
"""

from __future__ import annotations

import hashlib
import lzma
import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from jupyter_containers.errors import DigestMismatch, LayerError

STEP = 1 << 20
# A zstd block of 4 bytes can stand for 128 KiB: what one call may inflate is bounded by what it is given.
ZSTD_FEED = 2048
ZSTD_WINDOW = 128 << 20
XZ_MEMORY = 256 << 20

Magic = Mapping[bytes, str]

MAGIC: Magic = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
BZIP2: Magic = {b"BZh": "bzip2"}  # no layer is, but what ADD unpacks may be


def detect(head: bytes, more: Magic | None = None) -> str:
    """``"gzip"``, ``"zstd"``, ``"xz"``, one of *more*, or ``"none"``, by the first bytes of a blob."""
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # it starts with a skippable frame
    return next((kind for magic, kind in (*MAGIC.items(), *(more or {}).items()) if head.startswith(magic)), "none")


def inflate(kind: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What *chunks* of a blob of compression *kind* stand for.

    Raises:
        LayerError: the data is damaged, ends too early, has garbage after it, or asks for too much memory.
    """
    try:
        if kind == "gzip":
            yield from _gunzip(chunks)
        elif kind == "zstd":
            yield from _unzstd(chunks)
        elif kind == "xz":
            yield from _unxz(chunks)
        elif kind == "bzip2":
            yield from _unbzip2(chunks)
        else:
            yield from chunks
    except (zlib.error, lzma.LZMAError, MemoryError, _BadBzip2) as error:
        raise LayerError(f"damaged {kind} data ({error})", mend="Fetch or save the image again.") from None


def _truncated(kind: str) -> LayerError:
    return LayerError(f"the {kind} data ends too early", mend="Fetch or save the image again.")


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    new, failure = _gzip_backend()
    member = None
    for chunk in chunks:
        data, out = chunk, b""
        while data or len(out) == STEP:
            if member is None or member.eof:
                if not data:
                    break
                member = new()
            try:
                out = member.decompress(data, STEP)
            except failure as error:
                raise zlib.error(str(error)) from None
            data = member.unused_data if member.eof else member.unconsumed_tail
            if out:
                yield out
    if member is not None and not member.eof:
        raise _truncated("gzip")


def _gzip_backend() -> tuple[Callable[[], _Inflater], type[Exception]]:
    """A maker of gzip inflaters. isal has wheels for x86-64 and arm64 only, and pyproject.toml asks for it there."""
    try:
        from isal import isal_zlib
    except ImportError:
        return lambda: zlib.decompressobj(31), zlib.error
    failure: Any = isal_zlib.error  # its stub says instance where it is a class
    return lambda: isal_zlib.decompressobj(31), failure


def _unxz(chunks: Iterator[bytes]) -> Iterator[bytes]:
    stream = None
    for chunk in chunks:
        data, more = chunk, True
        while data or more:
            if stream is None or stream.eof:
                data, more = data.lstrip(b"\0"), False  # the format pads streams with zeros
                if not data:
                    break
                stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
            out = stream.decompress(data, STEP)
            data = stream.unused_data if stream.eof else b""
            more = not stream.eof and not stream.needs_input
            if out:
                yield out
    if stream is not None and not stream.eof:
        raise _truncated("xz")


class _BadBzip2(Exception):
    """The data is no bzip2 stream; its module says so by an OSError."""


def _unbzip2(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import bz2  # only for what ADD unpacks

    stream = None
    for chunk in chunks:
        data, more = chunk, True
        while data or more:
            if stream is None or stream.eof:
                more = False
                if not data:
                    break
                stream = bz2.BZ2Decompressor()
            try:
                out = stream.decompress(data, STEP)
            except OSError as error:
                raise _BadBzip2(str(error)) from None
            data = stream.unused_data if stream.eof else b""
            more = not stream.eof and not stream.needs_input
            if out:
                yield out
    if stream is not None and not stream.eof:
        raise _truncated("bzip2")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # 10 ms, for the layers that need it

    factory = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = None
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), ZSTD_FEED):
                data = chunk[start : start + ZSTD_FEED]
                while data:
                    if frame is None or frame.eof:
                        frame = factory.decompressobj()
                    if out := frame.decompress(data):
                        yield out
                    data = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        raise zlib.error(str(error)) from None
    if frame is not None and not frame.eof:
        raise _truncated("zstd")


class _Inflater(Protocol):
    """What zlib and isal have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Stream:
    """The inflated content of a blob, made in a thread beside the consumer.

    Iterate it, then call :meth:`finish`, which takes what is left and checks digests. Use as a context manager: the
    thread ends with the block, however it ends.

    Args:
        read: gives at most n bytes, ``b""`` at the end.
        ratio: most bytes out per byte in, once more than *ratio_floor* bytes are out.
        hashing: False where nobody asks for the digests.
        more: compressions to know beside those of layers.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        ratio: int = 0,
        ratio_floor: int = 0,
        hashing: bool = True,
        more: Magic | None = None,
    ) -> None:
        self.bytes_in = self.bytes_out = 0
        self.compression = ""
        self._read, self._ratio, self._floor = read, ratio, ratio_floor
        self._hashing, self._more = hashing, more
        self._outer, self._inner = hashlib.sha256(), hashlib.sha256()
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(8)
        self._stop = False
        self._thread = threading.Thread(target=self._work, name="inflate", daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop = True
        while self._thread.is_alive():
            self._drain()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
        self._queue.put(None)

    def finish(self, digest: str = "", diff_id: str = "", size: int | None = None) -> None:
        """Read to the end and compare with what was promised; an empty promise is not compared.

        Raises:
            DigestMismatch: the blob or its inflated content is another one.
        """
        for _ in self:
            pass
        if size is not None and size != self.bytes_in:
            raise DigestMismatch(f"the blob has {self.bytes_in} bytes instead of {size}")
        if digest and digest != self.digest:
            raise DigestMismatch(f"the blob has digest {self.digest} instead of {digest}")
        if diff_id and diff_id != self.diff_id:
            raise DigestMismatch(f"the layer's content has digest {self.diff_id} instead of the diff id {diff_id}")

    @property
    def digest(self) -> str:
        """Digest of what was read."""
        return "sha256:" + self._outer.hexdigest()

    @property
    def diff_id(self) -> str:
        """Digest of what it inflates to."""
        return self.digest if self.compression == "none" else "sha256:" + self._inner.hexdigest()

    def _drain(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def _work(self) -> None:
        try:
            for chunk in self._produce():
                if self._stop:
                    return
                self._queue.put(chunk)
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            self._queue.put(error)

    def _produce(self) -> Iterator[bytes]:
        first = self._read(STEP)
        self.compression = detect(first, self._more)
        for chunk in inflate(self.compression, self._compressed(first)):
            self.bytes_out += len(chunk)
            if self.compression != "none":
                if self._hashing:
                    self._inner.update(chunk)
                self._check_ratio()
            yield chunk

    def _compressed(self, first: bytes) -> Iterator[bytes]:
        chunk = first
        while chunk:
            self.bytes_in += len(chunk)
            if self._hashing:
                self._outer.update(chunk)
            yield chunk
            chunk = self._read(STEP)

    def _check_ratio(self) -> None:
        if self._ratio and self.bytes_out > max(self._floor, self._ratio * self.bytes_in):
            raise LayerError(
                f"{self.bytes_in} bytes inflate to more than {self.bytes_out}, which looks like a decompression bomb",
                mend="If the image is trusted, raise the image store's limit `ratio`.",
            )
