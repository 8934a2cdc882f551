"""``docker run``'s flags, defined once: argument lists, keywords and the typed options they become.

Not here: images (a reference stays a word), and whether this machine can do what was asked (the engine says).
"""

from .flag import Flag, Parsed, parse
from .flags import flags_for
from .keywords import options_from_keywords
from .model import CellOptions, Device, Mount, RunOptions, Ulimit
from .run import docker_run_line, parse_cell, parse_run
from .values import Context

__all__ = [
    "CellOptions",
    "Context",
    "Device",
    "Flag",
    "Mount",
    "Parsed",
    "RunOptions",
    "Ulimit",
    "docker_run_line",
    "flags_for",
    "options_from_keywords",
    "parse",
    "parse_cell",
    "parse_run",
]
