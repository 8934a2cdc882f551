"""What each layer of an image adds, changes and removes, and what of it later layers make useless. Pure.

Layers are stacked by name, bottom first, as overlayfs shows them. *Wasted* bytes of a layer are those of its files that
a later layer overwrites or removes: they are stored and moved with the image, and nobody sees them. A file with several
hard links is wasted when the last of its names goes. The idea is that of the program dive; its figure counts the last,
visible copy of such a file as well, ours does not: what a build could save.
https://github.com/wagoodman/dive
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jupyter_containers.image.contents import FOLDER, LINK, OPAQUE, WHITEOUT, Row

ADDED, CHANGED, REMOVED = "A", "C", "D"  # docker diff's letters


class FileChange(NamedTuple):
    """One name that a layer changes.

    Attributes:
        kind: ``A``, ``C`` or ``D``.
        path: of a folder with a slash at its end.
        size: bytes that come or, of what is removed, go.
        files: how many; more than one for a folder that is removed.
    """

    kind: str
    path: str
    size: int
    files: int = 1


@dataclass
class Changes:
    """What one layer does.

    Attributes:
        size: bytes of its files, as docker counts.
        added, changed, removed: files of each sort; folders are not counted.
        wasted: bytes of it that later layers overwrite or remove.
        files: every name that it changes, by name; folders where they are new or removed.
    """

    size: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    wasted: int = 0
    files: list[FileChange] = field(default_factory=list)


def stacked(layers: Iterable[Sequence[Row]]) -> list[Changes]:
    """What each of *layers* (the rows of each, bottom first) does."""
    root, found = _Node(None, -1), list[Changes]()
    for number, rows in enumerate(layers):
        found.append(Changes())
        _Layer(root, found, number).apply(rows)
    return found


def efficiency(layers: Sequence[Changes]) -> float:
    """The share of the image's bytes that somebody sees: 1.0 where nothing is wasted."""
    total = sum(layer.size for layer in layers)
    return 1.0 - sum(layer.wasted for layer in layers) / total if total else 1.0


class _Content:
    """The bytes that one or several names of a layer lead to."""

    __slots__ = ("layer", "names", "size")

    def __init__(self, layer: int, size: int) -> None:
        self.layer, self.size, self.names = layer, size, 0


class _Node:
    """A name in the stacked tree: a folder with ``children``, or a file with ``content``."""

    __slots__ = ("children", "content", "layer")

    def __init__(self, content: _Content | None, layer: int) -> None:
        self.content, self.layer = content, layer
        self.children: dict[str, _Node] = {}
        if content:
            content.names += 1


class _Layer:
    """One layer being put on the stack."""

    def __init__(self, root: _Node, found: list[Changes], number: int) -> None:
        self._root, self._found, self._number = root, found, number
        self._mine = found[number]
        self._gone: dict[str, FileChange] = {}
        self._hidden: dict[str, _Node] = {}  # what stood there
        self._made: set[str] = set()  # folders that are there again

    def apply(self, rows: Sequence[Row]) -> None:
        """First what it hides of the layers below, then what it has itself: a whiteout spares its own layer's files."""
        for row in rows:
            if row.kind == OPAQUE:
                self._empty(row.path)
            elif row.kind == WHITEOUT:
                self._remove(row.path)
        for row in rows:
            if row.kind not in (OPAQUE, WHITEOUT):
                self._put(row)
        for change in self._gone.values():
            self._mine.removed += change.files
            if change.files or change.path[:-1] not in self._made:
                self._mine.files.append(change)
        self._mine.files.sort(key=lambda change: change.path)

    # --- removing ---

    def _empty(self, path: str) -> None:
        node = self._find(path)
        for name in list(node.children) if node else ():
            self._remove(f"{path}/{name}" if path else name)

    def _remove(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        parent = self._find(folder)
        if parent is not None and name in parent.children:
            self._note_removed(parent.children.pop(name), path)

    def _note_removed(self, node: _Node, path: str) -> None:
        size, count = self._let_go(node)
        is_folder = node.content is None
        self._gone[path] = FileChange(REMOVED, f"{path}/" if is_folder else path, size, count)
        self._hidden[path] = node

    def _let_go(self, node: _Node) -> tuple[int, int]:
        """Bytes and files of a subtree that is no longer seen; content whose last name it was is wasted."""
        size = count = 0
        todo = [node]
        while todo:
            here = todo.pop()
            todo += here.children.values()
            if here.content is not None:
                count += 1
                size += self._lose_name(here.content)
        return size, count

    def _lose_name(self, content: _Content) -> int:
        content.names -= 1
        if content.names:
            return 0
        if content.layer < self._number:
            self._found[content.layer].wasted += content.size
        return content.size

    # --- adding ---

    def _put(self, row: Row) -> None:
        *folders, name = row.path.split("/")
        parent = self._folder(folders)
        old = parent.children.get(name)
        if row.kind == FOLDER:
            self._put_folder(parent, name, old, row.path)
            return
        node = _Node(self._content(row), self._number)  # before the old one goes: it may be a link to that
        kind = self._kind(old, row.path)
        parent.children[name] = node
        if kind:
            self._mine.files.append(FileChange(kind, row.path, row.size))
            self._mine.added += kind == ADDED
            self._mine.changed += kind == CHANGED

    def _put_folder(self, parent: _Node, name: str, old: _Node | None, path: str) -> None:
        if old is not None and old.content is None:
            return  # folders merge
        if old is not None:
            self._note_removed(old, path)
        parent.children[name] = _Node(None, self._number)
        self._made.add(path)
        _, before = self._hidden_at(path)
        if before is None or before.content is not None:
            self._mine.files.append(FileChange(ADDED, f"{path}/", 0, 0))

    def _kind(self, old: _Node | None, path: str) -> str:
        """Let go what has the name in the stack, and say what that makes of the new file; "" for a name given twice."""
        if old is None:
            return self._take_back(path)
        if old.content is None:
            self._note_removed(old, path)
            return ADDED
        size, _ = self._let_go(old)
        if old.layer < self._number:
            return CHANGED
        self._mine.size -= size if old.content.layer == self._number else 0
        return ""

    def _take_back(self, path: str) -> str:
        """A file that this layer hides and has itself is changed, not removed and added."""
        place, before = self._hidden_at(path)
        if before is None or before.content is None:
            return ADDED
        change = self._gone[place]
        self._gone[place] = change._replace(files=change.files - 1, size=max(0, change.size - before.content.size))
        if place == path:
            del self._gone[place], self._hidden[place]
        return CHANGED

    def _hidden_at(self, path: str) -> tuple[str, _Node | None]:
        """What this layer hides at *path*, and the name that it removed to do so: its own or a folder's above."""
        parts = path.split("/")
        for end in range(len(parts), 0, -1):
            place = "/".join(parts[:end])
            if (node := self._hidden.get(place)) is not None:
                return place, _walk(node, parts[end:])
        return "", None

    def _content(self, row: Row) -> _Content:
        if row.kind == LINK:
            target = self._find(row.target)
            if target is not None and target.content is not None:
                return target.content
        content = _Content(self._number, row.size)
        self._mine.size += row.size if row.kind != LINK else 0
        return content

    def _folder(self, parts: Sequence[str]) -> _Node:
        """The folder of these names, made where it is missing; a file in its way is hidden by it."""
        node, path = self._root, ""
        for part in parts:
            path = f"{path}/{part}" if path else part
            below = node.children.get(part)
            if below is None or below.content is not None:
                if below is not None:
                    self._note_removed(below, path)
                below = node.children[part] = _Node(None, self._number)
            node = below
        return node

    def _find(self, path: str) -> _Node | None:
        return _walk(self._root, path.split("/") if path else [])


def _walk(node: _Node | None, parts: Sequence[str]) -> _Node | None:
    for part in parts:
        node = node.children.get(part) if node is not None else None
    return node
