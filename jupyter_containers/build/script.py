"""What a ``RUN`` with here-documents executes.

As BuildKit's ``dispatchRun``: where the here-document is the whole command it *is* the script, for the shell or, with a
``#!`` line, for its own interpreter; otherwise the shell gets the line and the documents as they were written.
"""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_containers.build import heredocs
from jupyter_containers.build.instructions import Command, Run
from jupyter_containers.build.source import Fault

FOLDER = "/dev/pipes"


@dataclass(frozen=True)
class Script:
    """A command, and the file that it is, if any.

    Args:
        command: what to execute; of the shell form, the image's shell before it.
        path: where *content* has to be, executable, while the command runs; empty for nowhere.
        content: of the file.
    """

    command: Command
    path: str = ""
    content: str = ""


def script(run: Run) -> Script:
    """What *run* executes."""
    text = run.command.words[0] if run.command.words else ""
    if not run.files:
        return Script(Command((text,), True) if run.command.shell else run.command)
    if not _is_whole(text):
        return Script(Command((heredocs.text_with(text, run.files),), True))
    content = run.files[0].chomped
    if not content.startswith("#!"):
        return Script(Command((content,), True))
    path = f"{FOLDER}/{run.files[0].name}"
    return Script(Command((path,), True), path, content)


def _is_whole(text: str) -> bool:
    """Whether a line is nothing but ``<<NAME``."""
    try:
        return heredocs.heredoc(text) is not None
    except Fault:
        return False
