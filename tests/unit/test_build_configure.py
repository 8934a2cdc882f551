"""What instructions do to an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_containers.build.changes import changed
from jupyter_containers.build.configure import State, apply, argv, environment
from jupyter_containers.build.dockerfile import instruction
from jupyter_containers.build.instructions import Command
from jupyter_containers.errors import DockerfileError


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ({"Env": ["A=0", "B=2"]}, "ENV C=3 A=1", {"Env": ["A=1", "B=2", "C=3"]}), ({"Env": None}, "ENV A=", {"Env": ["A="]}),
        ({"Labels": {"a": "0", "b": "0"}}, "LABEL c=1 a=1", {"Labels": {"a": "1", "b": "0", "c": "1"}}),
        ({}, "EXPOSE 80 53/UDP 7000-7002/sctp", {"ExposedPorts": {p: {} for p in ("53/udp", "7000/sctp", "7001/sctp", "7002/sctp", "80/tcp")}}),
        ({"ExposedPorts": {"1/tcp": {}}}, "EXPOSE 127.0.0.1:8080:80 [::1]::0 9:9", {"ExposedPorts": {p: {} for p in ("1/tcp", "80/tcp", "9/tcp", "0/tcp")}}),
        ({"Volumes": {"/a": {}}}, 'VOLUME ["/b c"]', {"Volumes": {"/a": {}, "/b c": {}}}),
        ({}, "USER a:b", {"User": "a:b"}), ({"User": "x"}, "USER a", {"User": "a"}),
        ({}, "WORKDIR a", {"WorkingDir": "/a"}), ({"WorkingDir": "/a"}, "WORKDIR b/../c/", {"WorkingDir": "/a/c"}),
        ({"WorkingDir": "/a"}, "WORKDIR /b/./d", {"WorkingDir": "/b/d"}), ({"WorkingDir": "/a"}, "WORKDIR ../../..", {"WorkingDir": "/"}),
        ({"WorkingDir": ""}, "WORKDIR //a", {"WorkingDir": "/a"}),
        ({}, "CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"]}), ({"Shell": ["/bin/bash", "-ec"]}, "CMD a", {"Cmd": ["/bin/bash", "-ec", "a"], "Shell": ["/bin/bash", "-ec"]}),
        ({}, 'CMD ["a", "b"]', {"Cmd": ["a", "b"]}), ({"Cmd": ["x"]}, "CMD []", {}),
        ({"Cmd": ["x"], "Entrypoint": ["y"]}, 'ENTRYPOINT ["a"]', {"Entrypoint": ["a"]}), ({"Cmd": ["x"], "Entrypoint": ["y"]}, "ENTRYPOINT []", {}),
        ({}, 'SHELL ["/bin/bash", "-c"]', {"Shell": ["/bin/bash", "-c"]}),
        ({}, "STOPSIGNAL SIGRTMIN+3", {"StopSignal": "SIGRTMIN+3"}), ({}, "STOPSIGNAL 9", {"StopSignal": "9"}), ({}, "STOPSIGNAL int", {"StopSignal": "int"}),
        ({}, "HEALTHCHECK --interval=2s --retries=1 CMD x", {"Healthcheck": {"Test": ["CMD-SHELL", "x"], "Interval": 2 * 10**9, "Retries": 1}}),
        ({"Healthcheck": {"Test": ["CMD", "x"], "Retries": 1}}, "HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        ({"OnBuild": ["RUN a"]}, "ONBUILD RUN b", {"OnBuild": ["RUN a", "RUN b"]}),
        ({"User": "x"}, "MAINTAINER me", {"User": "x"}), ({"User": "x"}, "RUN a", {"User": "x"}), ({}, "COPY a b", {}), ({}, "ARG a=b", {}),
    ],
)  # fmt: skip
def test_an_instruction_changes_the_configuration(before: dict[str, Any], text: str, after: dict[str, Any]) -> None:
    kept = repr(before)
    assert apply(before, instruction(text)) == after
    assert repr(before) == kept


def test_variables_keep_their_place() -> None:
    made = apply({"Env": ["PATH=/bin", "A=0"]}, instruction("ENV B=1 PATH=/x:/bin"))
    assert made["Env"] == ["PATH=/x:/bin", "A=0", "B=1"]
    assert environment({"Env": ["A=b=c", "D"]}) == {"A": "b=c", "D": ""}


def test_an_entrypoint_drops_an_inherited_command_only() -> None:
    stage = ['CMD ["mine"]', 'ENTRYPOINT ["e"]']
    assert changed({"Cmd": ["inherited"]}, stage) == {"Cmd": ["mine"], "Entrypoint": ["e"]}
    assert changed({"Cmd": ["inherited"]}, reversed(stage)) == {"Cmd": ["mine"], "Entrypoint": ["e"]}
    assert changed({"Cmd": ["inherited"]}, stage[1:]) == {"Entrypoint": ["e"]}
    assert State().after(instruction(stage[0])).after(instruction(stage[1])) == State(has_cmd=True)


def test_a_shell_is_put_before_the_shell_form_alone() -> None:
    assert argv({}, Command(("a b",), True)) == ["/bin/sh", "-c", "a b"]
    assert argv({}, Command((), True)) == ["/bin/sh", "-c", ""]
    assert argv({"Shell": ["x"]}, Command(("a", "b"), False)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "what"),
    [("EXPOSE x", "not a port"), ("EXPOSE 80/http", "invalid protocol"), ("EXPOSE 65536", "out of range"), ("EXPOSE 3-2", "out of range"),
     ("EXPOSE 1.2.3:4:5", "invalid IP"), ("EXPOSE /tcp", "not a port"), ("EXPOSE 80-", "not a port"), ("EXPOSE -1", "not a port"),
     ("EXPOSE " + "9" * 5000, "out of range"), ("STOPSIGNAL SIGINTT", "Did you mean INT"), ("STOPSIGNAL 0", "Invalid signal"), ("STOPSIGNAL 99", "Invalid signal")],
)  # fmt: skip
def test_what_a_configuration_cannot_have(text: str, what: str) -> None:
    with pytest.raises(DockerfileError, match=what):
        apply({}, instruction(text))
