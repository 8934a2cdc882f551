"""Tar archives read in one pass: ustar, pax and GNU headers, sparse files included.

Written for hostile input instead of using :mod:`tarfile`: every number is bounded where it is read, nothing seeks,
every loop consumes input, and names stay bytes. It follows Go's ``archive/tar`` (which docker uses) where readers
differ: global pax headers are ignored, entries that cannot have content have none whatever their size field says.
Not here: anything that touches a file system (``unpack``) or inflates (``compression``).

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_containers.errors import LayerError

BLOCK = 512
META_LIMIT = 1 << 20  # of one pax header or GNU long name, as in Go
NAME_LIMIT = 4096  # PATH_MAX
SPARSE_LIMIT = 1 << 40  # of a sparse file's apparent size
SPARSE_SEGMENTS = 1 << 20

_REGULAR = b"0\x007S"
_HEADER_ONLY = b"123456"
_KINDS = {b"1": "link", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo"}


class Entry:
    """One member of an archive.

    Attributes:
        name, linkname: as recorded, bytes.
        kind: ``file link symlink char block dir fifo``.
        size: bytes of content in the archive; ``real_size`` is the file's (they differ for sparse files).
        segments: of a sparse file, (offset, length) of its content; else None.
        xattrs: name to value, as recorded (``SCHILY.xattr.*``).
    """

    __slots__ = (
        "gid", "kind", "linkname", "major", "minor", "mode", "mtime_ns", "name", "real_size", "segments", "size",
        "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, name: bytes, kind: str) -> None:
        self.name, self.kind, self.linkname = name, kind, b""
        self.mode = self.uid = self.gid = self.size = self.real_size = self.mtime_ns = self.major = self.minor = 0
        self.segments: list[tuple[int, int]] | None = None
        self.xattrs: dict[bytes, bytes] = {}


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
                raise _bad("it ends in the middle of an entry")
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
            raise _bad(f"an extended header of {size} bytes (at most {META_LIMIT})")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        return data

    # --- headers ---

    def _next(self) -> Entry | None:
        self._finish_entry()
        pax: dict[bytes, bytes] = {}
        long: dict[bytes, bytes] = {}
        while (block := self._block()) and block.count(0) != BLOCK:
            _check_sum(block)
            flag, size = block[156:157], _number(block[124:136], "size")
            if flag in (b"x", b"g"):
                records = _pax_records(self._meta(size))
                pax = records if flag == b"x" else pax
            elif flag in (b"L", b"K"):
                long[b"path" if flag == b"L" else b"linkpath"] = self._meta(size).rstrip(b"\0")
            else:
                return self._entry(block, flag, size, {**long, **pax})
        if block and (second := self._block()) and second.count(0) != BLOCK:
            raise _bad("a header follows a single block of zeros")
        if pax or long:
            raise _bad("it ends after an extended header")
        return None

    def _entry(self, block: bytes, flag: bytes, size: int, pax: dict[bytes, bytes]) -> Entry:
        gnu_sparse = _wants_sparse(flag, pax)
        name = pax.get(b"GNU.sparse.name") if gnu_sparse else None
        name = name or pax.get(b"path") or _ustar_name(block)
        entry = Entry(name, _kind(flag, name))
        entry.linkname = pax.get(b"linkpath") or _text(block[157:257])
        _fill(entry, block, pax)
        if flag not in _HEADER_ONLY:
            entry.size = _decimal(pax[b"size"], "size") if b"size" in pax else size
        self._set_content(entry.size)
        entry.real_size = entry.size
        _check_names(entry)
        if gnu_sparse:
            self._sparse(entry, block, flag, pax)
        return entry

    # --- sparse files ---

    def _sparse(self, entry: Entry, block: bytes, flag: bytes, pax: dict[bytes, bytes]) -> None:
        if flag == b"S":
            numbers = self._old_sparse(block)
            entry.real_size = _number(block[483:495], "size of a sparse file")
        elif pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._sparse_1_0()
            entry.real_size = _decimal(pax.get(b"GNU.sparse.realsize", b""), "size of a sparse file")
            entry.size = self._left
        else:
            numbers = _sparse_0(pax)
            entry.real_size = _decimal(pax.get(b"GNU.sparse.size", b""), "size of a sparse file")
        entry.segments = _segments(numbers, entry)

    def _old_sparse(self, block: bytes) -> list[int]:
        numbers, more = _sparse_fields(block[386:482]), block[482] != 0
        while more:
            extension = self._exactly(BLOCK)
            numbers += _sparse_fields(extension[:504])
            more = extension[504] != 0
            _check_segments(len(numbers) // 2)
        return numbers

    def _sparse_1_0(self) -> list[int]:
        """The map is the first content of the file: decimal lines, padded to a block."""
        text, wanted = b"", 1
        while text.count(b"\n") < wanted:
            if self._left < BLOCK or len(text) > 64 * SPARSE_SEGMENTS:
                raise _bad("a sparse file without a whole map")
            text += self._exactly(BLOCK)
            self._left -= BLOCK
            if wanted == 1 and b"\n" in text:
                count = _decimal(text.partition(b"\n")[0], "count of sparse segments")
                _check_segments(count)
                wanted = 1 + 2 * count
        return [_decimal(line, "sparse map") for line in text.split(b"\n")[1:wanted]]


def _bad(what: str) -> LayerError:
    return LayerError(f"not a valid tar archive: {what}", mend="Fetch or make it again.")


def _check_sum(block: bytes) -> None:
    recorded = _number(block[148:156], "checksum")
    if sum(block) - sum(block[148:156]) + 256 == recorded:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    if signed != recorded:  # some old writers summed signed bytes
        raise _bad("a header's checksum is wrong")


def _number(field: bytes, what: str, negative: bool = False) -> int:
    """A numeric field: octal digits, or base 256 where its first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if (value < 0 and not negative) or abs(value) >= 1 << 63:
            raise _bad(f"a {what} out of range")
        return value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        raise _bad(f"a {what} that is no number")
    return int(digits, 8)


def _decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 19 or int(text) >= 1 << 63:
        raise _bad(f"a {what} that is no number in range")
    return int(text)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _ustar_name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), b""
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return prefix + b"/" + name if prefix else name


def _kind(flag: bytes, name: bytes) -> str:
    if flag in _REGULAR:
        return "dir" if flag == b"\0" and name.endswith(b"/") else "file"
    if flag not in _KINDS:
        raise _bad(f"an entry of unknown type {flag!r}")
    return _KINDS[flag]


def _fill(entry: Entry, block: bytes, pax: dict[bytes, bytes]) -> None:
    entry.mode = _number(block[100:108], "mode") & 0o7777
    entry.uid = _decimal(pax[b"uid"], "uid") if b"uid" in pax else _number(block[108:116], "uid")
    entry.gid = _decimal(pax[b"gid"], "gid") if b"gid" in pax else _number(block[116:124], "gid")
    mtime = pax.get(b"mtime")
    entry.mtime_ns = _time(mtime) if mtime else _number(block[136:148], "time", negative=True) * 10**9
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        entry.mtime_ns = 0
    if entry.kind in ("char", "block"):
        entry.major, entry.minor = _number(block[329:337], "major"), _number(block[337:345], "minor")
    if pax:
        entry.xattrs = {key[13:]: value for key, value in pax.items() if key.startswith(b"SCHILY.xattr.")}


def _time(text: bytes) -> int:
    """Nanoseconds of a pax time: decimal seconds, perhaps negative, perhaps with a fraction."""
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise _bad("a time that is no number")
    value = int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -value if text.startswith(b"-") else value


def _check_names(entry: Entry) -> None:
    for name in (entry.name, entry.linkname):
        if len(name) > NAME_LIMIT:
            raise _bad(f"a name of {len(name)} bytes (at most {NAME_LIMIT})")
        if b"\0" in name:
            raise _bad("a name with a NUL in it")


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """``LENGTH KEY=VALUE\\n`` records; the sparse map of format 0.0, whose keys repeat, is joined into one."""
    records: dict[bytes, bytes] = {}
    numbers: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        length = _decimal(data[at:space], "pax record") if space > at else 0
        record = data[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not length or at + length > len(data) or record[-1:] != b"\n" or not equals or not key or b"\0" in key:
            raise _bad("a pax record is damaged")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            numbers.append(value[:-1])
        records[key] = value[:-1]
        at += length
    if numbers:
        records[b"GNU.sparse.map"] = b",".join(numbers)
    return records


def _wants_sparse(flag: bytes, pax: dict[bytes, bytes]) -> bool:
    version = pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")
    return flag == b"S" or (flag in _REGULAR and (b"GNU.sparse.map" in pax or version == (b"1", b"0")))


def _sparse_0(pax: dict[bytes, bytes]) -> list[int]:
    text = pax.get(b"GNU.sparse.map", b"")
    return [_decimal(number, "sparse map") for number in text.split(b",")] if text else []


def _sparse_fields(area: bytes) -> list[int]:
    numbers: list[int] = []
    for at in range(0, len(area), 24):
        if area[at] == 0:
            break
        numbers += [_number(area[at : at + 12], "sparse offset"), _number(area[at + 12 : at + 24], "sparse length")]
    return numbers


def _check_segments(count: int) -> None:
    if count > SPARSE_SEGMENTS:
        raise _bad(f"a sparse file of more than {SPARSE_SEGMENTS} segments")


def _segments(numbers: list[int], entry: Entry) -> list[tuple[int, int]]:
    """The map as pairs, checked: ascending, inside the file, and as long together as the content."""
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in pairs:
        if offset < end or offset + length > entry.real_size:
            raise _bad("a sparse map that does not fit its file")
        end = offset + length
    if len(numbers) % 2 or sum(length for _, length in pairs) != entry.size:
        raise _bad("a sparse map that does not fit its content")
    if entry.real_size > SPARSE_LIMIT:
        raise _bad(f"a sparse file of {entry.real_size} bytes (at most {SPARSE_LIMIT})")
    return pairs
