"""Tables, sizes, times, filters: docker's columns and words. Expected texts are the output of docker 28.2."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_containers.errors import InvalidArgument, NotFound
from jupyter_containers.text import containers, filters, images, ports, units, usage
from jupyter_containers.text.neutral import one_line, several_lines, without_ansi
from jupyter_containers.text.result import Json, Table, Text
from jupyter_containers.text.table import align

NOW = units.moment("2026-11-24T09:32:12.5Z")


def container(name: str, **changes: Any) -> dict[str, Any]:
    state = {
        "Status": "running",
        "Running": True,
        "ExitCode": 0,
        "StartedAt": "2026-11-24T09:32:11.681499024Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    return {
        "Id": changes.get("id", "c301fc50e32223add1fc15513799e8a55d0182a9230ae4be03a67cf062f96cba"),
        "Name": f"/{name}",
        "Created": changes.get("created", "2026-11-24T09:32:11.53471405Z"),
        "Path": changes.get("command", ["sleep", "1000"])[0],
        "Args": changes.get("command", ["sleep", "1000"])[1:],
        "Image": "sha256:731e808cdac2a8126c72c8643c96d03cbbd46532fa3046e641335af9ef41c2bd",
        "State": state | changes.get("state", {}),
        "Config": {"Image": changes.get("image", "busybox:1.36"), "Labels": changes.get("labels", {})},
        "Mounts": changes.get("mounts", []),
        "NetworkSettings": {"Ports": changes.get("ports", {}), "Networks": {"bridge": {}}},
    }


EXITED = {
    "Status": "exited",
    "Running": False,
    "ExitCode": 3,
    "FinishedAt": "2026-11-24T09:32:12.4Z",
}
CREATED = {"Status": "created", "Running": False, "StartedAt": "0001-01-01T00:00:00Z"}
LIST = [
    container("longnamelongnamelongname", id="01" * 32, command=["sh", "-c", "while true; do echo hello; done"]),
    container(
        "c3",
        id="a5" * 32,
        state=CREATED,
        command=["echo", "a very long command line indeed"],
        mounts=[
            {"Type": "volume", "Name": "vol", "Destination": "/v"},
            {"Type": "bind", "Source": "/tmp", "Destination": "/t"},
        ],
    ),
    container("c2", id="31" * 32, state=EXITED, command=["sh", "-c", "exit 3"]),
    container("c1", labels={"x": "y z", "a": "b"}),
]


def ps(form: str = "", **options: Any) -> str:
    return containers.listing().show([containers.row(attrs, NOW, **options) for attrs in LIST], form).text


def test_ps_has_dockers_columns() -> None:
    assert ps() == (
        "CONTAINER ID   IMAGE          COMMAND                  CREATED        STATUS"
        "                              PORTS     NAMES\n"
        '010101010101   busybox:1.36   "sh -c \'while true; …"   1 second ago   Up Less than a second'
        "                         longnamelongnamelongname\n"
        'a5a5a5a5a5a5   busybox:1.36   "echo \'a very long c…"   1 second ago   Created'
        "                                       c3\n"
        "313131313131   busybox:1.36   \"sh -c 'exit 3'\"         1 second ago   Exited (3) Less than a second ago"
        "             c2\n"
        'c301fc50e322   busybox:1.36   "sleep 1000"             1 second ago   Up Less than a second'
        "                         c1\n"
    )


def test_ps_formats() -> None:
    assert ps("{{.Names}}\\t{{.Status}}").splitlines()[2] == "c2\tExited (3) Less than a second ago"
    assert ps('table {{.ID}}\\t{{.Label "a"}}\\t{{upper .Names}}\\t{{.Mounts}}').splitlines()[:3] == [
        "CONTAINER ID   a         NAMES                      MOUNTS",
        "010101010101             LONGNAMELONGNAMELONGNAME   ",
        "a5a5a5a5a5a5             C3                         /tmp,vol",
    ]
    assert ps("json").splitlines()[3] == (
        '{"Command":"\\"sleep 1000\\"","CreatedAt":"' + units.created_at(LIST[3]["Created"]) + '","ID":"c301fc50e322",'
        '"Image":"busybox:1.36","Labels":"a=b,x=y z","LocalVolumes":"0","Mounts":"","Names":"c1","Networks":"bridge",'
        '"Ports":"","RunningFor":"1 second ago","Size":"0B","State":"running","Status":"Up Less than a second"}'
    )
    assert ps("raw").endswith("names: c1\nlabels: a=b,x=y z\nports:\n\n")
    assert "\"echo 'a very long command line indeed'\"" in ps(no_trunc=True)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{", "failed to parse template: template: :1: unclosed action"),
        ("{{.Foo}}", "failed to execute template: template: :1:2"),
        ("{{.Name}}", "Did you mean Names?"),
    ],
)
def test_a_bad_format_is_told_in_dockers_words(form: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ps(form)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "Up Less than a second"),
        ({"Paused": True}, "Up Less than a second (Paused)"),
        ({"Health": {"Status": "healthy"}}, "Up Less than a second (healthy)"),
        ({"Health": {"Status": "starting"}}, "Up Less than a second (health: starting)"),
        (EXITED, "Exited (3) Less than a second ago"),
        (EXITED | {"Restarting": True}, "Restarting (3) Less than a second ago"),
        (EXITED | {"Dead": True}, "Dead"),
        (CREATED, "Created"),
    ],
)
def test_a_status_has_dockers_words(state: dict[str, Any], text: str) -> None:
    assert containers.status(container("x", state=state)["State"], NOW) == text


IMAGE = {
    "Id": "sha256:731e808cdac2a8126c72c8643c96d03cbbd46532fa3046e641335af9ef41c2bd",
    "RepoTags": ["busybox:1.36", "reg.example.com:5000/a/b:v1"],
    "RepoDigests": [],
    "Created": "2026-11-24T09:21:16Z",
    "Size": 1982319,
    "Config": {"Labels": {"a": "b"}},
}


def test_images_has_dockers_columns() -> None:
    assert images.listing().show(images.rows(IMAGE, NOW)).text == (
        "REPOSITORY                 TAG       IMAGE ID       CREATED          SIZE\n"
        "busybox                    1.36      731e808cdac2   10 minutes ago   1.98MB\n"
        "reg.example.com:5000/a/b   v1        731e808cdac2   10 minutes ago   1.98MB\n"
    )
    assert images.listing().show([]).text == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    dangling = images.listing(digests=True).show(images.rows(IMAGE | {"RepoTags": []}, NOW, digests=True)).text
    assert dangling.splitlines()[1].split() == "<none> <none> <none> 731e808cdac2 10 minutes ago 1.98MB".split()


def test_history_has_dockers_columns() -> None:
    entries = [
        {"Id": "sha256:" + "1489d99d1f40" * 5, "Created": 1795512762, "CreatedBy": '/bin/sh -c #(nop)  CMD ["sh"]', "Size": 0},
        {"Id": "<missing>", "Created": 1795512076, "CreatedBy": "x" * 60, "Size": 1982319, "Comment": "Imported from -"},
    ]  # fmt: skip
    rows = [images.history_row(entry, 1795512762.5, False, True) for entry in entries]
    assert images.history_listing().show(rows).text == (
        "IMAGE          CREATED                  CREATED BY                                      SIZE      COMMENT\n"
        '1489d99d1f40   Less than a second ago   /bin/sh -c #(nop)  CMD ["sh"]                   0B        \n'
        "<missing>      11 minutes ago           xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…   1.98MB    Imported from -\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (125, "2 minutes"),
        (3599, "59 minutes"), (3600, "About an hour"), (3600 * 47, "47 hours"), (3600 * 48, "2 days"),
        (86400 * 14, "2 weeks"), (86400 * 61, "2 months"), (86400 * 800, "2 years"),
    ],
)  # fmt: skip
def test_durations_have_dockers_words(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


def test_sizes_have_dockers_digits() -> None:
    assert [units.human_size(n, 3) for n in (0, 3, 999, 1000, 1982319, 124_300_000)] == [
        "0B", "3B", "999B", "1kB", "1.98MB", "124MB",
    ]  # fmt: skip
    assert units.human_size(1982319) == "1.982MB"
    assert units.bytes_size(25275695104) == "23.54GiB"


def test_columns_end_where_a_line_lacks_the_cell() -> None:
    assert align("a\tbb\tc\nlonger than ten\tx\ty\nplain\na\tb") == (
        "a                 bb        c\nlonger than ten   x         y\nplain\na         b"
    )


def test_ports_are_shown_as_docker_shows_them() -> None:
    here = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    found = {"80/tcp": here, "443/tcp": None, "444/tcp": None, "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}]}
    assert ports.displayable(found) == ("0.0.0.0:53->53/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp")
    assert ports.port_lines(found) == [
        "53/udp -> 0.0.0.0:53", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080",
    ]  # fmt: skip


OBJECTS = [SimpleNamespace(attrs=attrs) for attrs in LIST]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["name=c"], ["c3", "c2", "c1"]),
        (["name=^/c1$"], ["c1"]),
        (["name=c1", "name=c2"], ["c2", "c1"]),
        (["status=exited"], ["c2"]),
        (["status=exited", "status=created"], ["c3", "c2"]),
        (["exited=3"], ["c2"]),
        (["exited=0"], []),
        (["label=a"], ["c1"]),
        (["label=a=b", "label=x=no"], []),
        (["id=313131"], ["c2"]),
        (["ancestor=busybox:1.36", "name=c1"], ["c1"]),
        (["ancestor=busybox"], []),
        (["ancestor=731e808cdac2", "name=c1"], ["c1"]),
        (["volume=vol"], ["c3"]),
        (["network=bridge", "name=c1"], ["c1"]),
    ],
)
def test_filters_keep_what_docker_keeps(words: list[str], names: list[str]) -> None:
    found = filters.containers(OBJECTS, filters.parse(words, filters.CONTAINER_KEYS))
    assert [item.attrs["Name"].removeprefix("/") for item in found] == names


def test_filters_by_age_name_a_container() -> None:
    old = SimpleNamespace(attrs=container("old", created="2020-01-01T00:00:00Z", id="ff" * 32))
    new = SimpleNamespace(attrs=container("new", id="ee" * 32))
    wanted = filters.parse(["before=new"], filters.CONTAINER_KEYS)
    assert filters.containers([old, new], wanted) == [old]
    assert filters.containers([old, new], filters.parse(["since=ffff"], filters.CONTAINER_KEYS)) == [new]
    with pytest.raises(NotFound, match="No such container: nope"):
        filters.containers([old, new], filters.parse(["since=nope"], filters.CONTAINER_KEYS))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("foo=1", "invalid filter 'foo'"),
        ("nam=1", "Did you mean name?"),
        ("foo", "bad format of filter (expected name=value)"),
        ("status=up", "invalid filter 'status=up'"),
        ("exited=x", 'strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_a_bad_filter_is_told_in_dockers_words(word: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        filters.containers(OBJECTS, filters.parse([word], filters.CONTAINER_KEYS))
    assert text in str(caught.value)


def test_filters_of_images() -> None:
    named, dangling = SimpleNamespace(attrs=IMAGE), SimpleNamespace(attrs=IMAGE | {"RepoTags": [], "Id": "sha256:ab"})
    both = [named, dangling]

    def kept(word: str) -> list[Any]:
        return filters.images(both, filters.parse([word], filters.IMAGE_KEYS))

    assert kept("dangling=true") == [dangling]
    assert kept("dangling=false") == [named]
    assert kept("reference=busy*") == [named]
    assert kept("reference=busybox:1.36") == [named]
    assert kept("reference=other") == []
    assert kept("label=a=b") == both
    assert kept("id=ab") == [dangling]


def test_control_characters_are_shown_not_obeyed() -> None:
    assert one_line("a\x1b[31mb\r\n\x9b\u202e") == "a\\x1b[31mb\\r\\n\\x9b\\u202e"
    assert several_lines("a\tb\n\x1bc") == "a\tb\n\\x1bc"
    assert without_ansi("\x1b[1;31mred\x1b[0m \x1b]0;title\x07ok") == "red ok"


def test_html_is_escaped() -> None:
    table = Table("x\n", ["<b>"], [["<script>alert(1)</script>", "a&b"]])
    assert "<script>" not in table._repr_html_()
    assert "&lt;script&gt;" in table._repr_html_()
    assert Text("<i>\x1b\n")._repr_html_() == "<pre>&lt;i&gt;\\x1b\n</pre>"


def test_json_is_indented_as_dockers() -> None:
    shown = Json(data=[{"a": "<&>", "b": [], "c": "\x1b"}]).text
    assert shown == '[\n    {\n        "a": "<&>",\n        "b": [],\n        "c": "\\u001b"\n    }\n]\n'


def test_df_has_dockers_columns() -> None:
    report = {
        "LayersSize": 1982319,
        "Images": [{"Id": "x", "Size": 1982319}, {"Id": LIST[0]["Image"], "Size": 0}],
        "Containers": [{"Id": attrs["Id"], "SizeRw": 0} for attrs in LIST],
        "Volumes": [{"Name": "vol", "UsageData": {"Size": 0}}],
    }
    assert usage.LISTING.show(usage.rows(report, LIST)).text == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          2         1         1.982MB   1.982MB (100%)\n"
        "Containers      4         2         0B        0B\n"
        "Local Volumes   1         1         0B        0B\n"
        "Build Cache     0         0         0B        0B\n"
    )
    assert usage.verbose(report, LIST, [IMAGE], NOW).startswith("Images space usage:\n\nREPOSITORY ")


def test_doctor_tells_why_and_the_mend() -> None:
    rungs = [
        {"rung": "root", "works": False, "guarantees": "all", "why": "not root", "mend": "Use sudo."},
        {"rung": "rootless", "works": True, "guarantees": "much"},
    ]
    text = usage.doctor({"rungs": rungs, "rung": "rootless", "network": {"outside": False, "why": "no pasta"}})
    assert "✗ root             not here" in text
    assert "why not: not root" in text
    assert "mend: Use sudo." in text
    assert "▶ rootless         in use" in text
