"""Here-documents: which ones a line announces, and the lines that they take.

As BuildKit's ``parser/parser.go``. In a word of a line ``<<NAME`` is one, in quotes it is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from jupyter_containers.build.instructions import Heredoc
from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import Lexer

_WORD = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
# A backslash escapes here whatever the escape directive says, as in the shell that reads these words after us.
_AS_WRITTEN = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)
_NAME = Lexer(keep_unset=True)
_QUOTED_NAME = Lexer(keep_unset=True, raw_quotes=True)


def announced(line: str) -> list[Heredoc]:
    """The here-documents that the words of *line* announce, still empty; none where it can't be split into words."""
    try:
        words = _AS_WRITTEN.split(line, {})
    except Fault:
        return []
    return [found for word in words if (found := heredoc(word))]


def heredoc(word: str) -> Heredoc | None:
    """The here-document that one word announces.

    Raises:
        Fault: its name has an open quote or a malformed variable.
    """
    match = _WORD.fullmatch(word)
    if not match or not match[3]:
        return None
    names, quoted = _NAME.split(match[3], {}), _QUOTED_NAME.split(match[3], {})
    if len(names) != 1 or len(quoted) != 1:
        return None
    descriptor = int(match[1][:9] or 0)
    return Heredoc(names[0], "", _quotes(names[0]) == _quotes(quoted[0]), bool(match[2]), descriptor)


def filled(document: Heredoc, lines: Iterator[str]) -> Heredoc:
    """The here-document with its content, for which *lines* (with their ends) are consumed.

    Raises:
        Fault: the line that ends it does not come.
    """
    content: list[str] = []
    for line in lines:
        end = line.rstrip("\r\n")
        if (end.lstrip("\t") if document.chomp else end) == document.name:
            return replace(document, content="".join(content))
        content.append(line)
    mend = f"Put {document.name:.40} alone on the line after the last one."
    raise Fault(f"the here-document {document.name:.40} has no end", "<<", mend)


def text_with(text: str, documents: Iterable[Heredoc]) -> str:
    """*text* and the documents below it, as a shell reads them."""
    return text + "".join(f"\n{document.content}{document.name}" for document in documents)


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
