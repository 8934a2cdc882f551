"""ISOLATION 39-74: layers whose links, names and whiteouts reach for files outside.

The cases are those that containerd names in its TestBreakouts, aimed here at a real victim by absolute and relative
paths. Verdict everywhere: the victim is untouched (the ``world`` fixture looks), and the layer is refused with a clean
error or its content lands beneath the layer's own root.
"""

from __future__ import annotations

from pathlib import Path

from layers_kit import World, file, folder, hardlink, header, pax, symlink, tar

PASSWD = (folder("etc", 0o770), file("etc/passwd", b"inside"))


def test_c39_symlink_absolute(world: World) -> None:
    [root] = world.unpack(tar(symlink("local", str(world.victim)), file("local/new", b"x"), file("local/hello", b"y")))
    assert world.inside(root, "new").read_bytes() == b"x"
    assert world.inside(root, "hello").read_bytes() == b"y"


def test_c40_symlink_up_and_out(world: World) -> None:
    [root] = world.unpack(tar(folder("dummy"), symlink("local", f"/dummy/../{world.up}"), file("/local/hello", b"x")))
    assert world.inside(root, "hello").read_bytes() == b"x"


def test_c41_symlink_multiple_absolute(world: World) -> None:
    layer = tar(folder("dummy"), symlink("dummy/v", str(world.victim)), symlink("local", "/dummy/v"),
                file("local/hello", b"x"))  # fmt: skip
    [root] = world.unpack(layer)
    assert world.inside(root, "hello").read_bytes() == b"x"


def test_c42_symlink_multiple_relative(world: World) -> None:
    layer = tar(folder("dummy"), symlink("dummy/v", world.up), symlink("local", "./dummy/v"), file("local/hello", b"x"))
    [root] = world.unpack(layer)
    assert world.inside(root, "hello").read_bytes() == b"x"


def test_c43_symlink_empty_file(world: World) -> None:
    layer = tar(folder("etc"), file("etc/emptied", b"notempty"), symlink("local", "/etc"), file("local/emptied"),
                symlink("etc/hello", str(world.victim / "hello")), file("local/hello"))  # fmt: skip
    [root] = world.unpack(layer)
    assert (root / "etc/emptied").read_bytes() == b""
    assert not (root / "etc/hello").is_symlink()


def same(root: Path, one: str, other: str) -> bool:
    """Whether two names within a layer are one file."""
    left, right = ((root / name).lstat() for name in (one, other))
    return (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)


def test_c44_hardlink_relative(world: World) -> None:
    layer = tar(*PASSWD, folder("out"), symlink("out/d1", "../../etc"), hardlink("out/mine", "/out/d1/passwd"))
    [root] = world.unpack(layer)
    assert same(root, "out/mine", "etc/passwd")
    world.refused(tar(folder("out"), symlink("out/d1", world.up), hardlink("out/mine", "/out/d1/hello")), match="lacks")


def test_c45_hardlink_down_and_out(world: World) -> None:
    layer = tar(*PASSWD, folder("out"), folder("down"), symlink("out/d1", "../down/../../etc"),
                hardlink("out/mine", "out/d1/passwd"))  # fmt: skip
    [root] = world.unpack(layer)
    assert same(root, "out/mine", "etc/passwd")


def test_c46_hardlink_absolute(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, symlink("local", "/etc"), hardlink("mine", "/local/passwd")))
    assert same(root, "mine", "etc/passwd")
    world.refused(tar(symlink("local", str(world.victim)), hardlink("mine", "/local/hello")), match="lacks")


def test_c47_hardlink_relative_long(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, symlink("local", "../" * 30 + "etc"), hardlink("mine", "/local/passwd")))
    assert same(root, "mine", "etc/passwd")


def test_c48_hardlink_relative_up_and_out(world: World) -> None:
    layer = tar(*PASSWD, folder("up"), symlink("local", "up/../../../etc"), hardlink("mine", "/local/passwd"))
    [root] = world.unpack(layer)
    assert same(root, "mine", "etc/passwd")


def test_c49_hardlink_direct_relative(world: World) -> None:
    world.refused(tar(*PASSWD, hardlink("mine", "../../../../../etc/passwd")), match="leaves the layer")
    world.refused(tar(*PASSWD, hardlink("mine", f"{world.up}/hello")), match="leaves the layer")


def test_c50_hardlink_direct_absolute(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, hardlink("mine", "/etc/passwd")))
    assert same(root, "mine", "etc/passwd")
    world.refused(tar(*PASSWD, hardlink("mine", str(world.victim / "hello"))), match="lacks")


def test_c51_symlink_parent_directory(world: World) -> None:
    world.refused(tar(*PASSWD, symlink("..", "/etc/"), hardlink("mine", "/etc/passwd")), match="leaves the root")


def test_c52_symlink_empty_filename(world: World) -> None:
    world.refused(tar(*PASSWD, symlink("", "/etc/")), match="root of the layer would be a symlink")
    world.refused(tar(*PASSWD, symlink("./", str(world.victim))), match="root of the layer would be a symlink")


def test_c53_symlink_parent_relative(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, symlink("local/sub/..", "/etc/"), hardlink("/local/mine", "/etc/passwd")))
    assert same(root, "etc/mine", "etc/passwd")


def test_c54_symlink_slash_ended(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, folder("local/", 0o770), hardlink("/local/mine", "/etc/passwd")))
    assert same(root, "local/mine", "etc/passwd")


def test_c55_symlink_override_directory(world: World) -> None:
    lower = tar(*PASSWD, folder("local"), file("local/old"))
    roots = world.unpack(lower, tar(symlink("local", str(world.victim)), file("local/hello", b"x")))
    assert world.inside(roots[1], "hello").read_bytes() == b"x"
    assert world.merged(roots, f"readlink local; cat .{world.victim}/hello") == f"{world.victim}\nx"


def test_c56_symlink_override_directory_relative(world: World) -> None:
    lower = tar(*PASSWD, folder("local"), file("local/old"))
    roots = world.unpack(lower, tar(symlink("local", world.up), file("local/hello", b"x")))
    assert world.inside(roots[1], "hello").read_bytes() == b"x"


def test_c57_directory_override_symlink(world: World) -> None:
    lower = tar(*PASSWD, symlink("local", str(world.victim)))
    roots = world.unpack(lower, tar(folder("local/"), file("local/hello", b"x")))
    assert (roots[1] / "local/hello").read_bytes() == b"x"
    assert world.merged(roots, "test ! -L local && ls local") == "hello"
    [root] = world.unpack(tar(symlink("local", str(world.victim)), folder("local/"), file("local/hello", b"x")))
    assert (root / "local/hello").read_bytes() == b"x"


def test_c58_directory_override_symlink_and_hardlink(world: World) -> None:
    layer = tar(*PASSWD, symlink("local", "etc"), hardlink("local/mine", "/etc/passwd"), folder("local"),
                file("local/mine", b"different"))  # fmt: skip
    [root] = world.unpack(layer)
    assert not same(root, "local/mine", "etc/passwd")
    assert (root / "etc/passwd").read_bytes() == b"inside"


def test_c59_whiteout_root_parent(world: World) -> None:
    world.refused(tar(*PASSWD), tar(file(".wh...")), match="whiteout of nothing")


def test_c60_whiteout_parent(world: World) -> None:
    world.refused(tar(*PASSWD), tar(file("etc/.wh...")), match="whiteout of nothing")


def test_c61_whiteout_root(world: World) -> None:
    world.refused(tar(*PASSWD), tar(file(".wh..")), match="whiteout of nothing")


def test_c62_whiteout_current_directory(world: World) -> None:
    world.refused(tar(*PASSWD), tar(file("etc/.wh..")), match="whiteout of nothing")


def test_c63_whiteout_symlink(world: World) -> None:
    roots = world.unpack(tar(*PASSWD, symlink("local", str(world.victim))), tar(file(".wh.local")))
    assert world.merged(roots, "ls -A; cat etc/passwd") == "etc\ninside"


def test_c64_whiteout_symlink_path(world: World) -> None:
    lower = tar(*PASSWD, symlink("local", str(world.victim)))
    roots = world.unpack(lower, tar(file("local/.wh.hello")), tar(symlink("to", world.up), file("to/.wh.hello")))
    assert world.merged(roots, "cat etc/passwd; readlink to; ls -A local") == f"inside{world.up}"
    assert world.merged(roots, f"ls -A .{world.victim}") == ""


def test_c65_whiteout_directory_name(world: World) -> None:
    roots = world.unpack(tar(*PASSWD), tar(file(".wh.etc/some", b"full")))
    assert world.merged(roots, "cat etc/passwd .wh.etc/some") == "insidefull"


def test_c66_whiteout_dead_symlink_parent(world: World) -> None:
    roots = world.unpack(tar(*PASSWD, symlink("local", "/dne")), tar(file("local/.wh.etc")))
    assert world.merged(roots, "cat etc/passwd") == "inside"


def test_c67_whiteout_relative_path(world: World) -> None:
    roots = world.unpack(tar(*PASSWD, file("kept")), tar(file("dne/../.wh.etc")))
    assert world.merged(roots, "ls -A") == "kept"
    world.refused(tar(*PASSWD), tar(file(f"{world.up}/.wh.hello")), match="leaves the root")


def test_c68_symlink_override_path(world: World) -> None:
    lower = tar(folder("a"), folder("a/b"), file("a/b/hello", b"old"))
    upper = tar(symlink("a", str(world.victim.parent)), file("a/victim/hello", b"x"), folder("a/victim/sub", 0o700))
    roots = world.unpack(lower, upper)
    assert world.inside(roots[1], "hello").read_bytes() == b"x"


def test_c69_hardlink_symlink_before_create_target(world: World) -> None:
    layer = tar(folder("etc", 0o770), symlink("local", "/etc/passwd"), hardlink("dup", "local"),
                file("etc/passwd", b"after"))  # fmt: skip
    [root] = world.unpack(layer)
    assert (root / "dup").readlink().as_posix() == "/etc/passwd"
    [root] = world.unpack(tar(symlink("l", str(world.victim / "hello")), hardlink("dup", "l"), file("dup", b"x")))
    assert (root / "dup").read_bytes() == b"x"


def test_c70_hardlink_symlink_relative(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, symlink("link", f"{world.up}/hello"), hardlink("mine", "/link", mode=0o777)))
    assert (root / "mine").is_symlink()
    assert same(root, "mine", "link")


def test_c71_hardlink_symlink_absolute(world: World) -> None:
    [root] = world.unpack(tar(*PASSWD, symlink("link", str(world.victim / "hello")), hardlink("mine", "link", uid=7)))
    assert (root / "mine").is_symlink()


def test_c72_hardlink_symlink_chmod(world: World) -> None:
    hello = str(world.victim / "hello")
    world.refused(tar(symlink(hello, "/elsewhere"), hardlink("mine", str(world.victim / "sub/slow"))), match="lacks")
    [root] = world.unpack(tar(symlink("l", hello), hardlink("m", "l", mode=0o777), header("m", b"1", link="l", uid=9)))
    assert (root / "m").is_symlink()


def test_c73_names_that_leave_the_root(world: World) -> None:
    for name in ("../victim/hello", f"{world.up}/hello", "a/../../victim/hello", "../../../../../../../../etc/x"):
        world.refused(tar(file(name, b"x")), match="leaves the root")
        world.refused(tar(folder(name)), match="leaves the root")
        world.refused(tar(symlink(name, "/")), match="leaves the root")
        world.refused(tar(hardlink("mine", name)), match="leaves the layer")
    [root] = world.unpack(tar(file("/../victim/hello", b"x"), file(str(world.victim / "hello"), b"y")))
    assert (root / "victim/hello").read_bytes() == b"x"
    assert world.inside(root, "hello").read_bytes() == b"y"


def test_c73_links_to_read_write_or_remove_the_victim(world: World) -> None:
    hello, folder_ = str(world.victim / "hello"), str(world.victim)
    for way in (hello, f"{world.up}/hello"):
        [root] = world.unpack(tar(symlink("l", way), file("l", b"written through")))
        assert (root / "l").read_bytes() == b"written through"
    for way in (folder_, world.up):
        [root] = world.unpack(tar(symlink("d", way), file("d/hello", b"x"), file("d/.wh.sub"), folder("d")))
        assert (root / "d").is_dir()
        assert not (root / "d").is_symlink()
        world.refused(tar(symlink("d", way), hardlink("mine", "d/hello")), match="lacks")
        [root] = world.unpack(tar(symlink("d", way), file("d/.wh..wh..opq")))
        assert world.inside(root).is_dir()


def test_c74_chmod_and_utime_after_replacement(world: World) -> None:
    """A directory whose metadata is set at the end has become a link meanwhile (CVE-2021-32760, CVE-2024-12718)."""
    way = str(world.victim)
    first = folder("d", 0o777, uid=3, mtime=7)
    [root] = world.unpack(tar(first, symlink("d", way)))
    assert (root / "d").is_symlink()
    [root] = world.unpack(tar(folder("a"), folder("a/b", 0o777, mtime=9), symlink("a", str(world.victim.parent))))
    assert (root / "a").is_symlink()
    [root] = world.unpack(tar(first, symlink("d", way), folder("d/sub", 0o777, mtime=9)))
    assert world.inside(root, "sub").stat().st_mode & 0o7777 == 0o777
    [root] = world.unpack(tar(file("f", mode=0o777), symlink("f", f"{way}/hello"), hardlink("f", "f", mode=0o4777)))
    assert (root / "f").is_symlink()


def test_c74_long_names_by_every_extension(world: World) -> None:
    way = f"{world.up}/hello".encode()
    for prefix in (pax({"path": way}), header("././@LongLink", b"L", len(way)) + way + bytes(-len(way) % 512)):
        world.refused(tar(prefix + file("short", b"x")), match="leaves the root")
    for prefix in (pax({"linkpath": way}), header("././@LongLink", b"K", len(way)) + way + bytes(-len(way) % 512)):
        world.refused(tar(prefix + hardlink("mine", "short")), match="leaves the layer")
    world.refused(tar(file("hello", b"x", tail=b"../../../victim")), match="leaves the root")
