"""Dockerfiles that want out of a build: nothing of the host is read, changed or removed, no step has more than ``run``.

ISOLATION D, 86 to 89 and 95. Not here: secrets (``test_build_secrets``, 93), contexts, archives and ``ADD``
(``test_build_escapes``, 90 to 92), what is a hit in the cache (``tests/engine/test_build_cache``, 94).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.rig_builds import Workshop, sleeping, until
from tests.rigs.users import User

BASE = "FROM busybox:test\n"


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "hostile")


@dataclass(frozen=True)
class Host:
    """A folder of the user's, with things that no build may read, change or remove."""

    folder: Path
    token: str

    def described(self) -> list[object]:
        paths = [self.folder, *sorted(self.folder.rglob("*"))]
        status = [path.lstat() for path in paths]
        return [
            (str(p), s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns)
            for p, s in zip(paths, status, strict=True)
        ]


@pytest.fixture
def host(shop: Workshop) -> Iterator[Host]:
    folder, token = shop.user.home / "host", f"HOST-{secrets.token_hex(12)}"
    script = f"rm -rf {folder}; mkdir -p {folder}/empty {folder}/f; : >{folder}/z; printf %s {token} >{folder}/secret"
    shop.user.run("sh", "-ec", script)
    found = Host(folder, token)
    before = found.described()
    yield found
    assert found.described() == before, "the host's files were changed"


# --- 86: sources of mounts ---

SOURCES = {
    "a link to the root": ("ln -s / /bad", "/bad"),
    "a link upwards": ("ln -s ../../../../../.. /bad", "bad"),
    "a link to the host's folder": ("ln -s {host} /bad", "/bad"),
    "a folder below a link": ("ln -s / /bad", "/bad{host}"),
    "a link in the midst": ("mkdir /d && ln -s {host} /d/bad", "/d/bad/secret"),
    "a link through /proc": ("ln -s /proc/self/root{host} /bad", "/bad"),
    "a link to a working directory": ("ln -s /proc/1/cwd /bad", "/bad"),
    "dots": ("true", "../../../../../../../../..{host}"),
    "dots below a link": ("ln -s /tmp /bad", "/bad/../../..{host}/secret"),
    "a chain of links": ("ln -s /b /a && ln -s {host} /b", "/a"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("access", ["ro", "rw"])
def test_86_a_bind_mount_from_a_stage_leads_to_that_stage(shop: Workshop, host: Host, source: str, access: str) -> None:
    """ISOLATION 86, CVE-2024-1753: https://github.com/containers/buildah tests/bud.bats, "bud with malicious mount"."""
    made, path = (text.format(host=host.folder) for text in SOURCES[source])
    text = (
        f"{BASE.strip()} AS one\nRUN echo stage > /marker && {made}\n{BASE}"
        f"RUN --mount=type=bind,from=one,source={path},target=/m,{access} "
        f"find /m -type f -size -9 -name '[msz]*' -exec cat {{}} +; "
        f"cat /m /m/secret /m{host.folder}/secret; touch /m/touched; rm -f /m/z /m/secret; rmdir /m/empty; true\n"
    )
    done = shop.build(shop.context("h86", "", text))
    assert host.token not in done.output
    assert done.id or "there is no" in done.error
    if "root" in source or "upwards" in source:
        assert "stage\n" in done.output


@pytest.mark.parametrize("target", ["/", "{host}", "../host", "/proc/self/cwd/../host"])
def test_86_a_bind_mount_from_the_context_leads_to_the_context(shop: Workshop, host: Host, target: str) -> None:
    """ISOLATION 86: the same with a link that lies in the context."""
    text = f"{BASE}RUN --mount=type=bind,source=bad,target=/m,rw cat /m /m/secret /m{host.folder}/secret; rm -rf /m/*; true\n"
    context = shop.context("h86c", f"ln -s {target.format(host=host.folder)} bad", text)
    done = shop.build(context)
    assert host.token not in done.output
    assert (context / "Dockerfile").exists()


def test_86_what_a_step_writes_to_a_mount_reaches_neither_stage_nor_context(shop: Workshop) -> None:
    text = (
        f"{BASE.strip()} AS one\nRUN echo stage > /f\n{BASE}"
        "RUN --mount=type=bind,from=one,target=/m,rw --mount=type=bind,target=/c,rw "
        "echo changed > /m/f; rm /m/etc/passwd; echo changed > /c/f; rm /c/g; touch /c/new\n"
        "RUN --mount=type=bind,from=one,target=/m cat /m/f /m/etc/passwd > /out\n"
        "COPY --from=one /f /f\n"
    )
    context = shop.context("h86w", "echo context >f; echo g >g", text)
    done = shop.must_build(context)
    assert shop.run(done.id, "cat", "/f") == "stage\n"
    assert shop.run(done.id, "head", "-n1", "/out") == "stage\n"
    assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "f", "g"]
    assert (context / "f").read_text() == "context\n"
    assert not {"m", "c"} & set(shop.tree(done.id))


# --- 87: cache mounts ---


@pytest.mark.parametrize(
    "mount", ["id=../../../../../../../..{host}", "id={host}", "id=..", "id=.", "id=/", "id=a/../../b", "id=%2e%2e",
              "id=x,from=one,source=../../..{host}", "id=x2,from=one,source=/link", "id=x3,from=one,source=/link/secret"],
)  # fmt: skip
def test_87_a_cache_mount_is_a_folder_of_the_caches(shop: Workshop, host: Host, mount: str) -> None:
    """ISOLATION 87, CVE-2024-9675, CVE-2024-11218: an id or a source with dots, slashes or links."""
    mount = mount.format(host=host.folder)
    text = (
        f"{BASE.strip()} AS one\nRUN ln -s {host.folder} /link\n{BASE}"
        f"RUN --mount=type=cache,target=/c,{mount} cat /c/secret; ls -laR /c; touch /c/touched; rm -rf /c/*; true\n"
    )
    before = {path.name for path in shop.user.store.iterdir()}
    done = shop.build(shop.context("h87", "", text))
    assert host.token not in done.output
    known = {"build-cache", "containers", "layers", "stages", "names", "waiting", "volumes"}
    assert {path.name for path in shop.user.store.iterdir()} <= before | known
    folders = [
        path.name.rstrip("0123456789").rstrip("-") for path in (shop.user.store / "build-cache/mounts").glob("*[0-9]")
    ]
    assert all(len(name) <= 33 and not set(name) - set("0123456789abcdef-") for name in folders)


def test_87_stages_side_by_side_that_swap_a_cache_for_links_reach_nothing(shop: Workshop, host: Host) -> None:
    """ISOLATION 87, CVE-2024-23651: one stage changes the folder that another is just having mounted."""
    swap = f"rm -rf /c/sub; ln -s {host.folder} /c/sub; rm -f /c/sub; mkdir -p /c/sub; ln -sfn / /c/l"
    text = (
        f"{BASE.strip()} AS swaps\nRUN --mount=type=cache,id=race,target=/c for i in $(seq 300); do {swap}; done; date > /a\n"
        + "".join(
            f"{BASE.strip()} AS mounts{n}\nRUN --mount=type=cache,id=race,target=/c --mount=type=tmpfs,target=/c/sub "
            f"--mount=type=cache,id=race,target=/c/l/x{n} "
            f"cat /c/sub/secret /c/secret 2>/dev/null; rm -rf /c/sub/* /c/l/x{n}/z; touch /b{n}\n"
            for n in range(3)
        )
        + f"{BASE}COPY --from=swaps /a /a\n" + "".join(f"COPY --from=mounts{n} /b{n} /\n" for n in range(3))
    )  # fmt: skip
    for _ in range(3):
        done = shop.build(shop.context("h87r", "", text), no_cache=True)
        assert host.token not in done.output
        assert done.id or done.kind in ("DockerfileError", "StepFailed", "CannotStart"), done.error


def test_87_caches_are_shared_between_builds_and_in_no_image(shop: Workshop) -> None:
    text = f"{BASE}ARG N\nRUN --mount=type=cache,target=/var/cache/it echo $N >> /var/cache/it/list; cp /var/cache/it/list /out\n"
    context = shop.context("h87k", "", text)
    shop.must_build(context, args={"N": "1"})
    done = shop.must_build(context, args={"N": "2"})
    assert shop.run(done.id, "cat", "/out") == "1\n2\n"
    assert not [name for name in shop.tree(done.id) if name.startswith("var")]


# --- 88: places for mounts ---


@pytest.mark.parametrize(
    "kind", ["bind,source=f,target=", "bind,source=d,target=", "cache,target=", "tmpfs,target=", "secret,id=s,target="]
)
def test_88_taking_a_mounts_place_away_touches_nothing_of_the_host(shop: Workshop, host: Host, kind: str) -> None:
    """ISOLATION 88, CVE-2024-23652: the step swaps the folder in which a mount's empty place was made for a link."""
    places = ("z", "empty", "f")
    mounts = " ".join(f"--mount=type={kind}/x/y/{place}" for place in places)
    text = f"{BASE}RUN {mounts} mv /x/y /x/old; ln -s {host.folder} /x/y; ls -la /x\n"
    context = shop.context("h88", "echo f >f; mkdir d; echo s >s", text)
    done = shop.build(context, secrets=[f"id=s,src={context / 's'}"])
    assert done.id or done.kind == "DockerfileError", done.error
    if done.id:
        assert shop.tree(done.id)["x/y"][0] == "symlink"


def test_88_places_for_mounts_are_not_in_the_image_and_what_a_step_makes_there_is(shop: Workshop) -> None:
    mounts = "--mount=type=bind,target=/new/deep/m --mount=type=tmpfs,target=/tmp/t --mount=type=cache,target=/etc/c"
    text = f"{BASE}RUN {mounts} touch /new/deep/m/../own /made\n"
    tree = shop.tree(shop.must_build(shop.context("h88p", "", text)).id)
    assert {"new", "new/deep", "new/deep/own", "made"} <= set(tree)
    assert not {"new/deep/m", "tmp/t", "etc/c"} & set(tree)


# --- 89: options that give more than a step may have ---

REFUSED = (
    "--mount=type=bind,bind-propagation=shared,target=/m", "--mount=type=bind,bind-propagation=rshared,target=/m",
    "--mount=type=bind,propagation=shared,target=/m", "--mount=type=bind,target=/m,options=dev",
    "--mount=type=bind,target=/m,suid", "--mount=type=bind,target=/m,dev", "--mount=type=bind,target=/m,z,Z,U",
    "--mount=type=bind,target=/m,relabel=shared", "--mount=type=volume,target=/m", "--mount=type=npipe,target=/m",
    "--mount=type=devpts,target=/m", "--mount=type=overlay,target=/m", "--mount=type=bind,target=/",
    "--mount=type=bind,source=/,target=/proc", "--mount=type=tmpfs,target=/proc/sys",
    "--mount=type=tmpfs,target=/m,size=-1", "--mount=type=tmpfs,target=/m,mode=rwx", "--mount=type=cache,target=/m,sharing=all",
    "--security=insecure", "--security=privileged", "--network=container:x", "--network=../x", "--privileged", "--device=/dev/kmsg",
    "--cap-add=ALL", "-v=/:/host", "--volume=/:/host", "--mount=type=ssh,required", "--mount=type=secret,id=none,required",
)  # fmt: skip


@pytest.mark.parametrize("flag", REFUSED)
@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_89_a_step_gets_no_more_by_asking(shop: Workshop, flag: str) -> None:
    """ISOLATION 89, CVE-2024-9407, CVE-2024-23653: propagation, options of mounts, insecure mode, devices."""
    done = shop.build(shop.context("h89", "", f"{BASE}RUN {flag} true\n"))
    assert not done.id
    assert done.error.startswith("Dockerfile:2: "), done.error


def test_89_the_hosts_network_needs_the_users_consent(shop: Workshop) -> None:
    """ISOLATION 89: as BuildKit's entitlement network.host; a Dockerfile alone can't have it."""
    context = shop.context("h89n", "", f"{BASE}RUN --network=host ls /sys/class/net > /nets\n")
    done = shop.build(context, network="default")
    assert not done.id
    assert done.error.startswith("Dockerfile:2: ") and "build it with --network host" in done.error
    if shop.user.kind == "root":
        assert shop.must_build(context, network="host").id


def test_89_mounts_of_a_step_have_neither_devices_nor_setuid_nor_propagation(shop: Workshop) -> None:
    mounts = "--mount=type=bind,target=/b --mount=type=bind,target=/w,rw --mount=type=cache,target=/c --mount=type=tmpfs,target=/t"
    text = f"{BASE}RUN {mounts} --mount=type=secret,id=s cat /proc/self/mountinfo\n"
    context = shop.context("h89m", "echo s >s; echo f >f", text)
    done = shop.must_build(context, secrets=[f"id=s,src={context / 's'}"])
    lines = {line.split()[4]: line.split() for line in done.output.splitlines()}
    for place in ("/b", "/w", "/c", "/t", "/run/secrets/s"):
        options = set(lines[place][5].split(","))
        assert {"nosuid", "nodev"} <= options, lines[place]
        assert "ro" in options or place in ("/w", "/c", "/t")
        assert not [word for word in lines[place] if word.startswith(("shared:", "master:"))]


# --- 95: the sandbox of a step ---

LOOK = """
grep -E '^(Cap|Seccomp|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status
awk '{$1=$2=$3=""; print $4,$5,$6}' /proc/self/mountinfo | grep -v -e '^/ / ' -e '^/etc/' | sort
ls -l /dev | awk '{print $1,$3,$4,$5,$6}' | grep '^[cb]'
cat /proc/kcore /proc/keys /proc/timer_list 2>&1 | head -c 200
for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x; do echo x 2>&1 >$f | head -1; done
ls /proc | grep -c '^[0-9]'; ls -l /proc/self/fd | wc -l; ulimit -a; umask; hostname | wc -w
mount -t tmpfs none /mnt 2>&1 | tail -1; mknod /dev/x b 7 0 2>&1; unshare -U true 2>&1 | tail -1; dmesg 2>&1 | head -1
ls /sys/class/net; cat /proc/1/comm
"""


def test_95_a_step_has_the_very_sandbox_of_run(shop: Workshop) -> None:
    """ISOLATION 95: what a process may and sees is line for line what it is in a container of ``run``."""
    context = shop.context("h95", "", f"{BASE}COPY look /look\nRUN sh /look\n")
    (context / "look").write_text(LOOK)
    done = shop.must_build(context, no_cache=True)
    told = shop.run(done.id, "sh", "-c", "sh /look")
    assert _settled(done.output) == _settled(told)
    assert "CapEff" in told


def _settled(text: str) -> list[str]:
    """Without what is a container's own: its id in a cgroup's path."""
    return sorted(re.sub(r"\b[0-9a-f]{12,64}\b", "ID", line) for line in text.splitlines())


@pytest.mark.parametrize("flag", ["--network=none", ""])
def test_95_a_step_without_a_network_has_none(shop: Workshop, flag: str) -> None:
    """ISOLATION 95: https://github.com/moby/buildkit dockerfile_runnetwork_test.go; by the flag, and for all steps."""
    text = f"{BASE}RUN {flag} ls /sys/class/net | tr '\\n' ' '; wc -l < /proc/net/route\n"
    done = shop.must_build(shop.context("h95n", "", text), no_cache=True, network="default" if flag else "none")
    assert done.output.split()[0] == "lo" and "eth0" not in done.output


def test_95_a_step_may_neither_trace_nor_outlive_its_build(shop: Workshop) -> None:
    text = f"{BASE}RUN (setsid sleep 9595 &) ; nohup sleep 9595 & sleep 0.1; echo over\n"
    assert "over" in shop.must_build(shop.context("h95o", "", text), no_cache=True).output
    until(lambda: not sleeping("9595"), 5)
