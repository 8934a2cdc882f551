"""``docker run``'s flags: what is accepted, what it means, what is refused and with which words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from jupyter_containers.errors import InvalidArgument
from jupyter_containers.options import (
    CellOptions,
    Device,
    Mount,
    RunOptions,
    Ulimit,
    docker_run_line,
    options_from_keywords,
    parse_cell,
    parse_run,
)

BASE = "/notebooks"


def run(line: str, **environ: str) -> RunOptions:
    return parse_run(shlex.split(line), BASE, {"HOME": "/home/ada", **environ})


def cell(line: str) -> CellOptions:
    return parse_cell(shlex.split(line), BASE, {"HOME": "/home/ada"})


def refusal(line: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        run(line)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("-it debian", "tty", True),
        ("-it debian", "interactive", True),
        ("-eA=b debian", "env", {"A": "b"}),
        ("-e=A=b debian", "env", {"A": "b"}),
        ("-e A=b --env A=c debian", "env", {"A": "c"}),
        ("-e A debian", "env", {"A": "from caller"}),
        ("-e MISSING debian", "unset_env", ("MISSING",)),
        ("--rm=false debian", "rm", False),
        ("--rm debian", "rm", True),
        ("--name=x1 debian", "name", "x1"),
        ("--name x1 debian", "name", "x1"),
        ("--name /x1 debian", "name", "x1"),
        ("debian ls --rm -l", "command", ("ls", "--rm", "-l")),
        ("debian -- ls", "command", ("--", "ls")),
        ("-d -- debian ls", "command", ("ls",)),
        ("-v ./x:/x:ro debian", "volumes", (Mount("bind", "/notebooks/x", "/x", True, create=True),)),
        ("-v ../x:/x debian", "volumes", (Mount("bind", "/x", "/x", create=True),)),
        ("-v ~/x:/x debian", "volumes", (Mount("bind", "/home/ada/x", "/x", create=True),)),
        ("-v .:/x debian", "volumes", (Mount("bind", "/notebooks", "/x", create=True),)),
        ("-v data:/x debian", "volumes", (Mount("volume", "data", "/x"),)),
        ("-v /x debian", "volumes", (Mount("volume", "", "/x"),)),
        ("-v /a:/b:ro,rslave,z debian", "volumes", (Mount("bind", "/a", "/b", True, ("rslave",), True),)),
        ("--mount type=bind,src=/a,dst=/b,readonly debian", "volumes", (Mount("bind", "/a", "/b", True),)),
        ("--mount type=bind,src=./a,dst=/b,ro=false debian", "volumes", (Mount("bind", "/notebooks/a", "/b"),)),
        ("""--mount 'type=bind,"src=/a,b",dst=/b' debian""", "volumes", (Mount("bind", "/a,b", "/b"),)),
        (
            "--mount src=v1,target=/b,volume-nocopy debian",
            "volumes",
            (Mount("volume", "v1", "/b", False, ("nocopy",)),),
        ),
        (
            "--mount type=tmpfs,dst=/b,tmpfs-size=1k,tmpfs-mode=700 debian",
            "volumes",
            (Mount("tmpfs", "", "/b", False, ("size=1024", "mode=700")),),
        ),
        ("--tmpfs /x debian", "volumes", (Mount("tmpfs", "", "/x"),)),
        (
            "--tmpfs /x:size=64m,mode=1777,ro debian",
            "volumes",
            (Mount("tmpfs", "", "/x", True, ("size=64m", "mode=1777")),),
        ),
        ("-m 512m debian", "memory", 512 << 20),
        ("-m 1.5GiB debian", "memory", 3 << 29),
        ("--memory 9000000 debian", "memory", 9_000_000),
        ("-m 64m --memory-swap -1 debian", "memory_swap", -1),
        ("--cpus 1.5 debian", "cpus", 1.5),
        ("--cpus .5 debian", "cpus", 0.5),
        ("--ulimit nofile=1024:2048 debian", "ulimits", (Ulimit("nofile", 1024, 2048),)),
        ("--ulimit core=-1 debian", "ulimits", (Ulimit("core", -1, -1),)),
        ("--shm-size 1g debian", "shm_size", 1 << 30),
        ("--device /dev/null debian", "devices", (Device("/dev/null", "/dev/null"),)),
        ("--device /dev/null:/dev/x:r debian", "devices", (Device("/dev/null", "/dev/x", "r"),)),
        ("--device /dev/null:rw debian", "devices", (Device("/dev/null", "/dev/null", "rw"),)),
        ("--cap-add net_admin --cap-add CAP_NET_ADMIN debian", "cap_add", ("CAP_NET_ADMIN",)),
        ("--cap-drop ALL --cap-drop chown --cap-add chown debian", "cap_drop", ("ALL",)),
        ("--security-opt no-new-privileges:true debian", "security_opt", ("no-new-privileges",)),
        ("--security-opt seccomp=unconfined debian", "security_opt", ("seccomp=unconfined",)),
        ("--security-opt seccomp:unconfined debian", "security_opt", ("seccomp=unconfined",)),
        ("--entrypoint sh debian", "entrypoint", ("sh",)),
        ("--entrypoint '' debian", "entrypoint", ()),
        ("--network none debian", "network", "none"),
        ("--net=host debian", "network", "host"),
        ("--network bridge debian", "network", "default"),
        ("-l a=b -l c debian", "labels", {"a": "b", "c": ""}),
        ("--timeout 1m30s debian", "timeout", 90.0),
        ("--timeout 5 debian", "timeout", 5.0),
        ("--pids-limit -1 debian", "pids_limit", -1),
        ("--stop-signal SIGINT debian", "stop_signal", "SIGINT"),
        ("--sysctl net.core.somaxconn=1 debian", "sysctls", {"net.core.somaxconn": "1"}),
        ("--restart on-failure:3 debian", "restart", "on-failure:3"),
    ],
)
def test_a_flag_means_what_it_means_to_docker(line: str, field: str, value: object) -> None:
    assert getattr(run(line, A="from caller"), field) == value


def test_defaults_are_dockers() -> None:
    found = run("debian")
    assert found == RunOptions("debian")
    assert (found.shm_size, found.network, found.pull, found.stop_timeout) == (64 << 20, "default", "missing", 10)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--foo debian", "unknown flag: --foo"),
        ("--nam x debian", "unknown flag: --nam. Did you mean --name?"),
        ("-Z debian", "unknown shorthand flag: 'Z' in -Z"),
        ("-E a=b debian", "unknown shorthand flag: 'E' in -E. Did you mean -e (--env)?"),
        ("--name", "flag needs an argument: --name"),
        ("-ie", "flag needs an argument: 'e' in -ie"),
        ("-d", "'docker run' requires at least 1 argument"),
        ("-m 12q debian", """invalid argument "12q" for "-m, --memory" flag: invalid suffix: 'q'"""),
        ("--rm=x debian", """invalid argument "x" for "--rm" flag: strconv.ParseBool: parsing "x": invalid syntax"""),
        ("-e =x debian", """invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x"""),
        ("-v x/y:/z debian", '"x/y" includes invalid characters for a local volume name'),
        ("-v x/y:/z debian", "write ./x/y"),
        ("-v /a:/b:foo debian", "invalid mode: foo"),
        ("-v :/x debian", "invalid spec: :/x: empty section between colons"),
        ("-v /a:/b:/c:d debian", "too many colons"),
        ("-v /a:b debian", "invalid mount path: 'b' mount path must be absolute"),
        ("-v /a:/ debian", "destination can't be '/'"),
        ("--mount foo=1 debian", "unexpected key 'foo' in 'foo=1'"),
        ("--mount type=bind,dst=/x debian", "field Source must not be empty"),
        ("--mount src=a debian", "target is required"),
        ("--mount type=bind,src=/a,dst=/b,tmpfs-size=1 debian", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
        ("--tmpfs /x:foo debian", 'invalid tmpfs option ["foo"]'),
        ("--cpus a debian", "failed to parse a as a rational number"),
        ("--cpus 1.12345678901 debian", "value is too precise"),
        ("--ulimit foo=1 debian", "invalid ulimit type: foo"),
        ("--ulimit nofil=1 debian", "Did you mean nofile?"),
        ("--ulimit nofile=2:1 debian", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        ("--device x:y:z:w debian", "bad format for path: x:y:z:w"),
        ("--device /dev/null:/dev/x:q debian", "bad mode specified: q"),
        ("--security-opt foo debian", 'Invalid --security-opt: "foo"'),
        ("--security-opt seccomp=/nope debian", "opening seccomp profile (/nope) failed"),
        ("--cap-add NET_ADMN debian", "Did you mean CAP_NET_ADMIN?"),
        ("-p a debian", "invalid containerPort: a"),
        ("-p 99999:1 debian", "invalid hostPort: 99999"),
        ("-p 80/xyz debian", "invalid proto: xyz"),
        ("-p 8080:80 debian", "-p, --publish: published ports come with bridge networks"),
        ("-p 127.0.0.1::80-81/tcp debian", "published ports come with bridge networks"),
        ("-P debian", "comes with bridge networks"),
        ("--network web debian", "come with bridge networks"),
        ("--gpus all debian", "--gpus: GPUs are not passed into containers yet"),
        ("--log-driver json-file debian", "--log-driver: this flag of docker's is not supported yet"),
        ("-w foo debian", "the working directory 'foo' is invalid, it needs to be an absolute path"),
        ("--name a% debian", "Invalid container name (a%), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("--restart alwys debian", "Did you mean always?"),
        ("--rm --restart always debian", "conflicting options: cannot specify both --restart and --rm"),
        ("--pull x debian", """must be one of "always", "missing" or "never\""""),
        ("--stop-signal FOO debian", "Invalid signal: FOO"),
        ("--sysctl a=b debian", "sysctl 'a=b' is not allowed"),
        ("--sysctl net/../kernel.x=1 debian", "sysctl 'net/../kernel.x=1' is not allowed"),
        ("--sysctl net.ipv4/../../kernel/x=1 debian", "is not allowed"),
        ("--sysctl net./../kernel/x=1 debian", "is not allowed"),
        ("--sysctl net..ipv4.x=1 debian", "is not allowed"),
        ("--sysctl net.=1 debian", "is not allowed"),
        ("--sysctl net/ipv4/ip_forward=1 debian", "is not allowed"),
        ("-m 4m debian", "Minimum memory limit allowed is 6MB"),
        ("-m 100m --memory-swap 50m debian", "Minimum memoryswap limit should be larger than memory limit"),
        ("--memory-swap 100m debian", "You should always set the Memory limit when using Memoryswap limit"),
        ("-v /a:/x -v /b:/x debian", "Duplicate mount point: /x"),
        ("--env-file /nope debian", "open /nope: no such file or directory"),
        ("--timeout soon debian", 'invalid duration "soon"'),
    ],
)
def test_a_refusal_is_one_line_with_place_and_mend(line: str, text: str) -> None:
    assert text in refusal(line)


def test_an_env_file_is_read_and_single_variables_win(tmp_path: Path) -> None:
    file = tmp_path / "vars"
    file.write_text("# comment\n\nA=1\nB=two words \nHOME\n")
    found = parse_run(["-e", "A=9", "--env-file", "vars", "x"], tmp_path, {"HOME": "/h"})
    assert found.env == {"A": "9", "B": "two words ", "HOME": "/h"}


def test_a_bad_line_of_an_env_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vars").write_text("A=1\nB C=2\n")
    with pytest.raises(InvalidArgument, match="line 2"):
        parse_run(["--env-file", "vars", "x"], tmp_path, {})


def test_words_after_the_image_of_a_cell_are_the_interpreter() -> None:
    found = cell("--in df,n --in y --out z --keep -m 1g python:3 python -u -")
    assert (found.image, found.interpreter, found.command) == ("python:3", ("python", "-u", "-"), ())
    assert (found.in_, found.out, found.rm, found.memory) == (("df", "n", "y"), ("z",), False, 1 << 30)


def test_a_cell_without_an_image_gets_the_default_and_goes_when_it_ends() -> None:
    found = cell("")
    assert (found.image, found.rm) == ("host", True)
    assert cell("--dry-run --explain --no-raise-error --quiet --session s").session == "s"


def test_run_does_not_know_what_only_a_notebook_has() -> None:
    assert "unknown flag: --stage" in refusal("--stage x debian")


def test_keywords_are_the_flags_under_docker_pys_names() -> None:
    keywords = {
        "environment": {"A": 1, "B": "x"},
        "volumes": {"/a": {"bind": "/b", "mode": "ro"}},
        "tmpfs": {"/t": "size=1m"},
        "mem_limit": "512m",
        "nano_cpus": 500_000_000,
        "remove": True,
        "network_mode": "none",
        "working_dir": "/w",
        "cap_add": ["NET_ADMIN"],
        "ulimits": [{"Name": "nofile", "Soft": 3}],
        "restart_policy": None,
        "entrypoint": ["sh", "-c"],
        "stderr": True,
    }
    found = options_from_keywords("debian", "echo 'a b'", keywords, BASE, {})
    line = (
        "-e A=1 -e B=x -v /a:/b:ro --tmpfs /t:size=1m -m 512m --cpus .5 --rm --network none -w /w "
        "--cap-add NET_ADMIN --ulimit nofile=3 debian echo 'a b'"
    )
    assert found == RunOptions(**{**run(line).__dict__, "entrypoint": ("sh", "-c")})


def test_an_unknown_keyword_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgument, match="Did you mean mem_limit"):
        options_from_keywords("debian", None, {"mem_limt": "1g"})


def test_options_survive_json() -> None:
    import json

    found = run("-v ./x:/x --ulimit nofile=1 --device /dev/null --entrypoint '' -e A=b --cpus 2 debian ls")
    assert RunOptions.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_line_of_a_cell_has_its_interpreter_as_command() -> None:
    assert docker_run_line(cell("--timeout 3 -e A='b c' debian bash")) == (
        "timeout 3s docker run --rm --env 'A=b c' debian bash"
    )
