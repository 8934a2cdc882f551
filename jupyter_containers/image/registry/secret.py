"""Texts that must not be seen: passwords, tokens, and headers made of them.

A :class:`Secret` shows itself nowhere: not in ``repr``, not in a traceback with variables, not in JSON or a pickle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

_SHORTEST = 4  # a shorter "password" would make holes in ordinary words


class Secret:
    """A text that only :meth:`reveal` gives away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        """Nothing of it."""
        return "<secret>"

    def __bool__(self) -> bool:
        """Whether there is a text."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same text."""
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        """Of the text."""
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        """It is not pickled."""
        raise TypeError("a secret is not pickled")


class Headers(dict[str, str]):
    """Headers of a request; ``repr`` has only their names."""

    def __repr__(self) -> str:
        """The names."""
        return f"<headers {', '.join(self)}>"


class Hidden(dict[str, Any]):
    """A JSON object with secrets somewhere inside; ``repr`` shows nothing. Use as ``object_hook``."""

    def __repr__(self) -> str:
        """Nothing."""
        return "<hidden>"


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """*text* without any of *secrets*: a registry may send back in its error what it was given."""
    for secret in sorted((each.reveal() for each in secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "•••")
    return text
