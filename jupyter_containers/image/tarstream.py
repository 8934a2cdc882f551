"""Tar archives read in one pass: ustar, pax and GNU headers, sparse files included.

Written for hostile input instead of using :mod:`tarfile`: every number is bounded where it is read, nothing seeks,
every loop consumes input, and names stay bytes. It follows Go's ``archive/tar`` (which docker uses) where readers
differ: global pax headers are ignored, entries that cannot have content have none whatever their size field says.
Not here: anything that touches a file system (``unpack``) or inflates (``compression``).
"""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_containers.image import tarsparse
from jupyter_containers.image.tarheader import BLOCK, Entry, bad, check_sum, decimal, entry_of, number, pax_records

META_LIMIT = 1 << 20  # of one pax header or GNU long name, as in Go


class TarReader:
    """The entries of a tar whose bytes come in *chunks*.

    Iterate; the content of the entry at hand is read with :meth:`content`, what is left of it is skipped.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self._left = 0  # content of the entry at hand not read yet
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> Iterator[memoryview]:
        """What is left of the content of the entry at hand, in pieces valid until the next one is asked for."""
        while self._left:
            piece = self._piece(self._left)
            self._left -= len(piece)
            yield piece

    # --- bytes ---

    def _piece(self, most: int) -> memoryview:
        if self._at == len(self._buffer):
            self._buffer, self._at = next(self._chunks, b""), 0
            if not self._buffer:
                raise bad("it ends in the middle of an entry")
        piece = memoryview(self._buffer)[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _exactly(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        parts = []
        while count:
            parts.append(bytes(self._piece(count)))
            count -= len(parts[-1])
        return b"".join(parts)

    def _block(self) -> bytes:
        """The next header block; ``b""`` at a clean end of input."""
        while self._at == len(self._buffer):
            try:
                self._buffer, self._at = next(self._chunks), 0
            except StopIteration:
                return b""
        return self._exactly(BLOCK)

    def _finish_entry(self) -> None:
        for _ in self.content():
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _set_content(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _meta(self, size: int) -> bytes:
        if size > META_LIMIT:
            raise bad(f"an extended header of {size} bytes (at most {META_LIMIT})")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        return data

    # --- headers ---

    def _next(self) -> Entry | None:
        self._finish_entry()
        pax: dict[bytes, bytes] = {}
        long: dict[bytes, bytes] = {}
        while (block := self._block()) and block.count(0) != BLOCK:
            check_sum(block)
            flag, size = block[156:157], number(block[124:136], "size")
            if flag in (b"x", b"g"):
                records = pax_records(self._meta(size))
                pax = records if flag == b"x" else pax
            elif flag in (b"L", b"K"):
                long[b"path" if flag == b"L" else b"linkpath"] = self._meta(size).rstrip(b"\0")
            else:
                return self._entry(block, {**long, **pax})
        if block and (second := self._block()) and second.count(0) != BLOCK:
            raise bad("a header follows a single block of zeros")
        if pax or long:
            raise bad("it ends after an extended header")
        return None

    def _entry(self, block: bytes, pax: dict[bytes, bytes]) -> Entry:
        flag = block[156:157]
        is_sparse = tarsparse.is_sparse(flag, pax)
        entry = entry_of(block, pax, pax.get(b"GNU.sparse.name", b"") if is_sparse else b"")
        self._set_content(entry.size)
        if is_sparse:
            self._sparse(entry, block, flag, pax)
        return entry

    # --- sparse files ---

    def _sparse(self, entry: Entry, block: bytes, flag: bytes, pax: dict[bytes, bytes]) -> None:
        if flag == b"S":
            numbers = self._old_sparse(block)
            entry.real_size = number(block[483:495], "size of a sparse file")
        elif pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._sparse_1_0()
            entry.real_size = decimal(pax.get(b"GNU.sparse.realsize", b""), "size of a sparse file")
            entry.size = self._left
        else:
            numbers = tarsparse.map_0(pax)
            entry.real_size = decimal(pax.get(b"GNU.sparse.size", b""), "size of a sparse file")
        entry.segments = tarsparse.segments(numbers, entry)

    def _old_sparse(self, block: bytes) -> list[int]:
        numbers, more = tarsparse.fields(block[386:482]), block[482] != 0
        while more:
            extension = self._exactly(BLOCK)
            numbers += tarsparse.fields(extension[:504])
            more = extension[504] != 0
            tarsparse.check_count(len(numbers) // 2)
        return numbers

    def _sparse_1_0(self) -> list[int]:
        """The map is the first content of the file: decimal lines, padded to a block."""
        blocks = [self._map_block()]
        count = decimal(blocks[0].partition(b"\n")[0], "count of sparse segments")
        tarsparse.check_count(count)
        lines, wanted = blocks[0].count(b"\n"), 1 + 2 * count
        while lines < wanted:
            blocks.append(self._map_block())
            lines += blocks[-1].count(b"\n")
            if len(blocks) > tarsparse.SEGMENTS:
                break
        return [decimal(line, "sparse map") for line in b"".join(blocks).split(b"\n")[1:wanted]]

    def _map_block(self) -> bytes:
        if self._left < BLOCK:
            raise bad("a sparse file without a whole map")
        self._left -= BLOCK
        return self._exactly(BLOCK)
