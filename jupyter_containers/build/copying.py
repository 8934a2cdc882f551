"""COPY and ADD: from an order to the tar of a layer (the order's fields are described in ``worker``).

First all inputs are selected, so that nothing is written for an instruction that cannot be carried out; then each file
gets its place (``target``), and entries are written sorted, with one time, and with the owners and modes asked for: the
same files give the same bytes on any machine and rung. An archive is written where it stands among the inputs.
Not here: which process does this (``worker``), cache keys (``contents``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from jupyter_containers.build import modes
from jupyter_containers.build.archives import Unpacking, is_archive
from jupyter_containers.build.base import Base
from jupyter_containers.build.owners import Owner, owner
from jupyter_containers.build.patterns import Ignore
from jupyter_containers.build.selection import Choice, Selected, select
from jupyter_containers.build.target import Piece, Plan, destination
from jupyter_containers.errors import InvalidArgument
from jupyter_containers.image.apply import opaque_attribute
from jupyter_containers.image.orders import Order, number, texts
from jupyter_containers.image.pack import Packer, Write
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import Tree
from jupyter_containers.image.tarheader import Entry
from jupyter_containers.image.tarstream import TarReader

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE = 0o755  # of directories that are made
_DOCUMENT = 0o644


class Input(NamedTuple):
    """A directory that files are taken from, and which."""

    root: int
    choice: Choice
    ignore: Ignore
    place: str
    keep_owners: bool
    unpack: bool

    @classmethod
    def of(cls, order: Order) -> Input:
        """The input that an order describes.

        Raises:
            KeyError: it has no root or no sources. InvalidArgument: a pattern is malformed.
        """
        choice = Choice(
            tuple(texts(order["sources"])),
            tuple(texts(order.get("exclude"))),
            bool(order.get("parents")),
            bool(order.get("literal")),
        )
        ignore = Ignore(texts(order.get("ignore")), str(order.get("ignore_name") or ".dockerignore"))
        place = str(order.get("place") or "the build context")
        flags = bool(order.get("keep_owners")), bool(order.get("unpack"))
        return cls(number(order, "root"), choice, ignore, place, *flags)

    def select(self) -> list[Selected]:
        """What is taken: see ``selection``."""
        return select(self.root, self.choice, self.ignore, self.place)


class Copying:
    """One COPY or ADD.

    Args:
        order: see ``worker``.
        write: takes the layer.
    """

    def __init__(self, order: Order, write: Write) -> None:
        opaque = opaque_attribute(str(order["owners"]))
        self._base = Base([os.fsencode(path) for path in texts(order.get("lower"))], opaque)
        to = destination(str(order["destination"]), str(order.get("workdir") or "/"))
        self._plan = Plan(self._base, to, self._read_link)
        self._inputs = [Input.of(one) for one in _objects(order.get("inputs"))]
        self._documents = [(str(one["name"]), str(one["content"])) for one in _objects(order.get("documents"))]
        chown, chmod = str(order.get("chown") or ""), str(order.get("chmod") or "")
        self._owner: Owner | None = owner(chown, self._base) if chown else None
        self._chmod = modes.change(chmod) if chmod else None
        octal = modes.number(chmod) if chmod else None
        self._made = _MODE if octal is None else octal
        self._epoch = number(order, "epoch") * 10**9
        self._packer = Packer(None, write, by_content=True)
        self._unpacking = Unpacking(self._base, self._plan, self._record, self._owner, self._epoch)

    def run(self) -> Order:
        """Write the layer; how many entries and bytes of content it has.

        Raises:
            NotFound, InvalidArgument, Conflict: what is asked for cannot be done.
            LayerError: a file cannot be packed, or an archive not be unpacked.
        """
        items = [(source, item) for source, one in enumerate(self._inputs) for item in _items(one.select())]
        count = len(items) + len(self._documents)
        self._plan.check_several(count, any(item[0].name for _, item in items) or bool(self._documents))
        with ExitStack() as end:
            self._trees = [end.enter_context(Tree(one.root, b"")) for one in self._inputs]
            if not count:
                self._plan.folder()  # all was excluded
            for source, item in items:
                self._add(source, item)
            for name, content in self._documents:
                self._plan.document(name, os.fsencode(content))
            self._flush()
        self._packer.finish()
        return {"entries": self._packer.entries, "bytes": self._packer.bytes}

    def _add(self, source: int, item: list[Selected]) -> None:
        fd = self._archive(source, item[0])
        if fd is None:
            self._plan.add(source, item)
            return
        try:
            folder = self._plan.folder()
            self._flush()
            self._unpacking.run(fd, folder, self._flush, shown(os.fsencode(item[0].path)))
        finally:
            os.close(fd)

    def _archive(self, source: int, top: Selected) -> int | None:
        """A descriptor of the file *top* where it is one to be unpacked."""
        if not self._inputs[source].unpack or top.kind != "file":
            return None
        at, name = self._at(source, top)
        try:
            fd = os.open(name, _FILE, dir_fd=at)
        except OSError as error:
            raise InvalidArgument(f"cannot be read: {error.strerror}", shown(os.fsencode(top.path))) from error
        if is_archive(fd):
            return fd
        os.close(fd)
        return None

    # --- entries ---

    def _flush(self) -> None:
        """Write what has its place."""
        for path, piece in self._plan.take():
            name = os.fsencode(path)
            self._packer.adjust = self._adjusting(piece)
            if piece.selected is not None:
                at, last = self._at(piece.source, piece.selected)
                below = self._packer.add(at, last, name)
                if below is not None:
                    os.close(below)
            else:
                self._packer.record(_entry(name, piece.content), [piece.content or b""])

    def _adjusting(self, piece: Piece) -> Callable[[Entry], None]:
        """Owner, mode and time that an entry gets for its piece."""
        keeps = piece.selected is not None and self._inputs[piece.source].keep_owners
        is_made = piece.selected is None and piece.content is None

        def adjust(entry: Entry) -> None:
            entry.mtime_ns = self._epoch
            if piece.root_owned or not keeps:
                entry.uid = entry.gid = 0
            if self._owner is not None and not piece.root_owned:
                entry.uid, entry.gid = self._owner
            if is_made:
                entry.mode = _MODE if piece.root_owned else self._made
            elif self._chmod and entry.kind != "symlink":
                entry.mode = self._chmod(entry.mode, entry.kind == "dir")

        return adjust

    def _record(self, entry: Entry, content: TarReader) -> None:
        """Write an entry of an archive as it is."""
        self._packer.adjust = lambda _: None
        self._packer.record(entry, content.content())

    def _read_link(self, source: int, selected: Selected) -> str:
        at, name = self._at(source, selected)
        try:
            return os.fsdecode(os.readlink(name, dir_fd=at))
        except OSError:
            return ""  # it was swapped for something else, which the packer looks at

    def _at(self, source: int, selected: Selected) -> tuple[int, bytes]:
        """A descriptor of the directory that a file is in, and its name there."""
        *parents, name = os.fsencode(selected.path).split(b"/")
        return self._trees[source].directory(parents), name


def _entry(name: bytes, content: bytes | None) -> Entry:
    """A directory that is made, or a document."""
    entry = Entry(name, "dir" if content is None else "file")
    entry.size = entry.real_size = len(content or b"")
    entry.mode = _MODE if content is None else _DOCUMENT
    return entry


def _items(selected: list[Selected]) -> Iterator[list[Selected]]:
    """The files of each match."""
    item: list[Selected] = []
    for one in selected:
        if item and item[0].item != one.item:
            yield item
            item = []
        item.append(one)
    if item:
        yield item


def _objects(value: object) -> list[Order]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
