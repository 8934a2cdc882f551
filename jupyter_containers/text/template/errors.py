"""The one error of templates."""

from __future__ import annotations

from jupyter_containers.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """A template does not parse or cannot be filled in; the text is Go's.

    Args:
        what: Go's message.
        parsing: it does not parse (docker words the two cases differently).
        mend: the nearest valid word, or "".
    """

    def __init__(self, what: str, parsing: bool = False, mend: str = "") -> None:
        self.parsing = parsing
        super().__init__(what, "", mend)
