"""Where the files of a COPY or ADD go: BuildKit's rules of destinations, upon the root that is there.

A destination that ends in ``/`` (or ``/.``) is a directory; so is one that is a directory already, and then a file
goes into it by its own name. A directory that is copied stands for what is in it. Directories that are missing are
made: 0755, of ``--chown``'s owner, and of an octal ``--chmod``'s mode. A directory that the destination names keeps
what it is; one further down takes the mode and owner of the one that is copied onto it. A file never replaces a
directory, nor a directory anything else.
https://docs.docker.com/reference/dockerfile/#destination
fsutil's copy.go and BuildKit's solver/llbsolver/file/backend.go have the rules.
Not here: what is copied (``selection``), bytes (``copying``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from jupyter_containers.build.base import Base
from jupyter_containers.build.patterns import clean
from jupyter_containers.build.selection import Selected
from jupyter_containers.errors import Conflict, InvalidArgument, LayerError
from jupyter_containers.image.refusals import shown


class Destination(NamedTuple):
    """A destination, without a leading slash, and whether it must be a directory."""

    path: str
    is_folder: bool


class Piece(NamedTuple):
    """One entry of the layer: a directory that is made, a file of an input, or a document.

    Attributes:
        source: which input it is of; -1 for none.
        selected: of the input; None for what is none of it.
        content: of a document; None for a directory.
        root_owned: whether it is 0:0 whatever ``--chown`` says.
    """

    source: int = -1
    selected: Selected | None = None
    content: bytes | None = None
    root_owned: bool = False


def destination(text: str, workdir: str = "/") -> Destination:
    """The destination *text*, relative to *workdir*.

    >>> destination("x/", "/app"), destination("/y/../z")
    (Destination(path='app/x', is_folder=True), Destination(path='z', is_folder=False))
    """
    is_folder = text in ("", ".") or text.endswith(("/", "/."))
    return Destination(clean(f"/{workdir}/{text}" if not text.startswith("/") else text).lstrip("/"), is_folder)


class Plan:
    """The entries of a layer, by their real paths.

    Args:
        base: the root beneath, which is told what is put on it.
        to: where all goes.
        read_link: where a symbolic link of an input points to.
    """

    def __init__(self, base: Base, to: Destination, read_link: Callable[[int, Selected], str]) -> None:
        self._base, self._to, self._read_link = base, to, read_link
        self._pieces: dict[str, Piece] = {}

    def check_several(self, count: int, has_files: bool) -> None:
        """Several files do not fit one name.

        Raises:
            InvalidArgument: the destination is neither written as a directory nor is one.
        """
        if count > 1 and has_files and not self._to.is_folder and self._kind_there() != "dir":
            raise InvalidArgument(
                "several files are copied to one name", f"/{self._to.path}", "End the destination with a slash."
            )

    def folder(self) -> str:
        """The destination as a directory, made where it is missing: its real path."""
        return self.make(self._to.path)

    def add(self, source: int, item: list[Selected]) -> None:
        """Put the files of one match of input *source*, the match first, where they belong.

        Raises:
            Conflict: something of another kind is there. LayerError: a name that layers can't have.
        """
        top = item[0]
        if top.name:
            self._put(self._place(top.name), Piece(source, top))
            return
        folder = self.folder()
        for one in item[1:]:
            self._put(f"{folder}/{one.name}" if folder else one.name, Piece(source, one))

    def document(self, name: str, content: bytes) -> None:
        """Put a here-document where it belongs: as :meth:`add`."""
        self._put(self._place(name), Piece(content=content))

    def take(self) -> list[tuple[str, Piece]]:
        """The entries so far, sorted by the bytes of their paths; they are not given again."""
        pieces = sorted(self._pieces.items(), key=lambda piece: os.fsencode(piece[0]))
        self._pieces = {}
        return pieces

    def make(self, path: str, root_owned: bool = False) -> str:
        """The real path of directory *path*, made with those it is in where it is missing.

        Args:
            root_owned: what is made is 0:0 whatever ``--chown`` says.

        Raises:
            Conflict: something else is there.
        """
        real = self._base.resolve(path)
        parts = real.split("/") if real else []
        for end in range(1, len(parts) + 1):
            at = "/".join(parts[:end])
            kind = self._base.kind(at)
            if not kind:
                self._base.put(at, "dir")
                self._pieces[at] = Piece(root_owned=root_owned)
            elif kind != "dir":
                raise Conflict("a directory is needed there, and it is none", shown(os.fsencode(f"/{at}")))
        return real

    def _place(self, name: str) -> str:
        """Where a file goes that is called *name* where it comes from."""
        if self._to.is_folder or self._kind_there() == "dir":
            folder = self.folder()
            return f"{folder}/{name}" if folder else name
        real = self._base.resolve(self._to.path)
        self.make(real.rpartition("/")[0])
        return real

    def _kind_there(self) -> str:
        return self._base.kind(self._base.resolve(self._to.path))

    def _put(self, path: str, piece: Piece) -> None:
        assert piece.selected is not None or piece.content is not None
        kind = piece.selected.kind if piece.selected else "file"
        there = self._base.kind(path)
        if any(part.startswith(".wh.") for part in path.split("/")):
            raise LayerError("a name with .wh. in front means a removal in a layer", shown(os.fsencode(f"/{path}")))
        if there and (there == "dir") != (kind == "dir"):
            raise self._clash(path, there, kind)
        link = self._read_link(piece.source, piece.selected) if piece.selected and kind == "symlink" else ""
        self._base.put(path, kind, link)
        self._pieces[path] = piece

    def _clash(self, path: str, there: str, kind: str) -> Conflict:
        what = f"a {kind} cannot replace the directory that is there"
        mend = "Remove it in a RUN before, or choose another destination."
        if there != "dir":
            what = f"a directory cannot replace the {there} that is there"
        if there == "symlink":
            mend = f"It leads to {self._base.target(path)}: copy there instead."
        return Conflict(what, shown(os.fsencode(f"/{path}")), mend)
