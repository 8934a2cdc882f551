"""Flags that several verbs have, with docker's help."""

from __future__ import annotations

from typing import Any

from jupyter_containers.options import Flag

from .verb import Args

_REFER = "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
_TABLE = (
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
) + _REFER
_INSPECT = (
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
) + _REFER

FORMAT = Flag("format", "", "string", "format", _TABLE)
INSPECT_FORMAT = Flag("format", "f", "string", "format", _INSPECT)
JSON = Flag("json", "", "", "json", "Print in JSON format (the same as --format json)")
FILTER = Flag("filter", "f", "filter", "filter", "Filter output based on conditions provided")
NO_TRUNC = Flag("no-trunc", "", "", "no_trunc", "Don't truncate output")
FORCE = Flag("force", "f", "", "force", "Do not prompt for confirmation")


def form(args: Args) -> str:
    """What ``--format`` or ``--json`` says."""
    chosen: Any = args.get("format") or ("json" if args.get("json") else "")
    return str(chosen)
