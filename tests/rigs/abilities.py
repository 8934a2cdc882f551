"""What a machine may lack: with ``JC_MUST_WORK=1`` (CI) a failure, on a laptop a skip that says why."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def must_work() -> bool:
    """Whether a missing ability is a failure."""
    return os.environ.get("JC_MUST_WORK") == "1"


def must(ability: object, why: str) -> None:
    """Fail or skip the test unless *ability* is there.

    Args:
        ability: whatever is true where this machine can do it.
        why: what is missing and what would mend it.
    """
    if not ability:
        _missing(why)


def _missing(why: str) -> NoReturn:
    if must_work():
        pytest.fail(f"this machine lacks: {why}", pytrace=False)
    pytest.skip(why)


def need_program(name: str, package: str = "") -> str:
    """The path of a program; its package is named where it is missing."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    must(path, f"{name} (Debian package {package or name})")
    return str(path)
