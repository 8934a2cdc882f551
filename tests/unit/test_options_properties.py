"""``parse_run`` and ``docker_run_line`` are inverse, and no argument list makes the parser do anything but answer."""

from __future__ import annotations

import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import Device, Mount, RunOptions, Ulimit, docker_run_line, flags_for, parse_run
from jupyter_containers.options.run import check
from jupyter_containers.options.values import ULIMITS
from jupyter_containers.options.words import CAPABILITIES

anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
key = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
name = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,8}", fullmatch=True)
path = st.lists(
    st.from_regex(r"[A-Za-z0-9 _,\"'=.-]{1,6}", fullmatch=True).filter(lambda p: p.strip(".") != ""),
    min_size=1,
    max_size=3,
)
absolute = path.map(lambda parts: "/" + "/".join(parts))
propagation = st.sampled_from([(), ("rslave",), ("rshared",)])
sizes = st.integers(6 << 20, 1 << 45)
positive = st.integers(1, 1 << 40)


def plenty(strategy: Any, **more: Any) -> Any:
    return st.lists(strategy, max_size=3, **more).map(tuple)


bind = st.builds(Mount, st.just("bind"), absolute, absolute, st.booleans(), propagation, st.booleans())
volume = st.builds(
    Mount, st.just("volume"), name | st.just(""), absolute, st.booleans(), st.sampled_from([(), ("nocopy",)])
)
tmpfs = st.builds(
    Mount,
    st.just("tmpfs"),
    st.just(""),
    absolute,
    st.booleans(),
    st.sampled_from([(), ("size=64m",), ("size=1", "mode=1777", "noexec")]),
)
ulimit = st.builds(
    lambda n, soft, more: Ulimit(n, soft, -1 if soft == -1 else soft + more),
    st.sampled_from(ULIMITS),
    st.integers(-1, 1 << 30),
    st.integers(0, 99),
)
devices = st.builds(
    Device, st.just("/dev/null"), absolute.filter(lambda p: ":" not in p), st.sampled_from(["rwm", "r", "rw"])
)

options = st.builds(
    RunOptions,
    image=st.sampled_from(["debian", "ghcr.io/x/y@sha256:" + "0" * 64, "host"]),
    command=plenty(anything),
    env=st.dictionaries(key, anything, max_size=3),
    unset_env=st.just(()),
    volumes=plenty(bind | volume | tmpfs, unique_by=lambda m: m.target),
    workdir=st.none() | absolute,
    user=st.none() | st.sampled_from(["0", "1000:1000", "ada"]),
    network=st.sampled_from(["default", "none", "host"]),
    name=st.none() | name,
    hostname=st.none() | name,
    labels=st.dictionaries(key, anything, max_size=3),
    memory=st.none() | sizes,
    cpus=st.none() | st.integers(1, 10**11).map(lambda n: n / 1e9),
    cpuset_cpus=st.none() | st.sampled_from(["0", "0-3,5"]),
    cpu_shares=st.none() | positive,
    pids_limit=st.none() | st.integers(-1, 1 << 20),
    ulimits=plenty(ulimit),
    shm_size=positive,
    read_only=st.booleans(),
    cap_add=plenty(st.sampled_from(CAPABILITIES[:20]), unique=True),
    cap_drop=plenty(st.sampled_from([*CAPABILITIES[20:], "ALL"]), unique=True),
    security_opt=plenty(st.sampled_from(["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"])),
    devices=plenty(devices),
    entrypoint=st.none() | st.just(()) | anything.filter(bool).map(lambda word: (word,)),
    init=st.booleans(),
    rm=st.booleans(),
    detach=st.booleans(),
    tty=st.booleans(),
    interactive=st.booleans(),
    pull=st.sampled_from(["missing", "always", "never"]),
    platform=st.none() | st.just("linux/arm64/v8"),
    timeout=st.none() | st.integers(1, 10**6).map(lambda n: n / 1000),
    stop_signal=st.none() | st.sampled_from(["SIGTERM", "9", "SIGRTMIN+3"]),
    stop_timeout=st.integers(-1, 1000),
    sysctls=st.dictionaries(key.filter(lambda k: all(k.split("."))).map(lambda k: "net." + k), anything, max_size=2),
    privileged=st.booleans(),
    group_add=plenty(name),
    quiet=st.booleans(),
)


@given(options)
def test_the_docker_line_of_options_parses_to_the_same_options(wanted: RunOptions) -> None:
    check(wanted)
    words = shlex.split(docker_run_line(wanted))
    if words[0] == "timeout":
        words = ["docker", "run", "--timeout", words[1], *words[4:]]
    assert words[:2] == ["docker", "run"]
    assert parse_run(words[2:], "/", {}) == wanted


@given(options)
def test_options_survive_a_dictionary(wanted: RunOptions) -> None:
    assert RunOptions.from_dict(wanted.to_dict()) == wanted


NAMES = [f"--{flag.name}" for flag in flags_for("run")] + [f"-{flag.short}" for flag in flags_for("run") if flag.short]


@given(st.lists(st.sampled_from(NAMES) | st.sampled_from(NAMES).map(lambda n: n + "=x") | anything, max_size=6))
def test_any_words_are_options_or_a_one_line_refusal(words: list[str]) -> None:
    try:
        parse_run(words, "/nowhere", {})
    except InvalidArgument as error:
        assert error.what
