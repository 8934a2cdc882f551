"""Image references: grammar, normal form and familiar form, as distribution/reference has them.

Pure text. ``debian`` is ``docker.io/library/debian:latest``; a digest pins. What a store or registry holds under a
reference is not known here. https://github.com/distribution/reference
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from jupyter_containers.errors import InvalidReference
from jupyter_containers.image import digest as digests

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_ALNUM = r"[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[._]|__|[-]+){_ALNUM})*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
TAG = re.compile(_TAG)


@dataclass(frozen=True)
class Reference:
    """A normalised reference.

    Attributes:
        domain: the registry's host, perhaps with a port.
        path: the repository in it.
        tag, digest: either, both, or (for a bare name) neither.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self._suffix}"

    @property
    def name(self) -> str:
        """``docker.io/library/debian``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: ``debian`` for ``docker.io/library/debian``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        official = self.path.removeprefix("library/")
        return self.path if "/" in official else official

    @property
    def familiar(self) -> str:
        """The whole reference as docker shows it: ``debian:bookworm``."""
        return f"{self.familiar_name}{self._suffix}"

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> Reference:
        """With the tag ``latest`` where there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)


def parse(text: str) -> Reference:
    """The reference that *text* means, with ``latest`` where it has neither tag nor digest.

    Raises:
        InvalidReference: it does not follow the grammar, or could be mistaken for an image id.
    """
    return parse_name(text).tagged()


def parse_name(text: str) -> Reference:
    """As :func:`parse`, without adding a tag."""
    if not text:
        raise _invalid(text, "it is empty")
    if _IDENTIFIER.fullmatch(text):
        raise _invalid(text, "64 hexadecimal digits are an image id, not a name", "Write sha256: before it.")
    domain, rest = _split_domain(text)
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if not found:
        raise _why(text, rest)
    if len(found["path"]) > NAME_LIMIT:
        raise _invalid(text, f"its name has more than {NAME_LIMIT} characters")
    if found["digest"]:
        digests.check(found["digest"], f"reference {_quoted(text)}")
    return Reference(found["domain"], found["path"], found["tag"] or "", found["digest"] or "")


def _split_domain(text: str) -> tuple[str, str]:
    """Docker's rule: the first component is a host when it has a dot, a colon or an upper-case letter."""
    first, slash, rest = text.partition("/")
    if not slash or (not re.search(r"[.:]", first) and first != "localhost" and first.lower() == first):
        first, rest = DEFAULT_DOMAIN, text
    if first == "index.docker.io":
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _why(text: str, rest: str) -> InvalidReference:
    name = rest.removeprefix("library/").partition("@")[0].partition(":")[0]
    if name != name.lower():
        return _invalid(text, "repository names are lower case", f"Did you mean {text.replace(name, name.lower())}?")
    return _invalid(text, "it does not follow the form [HOST[:PORT]/]NAME[:TAG][@DIGEST]")


def _invalid(text: str, why: str, mend: str = "") -> InvalidReference:
    return InvalidReference(f"not an image reference: {why}", f"reference {_quoted(text)}", mend)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 300 else text[:300] + "…")
