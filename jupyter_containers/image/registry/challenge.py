"""Reading ``WWW-Authenticate``: which schemes a server takes, and their parameters.

Pure. https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 · what to do with them is ``auth``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT = 8192

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)')
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=[\s,]|$)")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate.

    Attributes:
        scheme: lower case: ``bearer``, ``basic`` …
        parameters: by lower-case name: ``realm``, ``service``, ``scope``, ``error``.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A parameter, or ""."""
        return self.parameters.get(name, "")


def parse(header: str) -> list[Challenge]:
    """The challenges of a header, in its order; what cannot be read ends the list.

    >>> parse('Bearer realm="https://auth.example/t",service="r"')[0].get("service")
    'r'
    """
    found: list[tuple[str, dict[str, str]]] = []
    at, header = 0, header[:LIMIT]
    while at < len(header):
        parameter = _PARAMETER.match(header, at) if found else None
        matched = parameter or _SCHEME.match(header, at)
        if not matched:
            break
        if parameter:
            found[-1][1].setdefault(parameter[1].lower(), _unquoted(parameter[2]))
        else:
            found.append((matched[1].lower(), {}))
        at = matched.end()
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _unquoted(value: str) -> str:
    return _ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value
