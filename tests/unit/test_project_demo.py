"""The first thing that a reader does works: the quickstart, executed without a browser, as every kind of user."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.rigs.users import CHECKOUT, User

SHOW = CHECKOUT / "binder" / "show_notebook.py"


def _written(folder: Path, *cells: object) -> Path:
    folder.chmod(0o755)
    path = folder / "shown.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)  # type: ignore[no-untyped-call]
    path.chmod(0o644)
    return path


@pytest.mark.slow
def test_the_quickstart_runs(as_user: User, leak_watch: None) -> None:
    done = as_user.run(sys.executable, SHOW, CHECKOUT / "binder" / "quickstart.ipynb", check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert re.search(r"quickstart.ipynb: \d+ cells in", done.stdout)


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_cells_and_outputs_are_shown_until_one_fails(as_user: User) -> None:
    code = [new_code_cell(source) for source in ("x = 6\nprint('printed')", "x * 7", "1 / 0", "print('never')")]
    path = _written(as_user.tmp, new_markdown_cell("# Title"), *code)
    done = as_user.run(sys.executable, SHOW, path, check=False)
    assert done.returncode == 1
    for shown in ("# Title", "In [1]: x = 6", "        print('printed')", "    printed", "    42", "ZeroDivisionError"):
        assert shown in done.stdout
    assert "cell 3 failed" in done.stdout
    assert "never" not in done.stdout


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_a_cell_may_be_meant_to_fail(as_user: User) -> None:
    meant = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    done = as_user.run(sys.executable, SHOW, _written(as_user.tmp, meant, new_code_cell("print('went on')")))
    assert "went on" in done.stdout
