"""Maps of sparse files in tars: GNU's old form and the pax forms 0.0, 0.1 and 1.0.

https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from jupyter_containers.image.tarheader import Entry, bad, decimal, is_regular, number

SIZE_LIMIT = 1 << 40  # of a sparse file's apparent size
SEGMENTS = 1 << 20


def is_sparse(flag: bytes, pax: dict[bytes, bytes]) -> bool:
    version = pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")
    return flag == b"S" or (is_regular(flag) and (b"GNU.sparse.map" in pax or version == (b"1", b"0")))


def map_0(pax: dict[bytes, bytes]) -> list[int]:
    text = pax.get(b"GNU.sparse.map", b"")
    return [decimal(number, "sparse map") for number in text.split(b",")] if text else []


def fields(area: bytes) -> list[int]:
    numbers: list[int] = []
    for at in range(0, len(area), 24):
        if area[at] == 0:
            break
        numbers += [number(area[at : at + 12], "sparse offset"), number(area[at + 12 : at + 24], "sparse length")]
    return numbers


def check_count(count: int) -> None:
    if count > SEGMENTS:
        raise bad(f"a sparse file of more than {SEGMENTS} segments")


def segments(numbers: list[int], entry: Entry) -> list[tuple[int, int]]:
    """The map as pairs, checked: ascending, inside the file, and as long together as the content."""
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in pairs:
        if offset < end or offset + length > entry.real_size:
            raise bad("a sparse map that does not fit its file")
        end = offset + length
    if len(numbers) % 2 or sum(length for _, length in pairs) != entry.size:
        raise bad("a sparse map that does not fit its content")
    if entry.real_size > SIZE_LIMIT:
        raise bad(f"a sparse file of {entry.real_size} bytes (at most {SIZE_LIMIT})")
    return pairs
