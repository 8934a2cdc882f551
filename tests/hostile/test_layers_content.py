"""ISOLATION 75-81: what is in a layer or around it: metadata, devices, attributes, bombs, damage.

Verdict everywhere: the victim is untouched, memory and disk stay bounded, and the layer is refused with a clean error
or its content is contained. The ``world`` fixture looks after the victim and after what is left in the store.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import subprocess
import time
import zlib
from pathlib import Path

import pytest
import zstandard
from layers_kit import (
    AS_USER,
    END,
    World,
    device,
    file,
    folder,
    hardlink,
    header,
    image_of,
    number,
    pad,
    pax,
    symlink,
    tar,
)

from jupyter_containers.errors import DigestMismatch, LayerError, StorageFull
from jupyter_containers.image import digest

DEEP = "d" * 250


# --- 75: what Python's own filters let through ---


def test_c75_a_path_longer_than_the_kernel_resolves(world: World) -> None:
    """CVE-2025-4517: realpath gives up beyond PATH_MAX, then a link leads out."""
    members, at = [], ""
    for letter in "abcdefghijklmnop":
        members += [pax({"path": f"{at}{DEEP}".encode()}) + folder("x"),
                    pax({"path": f"{at}{letter}".encode()}) + symlink("x", DEEP)]  # fmt: skip
        at += f"{letter}/"
    chain = "/".join("abcdefghijklmnop")
    escape = f"{chain}/{'l' * 254}"
    members += [pax({"path": escape.encode()}) + symlink("x", "../" * 16), symlink("escape", f"{escape}/{world.up}")]
    [root] = world.unpack(tar(*members, file("escape/hello", b"x")))
    assert world.inside(root, "hello").read_bytes() == b"x"


def test_c75_a_link_to_a_link_that_becomes_another(world: World) -> None:
    """CVE-2025-4330, CVE-2025-4138: links checked before others replaced what they lead through."""
    layer = tar(folder("a"), folder("a/b"), symlink("a/b/up", "../.."), symlink("out", f"a/b/up/{world.up}"),
                symlink("a/b", "/"), file("out/hello", b"x"))  # fmt: skip
    [root] = world.unpack(layer)
    assert world.inside(root, "hello").read_bytes() == b"x"


def test_c75_a_negative_size_does_not_loop(world: World) -> None:
    """CVE-2025-8194: a negative size made tarfile read the same header for ever."""
    began = time.monotonic()
    for size in (number(-512, 12), number(-1, 12), b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000001000\0", b"7" * 12):
        world.refused(tar(header("f", size_field=size)) + bytes(4096))
    for size in (b"-512", b"-1", b"99999999999999999999", b"1e3", b"", b"0x10"):
        world.refused(tar(pax({"size": size}) + file("f", b"x")))
    assert time.monotonic() - began < 20


def test_c75_links_in_a_circle(world: World) -> None:
    circle = (symlink("a", "b"), symlink("b", "a"), symlink("self", "self/self"))
    for name in ("a/x", "self/x"):
        world.refused(tar(*circle, file(name)), match="too many levels of symbolic links")
    chain = [symlink(f"l{i}", f"l{i + 1}") for i in range(60)]
    world.refused(tar(*chain, file("l0/x")), match="too many levels of symbolic links")


# --- 76: overlayfs' own marks ---


def test_c76_an_opaque_directory_hides_what_is_below(world: World) -> None:
    lower = tar(folder("d"), file("d/old"), folder("d/sub"), file("d/sub/old"))
    roots = world.unpack(lower, tar(folder("d"), file("d/.wh..wh..opq"), file("d/new"), file("d/.wh.old")))
    assert world.merged(roots, "ls -A d") == "new"


def test_c76_a_whiteout_spares_what_its_own_layer_has(world: World) -> None:
    lower = tar(folder("d"), file("d/old"), file("f", b"old"))
    for upper in (tar(file(".wh.f"), file("f", b"new"), file(".wh.d"), folder("d"), file("d/new")),
                  tar(folder("d"), file("d/new"), file(".wh.d"), file("f", b"new"), file(".wh.f"))):  # fmt: skip
        roots = world.unpack(lower, upper)
        assert world.merged(roots, "cat f; ls -A d") == "newnew"
        assert world.merged(roots, "ls -A") == "d\nf"


def test_c76_a_whiteout_of_a_directory_and_something_new_in_it(world: World) -> None:
    lower = tar(folder("d"), file("d/old"), folder("d/e"), file("d/e/old"))
    roots = world.unpack(lower, tar(file(".wh.d"), file("d/e/new")))
    assert world.merged(roots, "find d -type f") == "d/e/new"


def test_c76_whiteouts_of_nothing_leave_no_ghosts(world: World) -> None:
    roots = world.unpack(tar(folder("d"), file("d/.wh.never")), tar(folder("e"), file("e/.wh.never"), file("e/f")))
    assert world.merged(roots, "find d e") == "d\ne\ne/f"


def test_c76_aufs_bookkeeping_is_left_out(world: World) -> None:
    layer = tar(folder(".wh..wh.plnk"), file(".wh..wh.aufs", b"x"), folder("d"), folder("d/.wh..wh.orph"), file("f"))
    assert set(world.skipped(layer)) == {".wh..wh.plnk", ".wh..wh.aufs", "d/.wh..wh.orph"}


def test_c76_a_device_0_0_is_no_whiteout(world: World) -> None:
    roots = world.unpack(tar(file("f", b"old")), tar(device("f", b"3", 0, 0)))
    assert world.merged(roots, "cat f") == "old"


@pytest.mark.parametrize("space", ["trusted.overlay.", "user.overlay."])
def test_c76_overlay_attributes_in_a_layer_mean_nothing(world: World, space: str) -> None:
    lower = tar(folder("d"), file("d/old", b"old"), file("secret", b"secret"))
    names = {"opaque": b"y", "redirect": b"/secret", "metacopy": b"", "whiteout": b"", "origin": b"x"}
    marks = {f"SCHILY.xattr.{space}{name}": value for name, value in names.items()}
    upper = tar(pax(marks) + folder("d"), pax(marks) + file("d/f", b"new"))
    roots = world.unpack(lower, upper)
    assert world.merged(roots, "ls -A d; cat d/f") == "f\nold\nnew"
    assert [name for name in os.listxattr(roots[1] / "d/f") if "overlay" in name] == []
    assert "is not for layers" in world.skipped(upper)["d"]


# --- 77: device nodes, pipes ---


def test_c77_devices_are_made_by_root_only(world: World) -> None:
    layer = tar(device("null", b"3", 1, 3), device("disk", b"4", 254, 0), header("pipe", b"6"), file("f"))
    [root] = world.unpack(layer)
    assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)
    if world.owners == "root":
        assert (root / "null").lstat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISBLK((root / "disk").lstat().st_mode)
    else:
        assert sorted(path.name for path in root.iterdir()) == ["f", "pipe"]
        assert world.skipped(layer) == {"null": "devices need root", "disk": "devices need root"}


@pytest.mark.parametrize("numbers", [(4096, 0), (0, 1 << 20), (1 << 31, 1 << 31), (1 << 40, 1)])
def test_c77_device_numbers_out_of_range(world: World, numbers: tuple[int, int]) -> None:
    world.refused(tar(device("dev", b"3", *numbers)), match="out of range")


def test_c77_what_tar_does_not_know(world: World) -> None:
    for flag in (b"V", b"M", b"D", b"8", b"9", b"Z", b"\xff"):
        world.refused(tar(header("f", flag)), match="unknown type")


def test_c77_a_pipe_or_device_in_the_way_is_replaced_not_opened(world: World) -> None:
    [root] = world.unpack(tar(header("p", b"6"), file("p", b"x"), header("q", b"6"), folder("q"), file("q/f")))
    assert (root / "p").read_bytes() == b"x"
    world.refused(tar(header("p", b"6"), file("p/below")), match="not a directory")
    world.refused(tar(file("p"), file("p/below")), match="not a directory")


# --- 78: setuid files ---


def test_c78_setuid_files_keep_their_bit_and_are_for_nobody_else(world: World) -> None:
    [root] = world.unpack(tar(file("su", b"#!/bin/sh\n", mode=0o4755), file("g", mode=0o2755), folder("t", 0o1777)))
    assert [(root / name).stat().st_mode & 0o7777 for name in ("su", "g", "t")] == [0o4755, 0o2755, 0o1777]
    assert (world.base / "home").stat().st_mode & 0o7777 == 0o700
    if AS_USER:
        argv = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "cat", str(root / "su")]
        assert subprocess.run(argv, capture_output=True, check=False).returncode != 0


def test_c78_the_store_is_closed_again_when_somebody_opened_it(world: World) -> None:
    from jupyter_containers.image.store import ImageStore

    (world.base / "home").chmod(0o755)
    ImageStore(world.base / "home", world.owners, world.unshare)
    assert (world.base / "home").stat().st_mode & 0o7777 == 0o700


# --- 79: attributes ---


def test_c79_attributes_are_kept_or_filtered(world: World) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    marks = {"user.mine": b"a\0b", "user.empty": b"", "security.capability": capability, "security.selinux": b"x",
             "security.ima": b"x", "trusted.mine": b"x", "system.posix_acl_access": b"x",
             "user.containers.override_stat": b"0:0:0o4755", "user.overlay.opaque": b"y"}  # fmt: skip
    layer = tar(pax({f"SCHILY.xattr.{name}": value for name, value in marks.items()}) + file("f", mode=0o755))
    [root] = world.unpack(layer)
    assert set(os.listxattr(root / "f")) == {"user.mine", "user.empty", "security.capability"}
    assert os.getxattr(root / "f", "user.mine") == b"a\0b"


def test_c79_damaged_attribute_names(world: World) -> None:
    world.refused(tar(pax({"SCHILY.xattr.user.a\0b": b"x"}) + file("f")), match="pax record")
    long = tar(pax({"SCHILY.xattr.user." + "n" * 300: b"x", "SCHILY.xattr.user.big": bytes(70_000)}) + file("f"))
    assert set(world.skipped(long)) == {"f"}
    world.refused(tar(pax({"path": b"a\0b"}) + file("f")), match="NUL")


def test_c79_attributes_of_links_never_reach_their_targets(world: World) -> None:
    layer = tar(pax({"SCHILY.xattr.user.x": b"1"}) + symlink("l", str(world.victim / "hello")),
                pax({"SCHILY.xattr.user.x": b"1"}) + hardlink("m", "l"))  # fmt: skip
    world.unpack(layer)


# --- 80: bombs ---


def bomb(kind: str, megabytes: int) -> bytes:
    """A compressed tar with one file of zeros, made without holding it."""
    makers = {
        "gzip": lambda: zlib.compressobj(9, wbits=31),
        "xz": lzma.LZMACompressor,
        "zstd": lambda: zstandard.ZstdCompressor(level=19).compressobj(),
    }
    packer = makers[kind]()
    chunk, parts = bytes(1 << 20), [packer.compress(header("zeros", size=megabytes << 20))]
    parts += [packer.compress(chunk) for _ in range(megabytes)]
    return b"".join([*parts, packer.compress(END), packer.flush()])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
def test_c80_a_bomb_is_refused_by_its_ratio(world: World, kind: str) -> None:
    world.store.unpacked.limits["ratio_floor"] = 32 << 20
    blob = bomb(kind, 100)
    assert len(blob) < 200 << 10
    with pytest.raises(LayerError, match="decompression bomb"):
        world.unpack(blob, diff_ids=["sha256:" + 64 * "0"])


def test_c80_nested_compression_is_not_unpacked(world: World) -> None:
    nested = gzip.compress(gzip.compress(tar(file("f"))))
    with pytest.raises(LayerError, match="not a valid tar"):
        world.unpack(nested, diff_ids=[digest.of(gzip.decompress(nested))])


def test_c80_a_window_of_two_gibibytes(world: World) -> None:
    params = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=params).compressobj()
    blob = packer.compress(tar(file("f"))) + packer.flush()
    with pytest.raises(LayerError, match="zstd"):
        world.unpack(blob, diff_ids=[digest.of(tar(file("f")))])


def test_c80_sparse_files_that_claim_too_much(world: World) -> None:
    claim = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"big"}
    for size in (b"9223372036854775807", str(1 << 50).encode()):
        content = pad(b"1\n0\n1\n") + pad(b"x")
        world.refused(
            tar(pax({**claim, "GNU.sparse.realsize": size}) + header("x", size=513) + content), match="sparse"
        )
    gnu = b"".join([bytes(41), number(0, 12), number(1, 12), bytes(72), b"\0", number((1 << 63) - 1, 12)])
    world.refused(tar(header("big", b"S", size=1, magic=b"ustar  \0", tail=gnu) + pad(b"x")), match="sparse")
    world.refused(
        tar(pax({**claim, "GNU.sparse.realsize": b"9"}) + header("x", size=512) + pad(b"9" * 30)),
        match="sparse segments",
    )


def test_c80_a_sparse_map_of_a_million_segments_is_read_once(world: World) -> None:
    claim = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"9"}
    content = pad(b"1048576\n" + b"0\n" * 1_900_000)
    began = time.monotonic()
    world.refused(tar(pax(claim) + header("x", size=len(content)) + content), match="whole map")
    assert time.monotonic() - began < 10


def test_c80_a_sparse_file_takes_no_room(world: World) -> None:
    gnu = b"".join([bytes(41), number(1 << 33, 12), number(2, 12), bytes(72), b"\0", number((1 << 33) + 2, 12)])
    [root] = world.unpack(tar(header("big", b"S", size=2, magic=b"ustar  \0", tail=gnu) + pad(b"ab"), file("f", b"x")))
    status = (root / "big").stat()
    assert (status.st_size, (root / "f").read_bytes()) == ((1 << 33) + 2, b"x")
    assert status.st_blocks * 512 < 1 << 20


def test_c80_more_content_than_the_disk_has_room_for(world: World) -> None:
    with pytest.raises(StorageFull, match="Free some space"):
        world.unpack(header("big", size=1 << 50) + bytes(4096))


def test_c80_names_and_headers_are_bounded(world: World) -> None:
    world.refused(tar(pax({"path": b"a/" * 3000}) + file("f")), match="a name of 6000 bytes")
    world.refused(tar(pax({"path": b"a" * 256}) + file("f")), match="file name too long")
    world.refused(tar(header("x", b"x", size=1 << 30)), match="extended header")
    world.refused(tar(header("././@LongLink", b"L", size=1 << 40)), match="extended header")


def test_c80_a_tree_deeper_than_any_path(world: World) -> None:
    members: list[bytes] = []
    for step in range(6):
        members += [pax({"path": (f"s{step}/" if step else "").encode() + b"d/" * 900}) + folder("x")]
        members += [symlink(f"s{step + 1}", (f"s{step}/" if step else "") + "d/" * 900)]
    [root] = world.unpack(tar(*members))
    world.store.unpacked.remove([digest.of(tar(*members))])
    assert not root.exists()


# --- 81: damage ---


def test_c81_damaged_tars(world: World) -> None:
    good = tar(file("f", b"x" * 600), file("g"))
    for cut in (100, 512, 513, 1000, 1200):
        if cut != 512:
            world.refused(good[:cut], match="not a valid tar")
    flipped = bytearray(good)
    flipped[5] ^= 1
    world.refused(bytes(flipped), match="checksum")
    world.refused(file("f") + bytes(512) + file("g") + END, match="single block of zeros")
    world.refused(b"this is no tar at all" * 100, match="not a valid tar")
    world.refused(pax({"path": b"x"}) + END, match="extended header")


def test_c81_trailing_data_belongs_to_the_digest(world: World) -> None:
    layer = tar(file("f", b"x")) + b"trailing" * 1000
    [root] = world.unpack(layer)
    assert (root / "f").read_bytes() == b"x"
    with pytest.raises(DigestMismatch, match="diff id"):
        world.unpack(gzip.compress(layer), diff_ids=[digest.of(tar(file("f", b"x")))])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
def test_c81_members_in_a_row_are_one_layer(world: World, kind: str) -> None:
    pack = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.ZstdCompressor().compress}[kind]
    layer = tar(file("f", b"x" * 5000), file("g", b"y"))
    for step in (512, 700, 3000, len(layer)):
        blob = b"".join(pack(layer[at : at + step]) for at in range(0, len(layer), step))
        [root] = world.unpack(blob, diff_ids=[digest.of(layer)])
        assert (root / "g").read_bytes() == b"y"
        world.store.unpacked.remove([digest.of(layer)])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz"])
def test_c81_damaged_compression(world: World, kind: str) -> None:
    pack = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.ZstdCompressor().compress}[kind]
    layer = tar(file("f", os.urandom(5000)))
    blob, diff = pack(layer), [digest.of(layer)]
    for damaged in (blob[:-1], blob[: len(blob) // 2], blob + b"garbage after the end", blob[:-5] + b"\0\1\2\3\4"):
        if kind == "zstd" and damaged == blob[:-5] + b"\0\1\2\3\4":
            continue  # this writer adds no checksum: the diff id finds it
        with pytest.raises(LayerError, match=kind):
            world.unpack(damaged, diff_ids=diff)
    flipped = bytearray(blob)
    flipped[len(blob) // 2] ^= 0xFF
    with pytest.raises((LayerError, DigestMismatch)):
        world.unpack(bytes(flipped), diff_ids=diff)


def test_c81_a_layer_that_is_not_its_diff_id(world: World) -> None:
    layer = tar(file("f", b"x"))
    for blob in (layer, gzip.compress(layer)):
        with pytest.raises(DigestMismatch, match="instead of"):
            world.unpack(blob, diff_ids=["sha256:" + 64 * "a"])


def test_c81_a_blob_that_changed_on_the_disk(world: World) -> None:
    layer = tar(file("f", b"content"))
    image = image_of(world.store, layer)
    path = world.store.layout.path(digest.of(layer))
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(DigestMismatch):
        world.store.layers(image)
    with pytest.raises(DigestMismatch), world.store.open_blob(digest.of(layer)) as blob:
        blob.read()
    path.write_bytes(layer[:600])
    with pytest.raises((DigestMismatch, LayerError)):
        world.store.layers(image)
    path.write_bytes(layer)


def test_owners_and_modes_are_kept_or_recorded(world: World) -> None:
    layer = tar(folder("d", 0o2770, uid=5, gid=6), file("d/f", b"x", mode=0o4711, uid=1000, gid=65534),
                file("mine", mode=0o600), symlink("l", "mine"))  # fmt: skip
    [root] = world.unpack(layer)
    status = (root / "d/f").stat()
    assert status.st_mode & 0o7777 == 0o4711
    if world.owners != "rootless-single":
        assert (status.st_uid, status.st_gid) == (world.uid + 1000, world.uid + 65534)
        assert ((root / "d").stat().st_uid, (root / "d").stat().st_gid) == (world.uid + 5, world.uid + 6)
        assert "user.containers.override_stat" not in os.listxattr(root / "d/f")
    else:
        assert status.st_uid == world.uid
        assert os.getxattr(root / "d/f", "user.containers.override_stat") == b"1000:65534:0o4711"
        assert os.getxattr(root / "d", "user.containers.override_stat") == b"5:6:0o2770"
        assert "user.containers.override_stat" not in os.listxattr(root / "mine")
    assert (root / "mine").stat().st_gid == root.stat().st_gid


def test_implied_directories_keep_what_is_below(world: World) -> None:
    lower = tar(folder("tmp", 0o1777), pax({"SCHILY.xattr.user.a": b"1"}) + folder("d", 0o700, uid=3, gid=4, mtime=99))
    roots = world.unpack(lower, tar(file("tmp/f"), file("d/e/f")), tar(file("d/e/g")))
    assert world.merged(roots, "stat -c '%a %Y' tmp d") == "1777 1\n700 99"
    assert os.getxattr(roots[2] / "d", "user.a") == b"1"


def test_times_are_exact_also_of_directories(world: World) -> None:
    layer = tar(pax({"mtime": b"1234567890.123456789"}) + folder("d"), pax({"mtime": b"-5.5"}) + file("d/f"),
                file("d/g", mtime=7), symlink("l", "d"))  # fmt: skip
    [root] = world.unpack(layer)
    times = [Path(root, name).lstat().st_mtime_ns for name in ("d", "d/f", "d/g", "l")]
    assert times == [1234567890123456789, -5500000000, 7 * 10**9, 10**9]


def test_owners_beyond_the_mapped_ids_are_an_error_with_a_mend(world: World) -> None:
    layer = tar(file("f", uid=70_000))
    if world.owners == "rootless":
        world.refused(layer, match="owner 70000:0 is beyond the ids .* /etc/subuid")
    else:
        world.unpack(layer)
    for owner in ({"uid": 1 << 40}, {"gid": 0xFFFFFFFF}, {"uid": (1 << 56) - 1}):
        world.refused(tar(file("f", **owner)), match="out of range")


def test_what_was_replaced_takes_no_metadata_along(world: World) -> None:
    layer = tar(folder("a", 0o700), folder("a/b", 0o700, mtime=5), file("a"), folder("a", 0o711), file("a/b/f"))
    [root] = world.unpack(layer)
    assert (root / "a").stat().st_mode & 0o777 == 0o711
    assert (root / "a/b/f").is_file()


def test_many_replacements_take_no_longer_than_many_files(world: World) -> None:
    members = [folder(f"d/{n}") for n in range(3000)]
    members += [part for n in range(3000) for part in (folder("x"), file("x"))]
    began = time.monotonic()
    world.unpack(tar(*members))
    assert time.monotonic() - began < 15
