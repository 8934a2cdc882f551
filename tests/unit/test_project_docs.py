"""The documents are true as far as a machine can see: code blocks parse, named files exist, the commands are named."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.rigs.users import CHECKOUT

DOCUMENTS = sorted(path for path in CHECKOUT.glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MAGIC = re.compile(r"^\s*[%!]")


def blocks(path: Path, *languages: str) -> list[tuple[str, str]]:
    """The fenced code blocks of some languages: ``(language, code)``."""
    return [(kind, code) for kind, code in _BLOCK.findall(path.read_text()) if kind in languages]


def _without_magics(code: str) -> str:
    """A cell magic takes the whole cell; a line magic is a statement."""
    if code.lstrip().startswith("%%"):
        return ""
    lines = [re.sub(r"[%!].*", "pass", line) if _MAGIC.match(line) else line for line in code.splitlines()]
    return "\n".join(lines)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_parse(path: Path) -> None:
    for _, code in blocks(path, "python", "py"):
        ast.parse(_without_magics(code), filename=path.name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_shell_blocks_parse(path: Path) -> None:
    for kind, code in blocks(path, "bash", "sh", "shell"):
        shell = "sh" if kind == "sh" else "bash"
        done = subprocess.run([shell, "-n"], input=code, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_linked_files_exist(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_readme_names_both_commands() -> None:
    text = (CHECKOUT / "README.md").read_text()
    assert "./dev demo" in text
    assert "./dev test" in text


def test_dev_says_its_verbs() -> None:
    done = subprocess.run(["bash", CHECKOUT / "dev"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for verb in ("demo", "lab", "test", "lint", "bench"):
        assert verb in done.stdout


@pytest.mark.parametrize("script", ["dev", ".ci/run"])
def test_scripts_parse_and_are_executable(script: str) -> None:
    path = CHECKOUT / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
