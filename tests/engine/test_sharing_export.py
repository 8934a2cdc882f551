"""``export`` and ``import`` on every rung: the root of a running and of a stopped container, and the way back."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import dockerd as docker_rig
from tests.rigs import engines
from tests.rigs.users import User

_TREE = """
mkdir -p /d/e /d/gone; echo hi >/d/f; ln /d/f /d/g; ln -s ../f /d/e/s; chmod 4755 /d/f; chmod 1777 /d/e
rm /etc/group; rm -r /d/gone; truncate -s 20M /d/sparse; echo x | dd of=/d/sparse bs=1 seek=9000000 conv=notrunc 2>/dev/null
mkfifo -m 640 /d/pipe; touch -d '2001-02-03 04:05:06' /d/f; chown 5:6 /d/e; echo n >"/d/ünï $(printf 'x%.0s' $(seq 120))"
mkdir /run; echo ready >/run/ready
"""
_WAIT = _TREE + "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def _entries(data: bytes) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            kind = entry.type.decode().replace("\0", "0").replace("S", "0")
            row = [kind, oct(entry.mode & 0o7777), entry.uid, entry.gid, entry.size, entry.linkname, digest]
            found[entry.name.rstrip("/")] = row
    return found


def _start(engine: Any, script: str, **options: Any) -> Any:
    container = engine.containers.create(engines.BUSYBOX, ["sh", "-c", script], **options)
    container.start()
    end = time.monotonic() + 20
    while b"ready" not in b"".join(container.export()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return container


# --- what each test does as its user ---


def _running_and_stopped() -> dict[str, Any]:
    from jupyter_containers import from_env

    engine = from_env()
    container = _start(engine, _WAIT)
    try:
        running = b"".join(container.export())
        paused = _paused(container) if engine.runtime.has_cgroup else running
        container.stop()
        stopped = b"".join(container.export(chunk_size=1000))
    finally:
        container.remove(force=True)
    return {"same": running == paused == stopped, "entries": _entries(stopped), "size": len(stopped)}


def _paused(container: Any) -> bytes:
    container.pause()
    try:
        return b"".join(container.export())
    finally:
        container.unpause()


def test_the_root_of_a_running_and_of_a_stopped_container(as_user: User, leak_watch: None) -> None:
    found = as_user.call(_running_and_stopped)
    entries = found["entries"]
    assert found["same"]
    assert entries["d/f"][:2] == ["0", "0o4755"]
    assert entries["d/g"] == ["1", "0o4755", *entries["d/f"][2:4], 0, "d/f", ""]
    assert (entries["d/e/s"][5], entries["d/pipe"][:2]) == ("../f", ["6", "0o640"])
    assert entries["d/e"][:4] == ["5", "0o1777", *([5, 6] if as_user.kind != "nosubids" else [0, 0])]
    assert entries["d/sparse"][4] == 20 << 20
    assert found["size"] < 8 << 20
    assert any(name.startswith("d/ünï") for name in entries)
    assert not {"etc/group", "d/gone"} & set(entries)
    assert not [name for name in entries if name.startswith(("proc/", "sys/", "dev/"))]


def _round_trip() -> list[bool]:
    from jupyter_containers import from_env

    engine = from_env()
    container = engine.containers.create(engines.BUSYBOX, ["sh", "-c", _TREE])
    container.start()
    container.wait()
    first = b"".join(container.export())
    image = engine.images.import_image(io.BytesIO(first), "again", "1", changes=['CMD ["true"]'])
    other = engine.containers.create("again:1")
    try:
        return [
            first == b"".join(other.export()),
            hashlib.sha256(first).hexdigest() == image.attrs["RootFS"]["Layers"][0][7:],
        ]
    finally:
        other.remove()
        container.remove()
        engine.images.remove("again:1")


def test_what_is_exported_and_imported_is_exported_the_same(as_user: User, leak_watch: None) -> None:
    assert as_user.call(_round_trip) == [True, True]


def _owners_of_the_image() -> dict[str, Any]:
    """An image whose files have owners: on ``rootless-single`` they are only recorded."""
    from jupyter_containers import from_env

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, uid, gid in (("f", 1000, 100), ("d", 33, 44)):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if name == "d" else tarfile.REGTYPE
            entry.uid, entry.gid, entry.mode = uid, gid, 0o2750
            entry.pax_headers = {"SCHILY.xattr.user.note": "kept"}
            tar.addfile(entry)
    engine = from_env()
    engine.images.import_image(io.BytesIO(out.getvalue()), "owned", "1", changes=['CMD ["true"]'])
    container = engine.containers.create("owned:1")
    try:
        data = b"".join(container.export())
    finally:
        container.remove()
        engine.images.remove("owned:1")
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        notes = [entry.pax_headers.get("SCHILY.xattr.user.note") for entry in found if entry.name in ("f", "d")]
    return {"entries": {name: row[1:4] for name, row in _entries(data).items()}, "notes": notes}


def test_owners_modes_and_attributes_are_kept_for_every_user(as_user: User) -> None:
    found = as_user.call(_owners_of_the_image)
    assert found["entries"]["f"] == ["0o2750", 1000, 100]
    assert found["entries"]["d"] == ["0o2750", 33, 44]
    assert found["notes"] == ["kept", "kept"]


def _hostile(volume: str) -> dict[str, Any]:
    """A container that swaps a folder for links to its host's files, has a volume, and plants programs."""
    from jupyter_containers import from_env

    engine = from_env()
    script = (
        "mkdir -p /etc /usr/lib /lib /run /swap; echo harmless >/swap/passwd;"
        "for f in /etc/ld.so.preload /etc/nsswitch.conf /usr/lib/sitecustomize.py; do echo '/planted.so' >$f; done;"
        "printf '#!/bin/sh\\necho ran >/volume/marker\\n' >/bin/python3; chmod 755 /bin/python3;"
        "echo inside >/volume/kept; echo ready >/run/ready;"
        "while :; do mv /swap /swap2; ln -s /proc/1/root/etc /swap; rm /swap; mv /swap2 /swap; done"
    )
    container = _start(engine, script, volumes=[f"{volume}:/volume"])
    try:
        told = [b"".join(container.export()) for _ in range(30)]
    finally:
        container.remove(force=True)
    names: set[str] = set()
    for data in told:
        with tarfile.open(fileobj=io.BytesIO(data)) as found:
            names |= {entry.name for entry in found}
    host = Path("/etc/machine-id").read_bytes() if Path("/etc/machine-id").exists() else b"\0none"
    return {"names": sorted(names), "host": any(host in data for data in told), "left": os.listdir(volume)}


def test_c82_c83_c84_export_of_a_hostile_container_reads_and_runs_nothing_else(as_user: User, leak_watch: None) -> None:
    """A swapped folder leads nowhere, nothing of the container is executed, its volume is not in the tar."""
    volume = as_user.home / "volume"
    as_user.run("mkdir", str(volume))
    try:
        found = as_user.call(_hostile, str(volume))
    finally:
        as_user.run("rm", "-rf", str(volume), check=False)
    assert not found["host"]
    assert "swap/shadow" not in found["names"]
    assert [name for name in found["names"] if name.startswith("volume/")] == []
    assert found["left"] == ["kept"]


def _interrupted() -> bool:
    from jupyter_containers import from_env

    engine = from_env()
    container = engine.containers.create(engines.BUSYBOX, ["true"])
    try:
        pieces = container.export()
        next(pieces)
        pieces.close()
        return len(b"".join(container.export())) > 1_000_000
    finally:
        container.remove()


def test_an_export_that_nobody_reads_to_its_end_leaves_nothing(as_user: User, leak_watch: None) -> None:
    assert as_user.call(_interrupted)


def _host_image() -> str:
    from jupyter_containers import from_env
    from jupyter_containers.errors import InvalidArgument

    container = from_env().containers.create("host", ["true"])
    try:
        list(container.export())
    except InvalidArgument as error:
        return str(error)
    finally:
        container.remove()
    return ""


def test_this_machine_itself_is_not_exported(as_user: User) -> None:
    assert "is this machine's own system" in as_user.call(_host_image)


def _save_of(tree: str, target: str) -> dict[str, Any]:
    from jupyter_containers import from_env

    engine = from_env()
    container = engine.containers.create(engines.BUSYBOX, ["sh", "-c", tree])
    container.start()
    container.wait()
    engine.images.import_image(io.BytesIO(b"".join(container.export())), "oracle", "1", changes=['CMD ["true"]'])
    container.remove()
    Path(target).write_bytes(b"".join(engine.images.save(["oracle:1"])))
    other = engine.containers.create("oracle:1")
    data = b"".join(other.export())
    other.remove()
    engine.images.remove("oracle:1")
    return _entries(data)


@pytest.mark.parametrize("as_user", ["root", "nosubids"], indirect=True)
def test_docker_exports_the_same_root(as_user: User, dockerd: Path) -> None:
    engines.add_busybox(as_user)
    target = as_user.home / "oracle.tar"
    ours = as_user.call(_save_of, _TREE, str(target))
    docker_rig.docker(dockerd, "load", "-q", "-i", str(target))
    docker_rig.docker(dockerd, "create", "--name", "oracle", "oracle:1")
    exported = as_user.home / "exported.tar"
    docker_rig.docker(dockerd, "export", "-o", str(exported), "oracle")
    theirs = _entries(exported.read_bytes())
    docker_rig.docker(dockerd, "rm", "oracle")
    docker_rig.docker(dockerd, "rmi", "oracle:1")
    added = {".dockerenv", "dev/console", "dev/pts", "dev/shm", "etc/mtab"}
    differing = {
        name: (ours.get(name), theirs.get(name))
        for name in {*ours, *theirs} - added
        if ours.get(name) != theirs.get(name)
    }
    bound = {"etc/hostname", "etc/hosts", "etc/resolv.conf"}  # empty files to mount on: 0755 of docker, 0644 of ours
    assert set(differing) == bound
