"""``--change`` of import and commit, from the words on the command line to the image."""

from __future__ import annotations

import pytest

from jupyter_containers.build.changes import changed
from jupyter_containers.errors import DockerfileError


def test_changes_make_a_configuration() -> None:
    made = changed(
        {"Env": ["A=0", "B=2"], "Labels": {"l": "0"}, "Cmd": ["inherited"]},
        ["ENTRYPOINT exec top -b", 'CMD ["sh", "-c"]', "env A=1 C='x y'", "ENV D three words", "LABEL m=1 n=\"2 3\"",
         "EXPOSE 80 53/udp", "WORKDIR /w", "WORKDIR $A", "USER me", 'VOLUME ["/a", "/b c"]', "STOPSIGNAL SIGINT",
         "ONBUILD RUN x", "HEALTHCHECK --retries=2 CMD true"],
    )  # fmt: skip
    assert made == {
        "Cmd": ["sh", "-c"], "Entrypoint": ["/bin/sh", "-c", "exec top -b"],
        "Env": ["A=1", "B=2", "C=x y", "D=three words"], "Labels": {"l": "0", "m": "1", "n": "2 3"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "WorkingDir": "/w/1", "User": "me",
        "Volumes": {"/a": {}, "/b c": {}}, "StopSignal": "SIGINT", "OnBuild": ["RUN x"],
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Retries": 2},
    }  # fmt: skip


def test_what_is_given_is_left_as_it_is() -> None:
    config = {"Env": ["A=0"], "Labels": {"l": "0"}}
    changed(config, ["ENV A=1", "LABEL l=1 m=2", "EXPOSE 1"])
    assert config == {"Env": ["A=0"], "Labels": {"l": "0"}}


@pytest.mark.parametrize(
    "change",
    ["", "RUN x", "FROM x", "ARG x", "COPY a b", "SHELL ['x']", "ENV", "ENV a=1 b", "EXPOSE x", "EXPOSE 99999",
     "EXPOSE 2-1", "CMDD x", "LABEL 'open", "LABEL a='open", "USER", "CMD a\nCMD b", "STOPSIGNAL x", "# comment"],
)  # fmt: skip
def test_changes_that_cannot_be(change: str) -> None:
    with pytest.raises(DockerfileError, match="^--change:[12]: "):
        changed({}, [change])


def test_a_misspelt_change_is_mended() -> None:
    with pytest.raises(DockerfileError, match="Did you mean ENTRYPOINT"):
        changed({}, ["ENTRYPIONT x"])
