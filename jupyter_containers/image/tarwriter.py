"""Headers of tars that we write: POSIX ustar, with pax records where ustar has no room.

Pure and deterministic: the same :class:`Entry` gives the same bytes. The forms are those that Go's ``archive/tar``
(so docker, podman, skopeo), GNU tar and bsdtar read: ``SCHILY.xattr.*`` for attributes, GNU's sparse format 1.0.
Names and links are bytes and stay what they are. Not here: what is packed (``pack``, ``save``).
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
https://www.gnu.org/software/tar/manual/html_node/PAX-1.html
"""

from __future__ import annotations

from jupyter_containers.errors import LayerError
from jupyter_containers.image.tarheader import BLOCK, NAME_LIMIT, Entry

END = bytes(2 * BLOCK)
RECORDS_LIMIT = 1 << 20  # of one pax header: more than that no reader takes (Go's limit and ours)

_FLAGS = {"file": b"0", "link": b"1", "symlink": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6"}
_SMALL, _LARGE = 8**7, 8**11  # what 7 and 11 octal digits can't hold


def header(entry: Entry) -> bytes:
    """All that stands before the content of *entry*; for a sparse file, its map too.

    Of a sparse file (``segments``), the content is the bytes of its segments in a row.

    Raises:
        LayerError: its name or attributes are longer than any reader takes.
    """
    name = entry.name + b"/" if entry.kind == "dir" and not entry.name.endswith(b"/") else entry.name
    if max(len(name), len(entry.linkname)) > NAME_LIMIT:
        raise LayerError(f"its name is longer than {NAME_LIMIT} bytes", f"entry {name[:60]!r}")
    records = _records(entry, name)
    chart = b""
    if entry.segments is not None:
        chart = _chart(entry.segments)
        records |= _sparse_records(entry, name)
        name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
    size = (len(chart) + entry.size) if entry.kind == "file" else 0
    if size >= _LARGE:
        records[b"size"] = b"%d" % size
    return _pax(records, name) + _block(entry, name, size) + chart


def padding(size: int) -> bytes:
    """What follows *size* bytes of content."""
    return bytes(-size % BLOCK)


def content_size(entry: Entry) -> int:
    """Bytes of content after the header, without padding (the map of a sparse file is whole blocks)."""
    return entry.size if entry.kind == "file" else 0


def plain(name: str, size: int, mode: int = 0o644) -> Entry:
    """A file as archives of images have them: of nobody in particular, made at no time."""
    entry = Entry(name.encode(), "file")
    entry.size, entry.real_size, entry.mode = size, size, mode
    return entry


def folder(name: str) -> Entry:
    """A directory as archives of images have them."""
    entry = Entry(name.encode(), "dir")
    entry.mode = 0o755
    return entry


# --- records ---


def _records(entry: Entry, name: bytes) -> dict[bytes, bytes]:
    """What ustar cannot say of *entry*."""
    records: dict[bytes, bytes] = {}
    if _needs_record(name):
        records[b"path"] = name
    if _needs_record(entry.linkname):
        records[b"linkpath"] = entry.linkname
    for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if value >= _SMALL:
            records[key] = b"%d" % value
    seconds, rest = divmod(entry.mtime_ns, 10**9)
    if rest or not 0 <= seconds < _LARGE:
        records[b"mtime"] = _time(entry.mtime_ns)
    records |= {b"SCHILY.xattr." + key: value for key, value in sorted(entry.xattrs.items())}
    return records


def _needs_record(name: bytes) -> bool:
    return len(name) > 100 or not name.isascii()


def _time(nanoseconds: int) -> bytes:
    """Decimal seconds; before 1970 with the sign in front of all of it."""
    whole, rest = divmod(abs(nanoseconds), 10**9)
    text = b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", whole, rest)
    return text.rstrip(b"0").rstrip(b".")


def _pax(records: dict[bytes, bytes], name: bytes) -> bytes:
    if not records:
        return b""
    data = b"".join(_record(key, value) for key, value in records.items())
    if len(data) > RECORDS_LIMIT:
        raise LayerError(f"its attributes take more than {RECORDS_LIMIT} bytes", f"entry {name[:60]!r}")
    entry = Entry(b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2], "file")
    entry.mode = 0o644
    return _block(entry, entry.name, len(data), b"x") + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where LENGTH counts itself."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while length != len(b"%d" % length) + len(rest):
        length = len(b"%d" % length) + len(rest)
    return b"%d%s" % (length, rest)


# --- sparse files ---


def _chart(segments: list[tuple[int, int]]) -> bytes:
    numbers = [len(segments), *(number for pair in segments for number in pair)]
    data = b"".join(b"%d\n" % number for number in numbers)
    return data + padding(len(data))


def _sparse_records(entry: Entry, name: bytes) -> dict[bytes, bytes]:
    return {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % entry.real_size,
    }


# --- the block ---


def _block(entry: Entry, name: bytes, size: int, flag: bytes = b"") -> bytes:
    """One header block; what does not fit stands in the records before it and is cut or zero here."""
    seconds = entry.mtime_ns // 10**9
    block = bytearray(BLOCK)
    block[0:100] = _cut(name)
    block[100:108] = b"%07o\0" % entry.mode
    block[108:116] = b"%07o\0" % (entry.uid if entry.uid < _SMALL else 0)
    block[116:124] = b"%07o\0" % (entry.gid if entry.gid < _SMALL else 0)
    block[124:136] = b"%011o\0" % (size if size < _LARGE else 0)
    block[136:148] = b"%011o\0" % (seconds if 0 <= seconds < _LARGE else 0)
    block[148:156] = b" " * 8
    block[156:157] = flag or _FLAGS[entry.kind]
    block[157:257] = _cut(entry.linkname)
    block[257:265] = b"ustar\00000"
    block[329:337] = b"%07o\0" % entry.major
    block[337:345] = b"%07o\0" % entry.minor
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _cut(name: bytes) -> bytes:
    return bytes(byte if byte < 128 else 63 for byte in name[:100]).ljust(100, b"\0")
