"""Go templates: what docker prints for them, checked against docker 28.2 by hand, and what it says of bad ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.text.template import Fields, Template, TemplateError

DATA = {
    "Id": "c301fc50e32223add1fc15513799e8a55d0182a9230ae4be03a67cf062f96cba",
    "Name": "/c1",
    "Config": {
        "Labels": {"a": "b", "x": "y z"},
        "Cmd": ["sleep", "1000"],
        "Env": ["A=1", "B=2"],
        "Entrypoint": None,
        "Volumes": None,
    },
    "State": {"Running": True, "Status": "running", "Pid": 5, "Load": 2.5},
    "HostConfig": {"Binds": None, "Memory": 0},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
}


def render(text: str, data: object = DATA) -> str:
    return Template(text).render(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.State.Status}}\t{{.Name}}", "running\t/c1"),
        ("{{ .State.Pid }} {{.State.Load}} {{.State.Running}}", "5 2.5 true"),
        ('{{index .Config.Labels "x"}}|{{index .Config.Labels "none"}}|', "y z||"),
        ("{{.Config.Labels.none}} {{.Config.Labels}} {{.Config.Cmd}}", "<no value> map[a:b x:y z] [sleep 1000]"),
        ("{{.ID}}", DATA["Id"]),
        ("{{.HostConfig.Binds}} {{json .HostConfig.Binds}} {{len .Config.Volumes}}", "[] null 0"),
        ("{{json .Config.Cmd}} {{json .State.Running}}", '["sleep","1000"] true'),
        ('{{join .Config.Cmd ","}}', "sleep,1000"),
        ('{{printf "%.12s" .Id}}', "c301fc50e322"),
        ('{{printf "%-6s|%4d|%q|%v|%05.1f|%x|%%" "ab" 7 "c" .Config.Cmd 2.5 255}}', 'ab    |   7|"c"|[sleep 1000]|002.5|ff|%'),
        ('{{printf "%d" "s"}} {{printf "%s"}} {{printf "x" 1}}', "%!d(string=s) %!s(MISSING) x%!(EXTRA int=1)"),
        ('{{upper .Name}} {{lower "A"}} {{title "abc def"}} {{truncate "abcdef" 3}}.{{pad "x" 1 2}}.', "/C1 a Abc Def abc. x  ."),
        ('{{split "a,b" ","}} {{len .Id}} {{len .Config.Env}}', "[a b] 64 2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=b;x=y z;"),
        ("{{range .Config.Env}}{{.}} {{end}}{{range $i, $e := .Config.Cmd}}{{$i}}{{$e}}{{end}}", "A=1 B=2 0sleep11000"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
        (
            "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{if $c}}{{(index $c 0).HostPort}}{{else}}none{{end}} {{end}}",
            "80/tcp -> 8080 90/tcp -> none ",
        ),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}yes{{else}}no{{end}}", "yes"),
        ("{{if not .State.Running}}a{{else if eq .State.Pid 5}}b{{else}}c{{end}}", "b"),
        ('{{if and .State.Running (eq .State.Status "running" )}}ok{{end}}{{or .HostConfig.Memory "none"}}', "oknone"),
        ("{{with .State}}{{.Pid}}{{$.Name}}{{end}}{{with .HostConfig.Binds}}x{{else}}y{{end}}", "5/c1y"),
        ('{{.Name | printf "%s!" | upper}}', "/C1!"),
        ("{{$x := .State.Pid}}{{range .Config.Env}}{{$x = 6}}{{end}}{{$x}}", "6"),
        ("a {{- 1 -}} b{{/* note */}}c {{- /* more */ -}} d", "a1bcd"),
        ('{{eq 1 1 2}} {{ne "a" "b"}} {{lt 1 2}} {{gt "b" "a"}} {{le 2 2}} {{ge 1 2}}', "true true true true true false"),
        ('{{slice "abcdef" 1 3}} {{html "<a b=\'c\'>"}} {{urlquery "a b"}} {{js "<"}}', "bc &lt;a b=&#39;c&#39;&gt; a+b \\u003C"),
        ('{{print 1 2 "a" "b" 3}}{{println 1 "x"}}', "1 2ab31 x\n"),
        ("{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1"),
        ("{{range .Config.Env}}{{with 1}}{{continue}}{{end}}{{.}}{{end}}", ""),
        ("`{{`raw\\n`}}` {{\"a\\tb\"}} {{'x'}} {{0x10}} {{1_000}}", "`raw\\n` a\tb 120 16 1000"),
    ],
)  # fmt: skip
def test_a_template_gives_what_go_gives(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Id", "template: :1: unclosed action"),
        ("{{nope .}}", 'template: :1: function "nope" not defined'),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("a\n{{end}}", "template: :2: unexpected {{end}}"),
        ("{{if .Id}}", "template: :1: unexpected EOF"),
        ('{{"a}}', "template: :1: unterminated quoted string"),
        ("{{.State.Status}} {{.Foo}}", 'template: :1:20: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Foo}}", 'template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
        ("{{.Name.x}}", "can't evaluate field x in type string"),
        ('{{join .Name ","}}', "executing \"\" at <.Name>: wrong type for value; expected []string; got string"),
        ("{{index .Config.Cmd 9}}", "error calling index: index out of range: 9"),
        ("{{range .Name}}{{end}}", "range can't iterate over /c1"),
        ("{{len .State.Pid}}", "error calling len: len of type int"),
        ('{{template "x"}}', "{{template}} is not supported here"),
        ("{{08}}", "bad number syntax"),
    ],
)  # fmt: skip
def test_a_bad_template_is_told_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert message in caught.value.what


def test_a_row_names_the_nearest_field() -> None:
    row = Fields("*formatter.ContainerContext", {"Names": "c1", "ID": lambda: "x"}, {"Label": lambda name: f"<{name}>"})
    assert render('{{.Names}} {{.ID}} {{.Label "a"}} {{"b" | .Label}}', row) == "c1 x <a> <b>"
    assert render("{{json .}}", row) == '{"ID":"x","Names":"c1"}'
    with pytest.raises(TemplateError) as caught:
        render("{{.Name}}", row)
    assert str(caught.value) == (
        'template: :1:2: executing "" at <.Name>: can\'t evaluate field Name in type *formatter.ContainerContext. '
        "Did you mean Names?"
    )


def test_json_escapes_what_go_escapes_and_what_could_steer_a_terminal() -> None:
    text = render("{{json .}}", {"a": "<&>\x1b\x9b\u202e"})
    assert text == '{"a":"\\u003c\\u0026\\u003e\\u001b\\u009b\\u202e"}'
    assert json.loads(text) == {"a": "<&>\x1b\x9b\u202e"}


@given(st.text(st.sampled_from("{}.$|:=(),\"'`-/* abr1\n"), max_size=24) | st.text(max_size=24))
def test_any_template_renders_or_is_refused(text: str) -> None:
    for source in (text, "{{" + text + "}}"):
        try:
            render(source)
        except TemplateError as error:
            assert error.what.startswith("template: :")
