"""One header block of a tar, and pax records: numbers, names and kinds, each bounded where it is read.

Pure: bytes in, :class:`Entry` out. The order of blocks is ``tarstream``'s, maps of sparse files are ``tarsparse``'s.

https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

from jupyter_containers.errors import LayerError

BLOCK = 512
NAME_LIMIT = 4096  # PATH_MAX

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


def entry_of(block: bytes, pax: dict[bytes, bytes], name: bytes = b"") -> Entry:
    """The entry that a header block and the extended headers before it describe; *name* overrides theirs."""
    flag = block[156:157]
    name = name or pax.get(b"path") or _ustar_name(block)
    entry = Entry(name, _kind(flag, name))
    entry.linkname = pax.get(b"linkpath") or _text(block[157:257])
    _fill(entry, block, pax)
    if flag not in _HEADER_ONLY:
        entry.size = decimal(pax[b"size"], "size") if b"size" in pax else number(block[124:136], "size")
    entry.real_size = entry.size
    _check_names(entry)
    return entry


def is_regular(flag: bytes) -> bool:
    """Whether a type flag is one of a file."""
    return flag in _REGULAR


def bad(what: str) -> LayerError:
    return LayerError(f"not a valid tar archive: {what}", mend="Fetch or make it again.")


def check_sum(block: bytes) -> None:
    recorded = number(block[148:156], "checksum")
    if sum(block) - sum(block[148:156]) + 256 == recorded:
        return
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    if signed != recorded:  # some old writers summed signed bytes
        raise bad("a header's checksum is wrong")


def number(field: bytes, what: str, negative: bool = False) -> int:
    """A numeric field: octal digits, or base 256 where its first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if (value < 0 and not negative) or abs(value) >= 1 << 63:
            raise bad(f"a {what} out of range")
        return value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        raise bad(f"a {what} that is no number")
    return int(digits, 8)


def decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 19 or int(text) >= 1 << 63:
        raise bad(f"a {what} that is no number in range")
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
        raise bad(f"an entry of unknown type {flag!r}")
    return _KINDS[flag]


def _fill(entry: Entry, block: bytes, pax: dict[bytes, bytes]) -> None:
    entry.mode = number(block[100:108], "mode") & 0o7777
    entry.uid = decimal(pax[b"uid"], "uid") if b"uid" in pax else number(block[108:116], "uid")
    entry.gid = decimal(pax[b"gid"], "gid") if b"gid" in pax else number(block[116:124], "gid")
    mtime = pax.get(b"mtime")
    entry.mtime_ns = _time(mtime) if mtime else number(block[136:148], "time", negative=True) * 10**9
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        entry.mtime_ns = 0
    if entry.kind in ("char", "block"):
        entry.major, entry.minor = number(block[329:337], "major"), number(block[337:345], "minor")
    if pax:
        entry.xattrs = {key[13:]: value for key, value in pax.items() if key.startswith(b"SCHILY.xattr.")}


def _time(text: bytes) -> int:
    """Nanoseconds of a pax time: decimal seconds, perhaps negative, perhaps with a fraction."""
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise bad("a time that is no number")
    value = int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -value if text.startswith(b"-") else value


def _check_names(entry: Entry) -> None:
    for name in (entry.name, entry.linkname):
        if len(name) > NAME_LIMIT:
            raise bad(f"a name of {len(name)} bytes (at most {NAME_LIMIT})")
        if b"\0" in name:
            raise bad("a name with a NUL in it")


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """``LENGTH KEY=VALUE\\n`` records; the sparse map of format 0.0, whose keys repeat, is joined into one."""
    records: dict[bytes, bytes] = {}
    numbers: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        length = decimal(data[at:space], "pax record") if space > at else 0
        record = data[space + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not length or at + length > len(data) or record[-1:] != b"\n" or not equals or not key or b"\0" in key:
            raise bad("a pax record is damaged")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            numbers.append(value[:-1])
        records[key] = value[:-1]
        at += length
    if numbers:
        records[b"GNU.sparse.map"] = b",".join(numbers)
    return records
