"""Linters and house rules are tests: ruff, mypy, docstrings, length of files, names that must not be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.users import CHECKOUT

MOST_LINES = 400
_BIN = Path(sys.executable).parent
# Registries are configured by the user; a machine's own folders are nobody else's. "ghcr.io/x" and "docker.io" are
# part of the reference grammar and of its examples.
_FORBIDDEN = (
    r"/work/(main|wt|wt2|shared)\b",
    r"/root/\.",
    r"/opt/(wheels|pypi)",
    r"/tmp/venv-",
    r"https?://[\w.-]*\b(pypi|pythonhosted|npmjs|artifactory|nexus|registry-1\.docker|deb\.debian|ubuntu)\b",
)


def _files(*suffixes: str) -> list[Path]:
    """The files of the project: what git tracks or would, or in a copy without git all but caches."""
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        paths = [CHECKOUT / line for line in done.stdout.splitlines()]
    else:
        paths = [path for path in CHECKOUT.rglob("*") if not {"__pycache__", ".git"} & set(path.parts)]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


PYTHON = [path for path in _files(".py") if path.relative_to(CHECKOUT).parts[0] != "binder"]


def _passes(*command: str) -> None:
    done = subprocess.run(
        [str(_BIN / command[0]), *command[1:]], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_ruff_finds_nothing() -> None:
    _passes("ruff", "check", "--no-cache", ".")


def test_the_format_is_ruffs() -> None:
    _passes("ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.timeout(600)
def test_types_are_strict(tmp_path: Path) -> None:
    _passes("mypy", "--cache-dir", str(tmp_path))


@pytest.mark.parametrize("package", ["kernel_runtime", "jupyter_containers", "tests"])
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [
        str(path.relative_to(CHECKOUT))
        for path in PYTHON
        if path.relative_to(CHECKOUT).parts[0] == package
        and path.read_text().strip()
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(CHECKOUT)): len(path.read_text().splitlines())
        for path in PYTHON
        if "tests" not in path.parts
    }
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES}


def test_no_machine_or_registry_is_named() -> None:
    found = []
    for path in _files():
        if path == Path(__file__):
            continue
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            found += [
                f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()[:100]}"
                for pattern in _FORBIDDEN
                if re.search(pattern, line)
            ]
    assert not found


def test_one_line_is_one_thing_in_the_changelog() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog")
    assert "## " in text
