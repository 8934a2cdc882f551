"""``--help``: docker's layout, every verb has it, and it costs no engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jupyter_containers.cli.dispatch import FORMS, perform
from jupyter_containers.cli.help import flag_usages, main_help, verb_help
from jupyter_containers.cli.out import Out
from jupyter_containers.cli.table import GROUPS, LATER, VERBS

# docker 28.2: docker ps --help, in 80 columns, with our --json left out
PS = """\
Usage:  docker ps [OPTIONS]

List containers

Aliases:
  docker container ls, docker container list, docker container ps, docker ps

Options:
  -a, --all             Show all containers (default shows just running)
  -f, --filter filter   Filter output based on conditions provided
      --format string   Format output using a custom template:
                        'table':            Print output in table format
                        with column headers (default)
                        'table TEMPLATE':   Print output in table format
                        using the given Go template
                        'json':             Print in JSON format
                        'TEMPLATE':         Print output using the given
                        Go template.
                        Refer to https://docs.docker.com/go/formatting/
                        for more information about formatting output with
                        templates
  -n, --last int        Show n last created containers (includes all
                        states) (default -1)
  -l, --latest          Show the latest created container (includes all
                        states)
      --no-trunc        Don't truncate output
  -q, --quiet           Only display container IDs
  -s, --size            Display total file sizes
"""


def test_help_is_laid_out_as_dockers() -> None:
    ours = verb_help(FORMS["ps"], "ps", "docker", 80).splitlines(keepends=True)
    assert "".join(line for line in ours if "--json" not in line) == PS


def test_narrow_help_puts_texts_below() -> None:
    assert "\n" in flag_usages(FORMS["ps"].flags, 40).split("--all")[1][:60]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_verb_has_help_without_an_engine(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    def no_engine() -> None:
        raise AssertionError

    for words in ([*form.split(), "--help"], ["help", *form.split()]):
        assert perform(words, "docker", Out(), no_engine) == 0  # type: ignore[arg-type]
        text = capsys.readouterr().out
        assert text.startswith(f"Usage:  docker {form}")
        assert max(map(len, text.splitlines())) < 130


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_verbs(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perform([group], "docker", Out(), lambda: None) == 0  # type: ignore[arg-type, return-value]
    text = capsys.readouterr().out
    assert f"Usage:  docker {group} COMMAND" in text
    assert all(f"  {verb.long[0].split()[1]}" in text for verb in VERBS if verb.group == group and verb.long)


def test_the_help_of_all_names_every_verb() -> None:
    text = main_help("%container")
    assert all(f"  {verb.name} " in text for verb in VERBS if verb.short)
    assert not any(f"  {name} " in text for name in LATER)


def test_help_and_version_import_neither_engine_nor_templates() -> None:
    code = (
        "import sys; from jupyter_containers.cli import main\n"
        "codes = [main([]), main(['--version']), main(['run', '--help'])]\n"
        "heavy = ['jupyter_containers.engine', 'jupyter_containers.text.template', 'IPython', 'argparse', 'asyncio',"
        " 'jupyter_containers.image', 'kernel_runtime', 'subprocess', 'logging']\n"
        "print([name for name in heavy if name in sys.modules], codes, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[] [0, 0, 0]\n"
    assert "nb-containers version" in done.stdout


def test_the_program_says_an_error_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from jupyter_containers.cli import main; sys.exit(main(['pss']))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: unknown command: pss. Did you mean ps?\n")
