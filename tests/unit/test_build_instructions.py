"""Every instruction with every flag: what is read, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jupyter_containers.build import instructions
from jupyter_containers.build.dockerfile import instruction, parse, trigger
from jupyter_containers.build.instructions import Command, Heredoc, Instruction, Run
from jupyter_containers.build.mounts import Mount
from jupyter_containers.build.script import Script, script
from jupyter_containers.build.source import Fault, Location
from jupyter_containers.errors import DockerfileError

SHELL_LS = Command(("ls -l",), True)
EXEC_LS = Command(("ls", "-l"), False)


def fields(found: Instruction) -> dict[str, Any]:
    """The class's name and what differs from its defaults."""
    plain = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)
             if field.name not in ("location", "text") and getattr(found, field.name) != field.default}  # fmt: skip
    return {"": type(found).__name__, **plain}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM Debian:1", {"": "From", "base": "Debian:1"}),
        ("FROM --platform=$BUILDPLATFORM a as B.1-x_y", {"": "From", "base": "a", "name": "b.1-x_y", "platform": "$BUILDPLATFORM"}),
        ("ARG a b= c=d=e", {"": "Arg", "args": (("a", None), ("b", ""), ("c", "d=e"))}),
        ("ENV a=b c='d e'", {"": "Env", "pairs": (("a", "b"), ("c", "'d e'"))}),
        ("LABEL a b c", {"": "Label", "pairs": (("a", "b c"),)}),
        ("RUN ls -l", {"": "Run", "command": SHELL_LS}),
        ("RUN", {"": "Run", "command": Command((), True)}),
        ('RUN --network=none --security=insecure ["ls", "-l"]', {"": "Run", "command": EXEC_LS, "network": "none", "security": "insecure"}),
        ("COPY a b c/", {"": "Copy", "sources": ("a", "b"), "destination": "c/"}),
        ("COPY --from=x --chown=1:2 --chmod=a+x --parents --exclude=*.a --exclude=b --link a /b",
         {"": "Copy", "sources": ("a",), "destination": "/b", "from_": "x", "chown": "1:2", "chmod": "a+x", "parents": True,
          "exclude": ("*.a", "b"), "link": True}),
        ("COPY --link=FALSE --parents=True a b", {"": "Copy", "sources": ("a",), "destination": "b", "parents": True}),
        ("ADD --checksum=sha256:1 --keep-git-dir --unpack=false --chown=a --chmod=1 --link --exclude=x https://x/y .",
         {"": "Add", "sources": ("https://x/y",), "destination": ".", "checksum": "sha256:1", "keep_git_dir": True,
          "unpack": False, "chown": "a", "chmod": "1", "link": True, "exclude": ("x",)}),
        ("CMD ls -l", {"": "Cmd", "command": SHELL_LS}),
        ("ENTRYPOINT []", {"": "Entrypoint", "command": Command((), False)}),
        ('SHELL ["ls", "-l"]', {"": "Shell", "words": ("ls", "-l")}),
        ("HEALTHCHECK none", {"": "Healthcheck", "test": ("NONE",)}),
        ("HEALTHCHECK CMD ls  -l", {"": "Healthcheck", "test": ("CMD-SHELL", "ls  -l")}),
        ('HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=100.ms --start-interval=1h --retries=3 CMD ["ls"]',
         {"": "Healthcheck", "test": ("CMD", "ls"), "interval": 90 * 10**9, "timeout": 15 * 10**8, "start_period": 10**8,
          "start_interval": 3600 * 10**9, "retries": 3}),
        ("HEALTHCHECK --interval=0s --retries=0 --timeout=+.5s CMD x", {"": "Healthcheck", "test": ("CMD-SHELL", "x"), "timeout": 5 * 10**8}),
        ("EXPOSE 80/tcp 53 $X", {"": "Expose", "ports": ("$X", "53", "80/tcp")}),
        ("VOLUME /a /b", {"": "Volume", "paths": ("/a", "/b")}),
        ('VOLUME ["/a b "]', {"": "Volume", "paths": ("/a b",)}),
        ("USER a:b", {"": "User", "user": "a:b"}),
        ("WORKDIR /a b", {"": "Workdir", "path": "/a b"}),
        ("STOPSIGNAL 9", {"": "Stopsignal", "signal": "9"}),
        ("onbuild  RUN ls \\\n -l", {"": "Onbuild", "expression": "RUN ls  -l"}),
        ("ONBUILD COPY <<a /b\n1\na", {"": "Onbuild", "expression": "COPY <<a /b\n1\na"}),
        ("MAINTAINER me <me@x>", {"": "Maintainer", "name": "me <me@x>"}),
    ],
)  # fmt: skip
def test_an_instruction(text: str, expected: dict[str, Any]) -> None:
    assert fields(instruction(text)) == expected


def test_every_instruction_is_among_them() -> None:
    mark = next(mark for mark in test_an_instruction.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert {case[1][""].upper() for case in mark.args[1]} == set(instructions.KEYWORDS)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("FROM", "one or three"), ("FROM a b", "one or three"), ("FROM a of b", "one or three"), ("FROM a AS 1", "invalid name"),
        ("FROM a AS b/c", "invalid name"), ("FROM --from=b a", "unknown flag"), ("ARG", "at least one"), ("ARG =x", "blank"),
        ("ENV", "at least one"), ("ENV =x", "blank"), ("LABEL", "at least one"), ("LABEL --x a=b", "unknown flag"),
        ("COPY", "at least two"), ("COPY a", "at least two"), ("ADD a", "at least two"), ("COPY --from a b", "missing a value"),
        ("COPY --link= a b", "missing a value"), ("COPY --link=x a b", "expecting boolean"), ("COPY --chown=a --chown=b c d", "duplicate flag"),
        ("COPY --from=$x a b", "not supported for --from"), ("COPY --checksum=x a b", "unknown flag"), ("ADD --from=x a b", "unknown flag"),
        ("ADD --parents a b", "unknown flag"), ("COPY a <<E\nE", "as a destination"), ("COPY <<E it's /b", "is not read"),
        ("RUN --mount x", "missing a value"), ("RUN --network= x", "invalid network mode"), ("RUN --device=x y", "unknown flag"),
        ("RUN --network=none --network=none x", "duplicate flag"), ("CMD --x y", "unknown flag"), ("ENTRYPOINT --x y", "unknown flag"),
        ("SHELL", "at least one"), ("SHELL []", "at least one"), ("SHELL /bin/sh", "JSON form"), ("HEALTHCHECK", "at least one"),
        ("HEALTHCHECK NONE x", "takes no arguments"), ("HEALTHCHECK CMD", "missing command"), ("HEALTHCHECK CMD []", "missing command"),
        ("HEALTHCHECK x", "unknown type"), ("HEALTHCHECK --interval=1 CMD x", "invalid duration"), ("HEALTHCHECK --interval=1us CMD x", "at least 1ms"),
        ("HEALTHCHECK --interval=-1s CMD x", "at least 1ms"), ("HEALTHCHECK --interval=9999999h CMD x", "less than 292"),
        ("HEALTHCHECK --timeout=+-1s CMD x", "invalid duration"), ("HEALTHCHECK --retries=-1 CMD x", "invalid number"), ("HEALTHCHECK --retries=x CMD x", "invalid number"),
        ("EXPOSE", "at least one"), ("VOLUME", "at least one"), ("VOLUME []", "at least one"), ('VOLUME [" "]', "empty string"),
        ("USER", "exactly one"), ("WORKDIR", "exactly one"), ("STOPSIGNAL", "exactly one"), ("MAINTAINER", "exactly one"),
        ("ONBUILD", "at least one"), ("ONBUILD ONBUILD RUN x", "chaining"), ("ONBUILD FROM x", "isn't allowed"), ("ONBUILD maintainer x", "isn't allowed"),
        ("ONBUILD COPY x", "at least two"), ("ONBUILD --x RUN y", "unknown flag"), ("FROM a\nFROM b", "single instruction"),
    ],
)  # fmt: skip
def test_an_instruction_that_cannot_be(text: str, what: str) -> None:
    with pytest.raises(DockerfileError, match=what) as caught:
        instruction(text)
    assert caught.value.excerpt.count("^") == 1


# --- mounts ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", {"target": "/x"}), ("type=bind,dst=/x,src=a,from=b", {"target": "/x", "source": "a", "from_": "b"}),
        ("type=bind,destination=x,rw", {"target": "x", "readonly": False}), ("TYPE=Bind,target=/x,readwrite=false", {"target": "/x"}),
        ("target=/x,ro=false", {"target": "/x", "readonly": False}),
        ("type=cache,target=/x/../y", {"type": "cache", "target": "/x/../y", "readonly": False, "id": "/y", "sharing": "shared"}),
        ("type=cache,target=/x,id=i,sharing=Locked,mode=0700,uid=1,gid=2,from=b,source=s,readonly",
         {"type": "cache", "target": "/x", "id": "i", "sharing": "locked", "mode": 0o700, "uid": 1, "gid": 2, "from_": "b", "source": "s"}),
        ("type=tmpfs,target=/x,size=1.5k", {"type": "tmpfs", "target": "/x", "readonly": False, "size": 1536}),
        ("size=1,type=tmpfs,target=/x", {"type": "tmpfs", "target": "/x", "readonly": False, "size": 1}),
        ("type=secret,id=a/k", {"type": "secret", "id": "a/k", "target": "/run/secrets/k"}),
        ("type=secret,target=/a/k,required", {"type": "secret", "id": "k", "target": "/a/k", "required": True}),
        ("type=secret,source=k,env=K,required=0", {"type": "secret", "id": "k", "source": "k", "env": "K"}),
        ("required,type=secret,id=k,mode=400,env=K,target=/k", {"type": "secret", "id": "k", "mode": 0o400, "env": "K", "target": "/k", "required": True}),
        ("type=ssh", {"type": "ssh", "id": "default"}), ("type=ssh,id=x,required=true,uid=0", {"type": "ssh", "id": "x", "required": True, "uid": 0}),
        ('"target=/a,b",source=\'', {"target": "/a,b", "source": ""}),
    ],
)  # fmt: skip
def test_a_mount(text: str, expected: dict[str, Any]) -> None:
    flag = text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "")
    run = instruction(f"RUN --mount={flag} x")
    assert isinstance(run, Run)
    assert run.mounts == (Mount(**{"text": text.replace("'", ""), **expected}),)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("type=x", "unsupported mount type"), ("target", "must be a key=value pair"), ("type=bind,,target=/x", "must be a key=value"),
        ("a=b", "unexpected key 'a'"), ("target=/x,ro=maybe", "invalid value for ro"), ("type=cache,sharing=x,target=/x", "unsupported sharing"),
        ("type=bind,sharing=shared,target=/x", "unexpected key 'sharing'"), ("required,target=/x", "unexpected key 'required'"),
        ("size=1,target=/x", "unexpected key 'size'"), ("type=tmpfs,size=x,target=/x", "invalid value for size"),
        ("type=tmpfs,mode=1,target=/x", "unexpected key 'mode'"), ("uid=1,target=/x", "unexpected key 'uid'"),
        ("type=cache,target=/x,mode=8", "for mode"), ("type=cache,target=/x,uid=-1", "for uid"), ("type=cache,target=/x,gid=4294967296", "for gid"),
        ("type=secret", "needs an id"), ("type=secret,id=a,source=b", "can't be set"), ("type=secret,id=a,from=b", "no from"),
        ("type=ssh,source=a", "no source"), ("from=$a,target=/x", "variable expansion"), ("from=b,from=$a,target=/x", "variable expansion"), ('"target=/x', "comma-separated"),
    ],
)  # fmt: skip
def test_89_a_mount_that_cannot_be(text: str, what: str) -> None:
    flag = text.replace('"', '\\"')
    with pytest.raises(DockerfileError, match=what):
        instruction(f"RUN --mount={flag} x")


@pytest.mark.parametrize(
    ("target", "workdir", "path"),
    [
        ("/x", "/w", "/x"),
        ("x", "/w", "/w/x"),
        ("", "/w", "/w"),
        ("../..", "/w/v/u", "/w"),
        ("/x/../y/", "/", "/y"),
        ("//x", "", "/x"),
    ],
)
def test_a_mounts_place_is_seen_from_the_working_directory(target: str, workdir: str, path: str) -> None:
    assert Mount("", target=target).path(workdir) == path


@pytest.mark.parametrize(("target", "workdir"), [("/", "/w"), ("", ""), ("../../..", "/w"), ("/x/..", "/")])
def test_88_a_mount_over_the_root_is_refused(target: str, workdir: str) -> None:
    with pytest.raises(Fault, match="invalid mount target"):
        Mount("", target=target).path(workdir)


# --- here-documents, triggers, files ---


def test_here_documents_of_copy_are_files() -> None:
    found = instruction("COPY --chmod=1 a <<-X <<'Y' b /c\n\t$1\nX\n\t2\nY\n")
    assert fields(found) == {
        "": "Copy", "chmod": "1", "sources": ("a", "b"), "destination": "/c",
        "files": (Heredoc("X", "$1\n", True, True), Heredoc("Y", "\t2\n", False)),
    }  # fmt: skip
    assert fields(instruction('COPY ["<<X", "/c"]'))["sources"] == ("<<X",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN ls -l", Script(SHELL_LS)), ('RUN ["ls", "-l"]', Script(EXEC_LS)), ("RUN", Script(Command(("",), True))),
        ("RUN <<E\necho $a\nE", Script(Command(("echo $a\n",), True))), ("RUN <<-E\n\ta\n\tE", Script(Command(("a\n",), True))),
        ("RUN <<'E F'\n#!/bin/x\n1\nE F", Script(Command(("/dev/pipes/E F",), True), "/dev/pipes/E F", "#!/bin/x\n1\n")),
        ("RUN cat <<A <<-B > x\n1\nA\n\t2\n\tB\n", Script(Command(("cat <<A <<-B > x\n1\nA\n\t2\nB",), True))),
        ("RUN python3 <<E\n1\nE", Script(Command(("python3 <<E\n1\nE",), True))),
    ],
)  # fmt: skip
def test_what_a_run_executes(text: str, expected: Script) -> None:
    found = instruction(text)
    assert isinstance(found, Run)
    assert script(found) == expected


def test_a_trigger_is_the_instruction_inside_at_the_froms_place() -> None:
    place = Location(7, 7)
    found = trigger("COPY <<a /b\n1\na", place)
    assert (fields(found)["files"], found.location) == ((Heredoc("a", "1\n"),), place)
    for text in ("FROM x", "ONBUILD RUN x", "RUN a\nRUN b", "", "COPPY x"):
        with pytest.raises(DockerfileError):
            trigger(text, place)


FILE = """\
# escape=`
ARG V=1
ARG W
FROM debian:${V} AS Build
RUN a
FROM --platform=linux/arm64 build
# nothing here
FROM scratch AS last
COPY --from=build /a /b
"""


def test_a_file_has_arguments_and_stages() -> None:
    file = parse(FILE)
    assert file.directives.escape == "`"
    assert [arg.args for arg in file.args] == [(("V", "1"),), (("W", None),)]
    assert [(one.index, one.name, one.base.base, len(one.instructions)) for one in file.stages] == [
        (0, "build", "debian:${V}", 1), (1, "", "build", 0), (2, "last", "scratch", 1)]  # fmt: skip
    assert file.stages[2].instructions[0].location == Location(9, 9)
    assert file.stages[2].instructions[0].text == "COPY --from=build /a /b"


def test_a_stage_is_found_by_name_and_number() -> None:
    file = parse(FILE)
    assert [file.stage(name) for name in ("BUILD", "1", "last")] == list(file.stages)
    assert [file.stage(name) for name in ("", "3", "-1", "x", "9" * 5000, "²")] == [None] * 6


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [("RUN x", 1, "before the first FROM"), ("ARG a\nENV b=c\nFROM d", 2, "before the first FROM"), ("ARG a", 1, "no stage"),
     ("FROM a AS b\nFROM c\nFROM d AS B", 3, "duplicate stage name 'b'. Line 1 has it")],
)  # fmt: skip
def test_a_file_that_cannot_be(text: str, line: int, what: str) -> None:
    with pytest.raises(DockerfileError, match=what) as caught:
        parse(text)
    assert caught.value.line == line
