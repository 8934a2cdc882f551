"""Control characters made harmless: what a container or an image calls itself is not trusted.

A name with an escape sequence could move the cursor, recolour or retitle a terminal, or (with bidirectional marks)
show another text than it is; CVE-2021-42574 and the terminal-injection family.

Not here: the output of a running container in a terminal, which is the user's own session, as with docker.
"""

from __future__ import annotations

import re

# C0, DEL and C1 controls, bidirectional marks and overrides, line and paragraph separators, byte order mark
CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"
_ONE_LINE = re.compile(f"[{CONTROLS}]")
_SEVERAL = re.compile(f"[{CONTROLS}]".replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])")


def one_line(text: str) -> str:
    r"""*text* with every control character as an escape, for a cell of a table or an error.

    >>> one_line("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    return _ONE_LINE.sub(_escape, text)


def several_lines(text: str) -> str:
    """As :func:`one_line`, but newlines and tabs stay."""
    return _SEVERAL.sub(_escape, text)


def without_ansi(text: str) -> str:
    """*text* with ANSI escape sequences left out and other controls escaped."""
    return several_lines(_ANSI.sub("", text))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
