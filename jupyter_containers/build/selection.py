"""Which files beneath a directory a COPY or ADD reads: its sources, found by descriptors, never outside of the root.

As BuildKit resolves sources: ``..`` ends at the root, a source that is a symbolic link (or lies behind one) is
followed as if the root were ``/``, links inside a directory that is copied stay links, and a directory stands for what
is in it. What ``.dockerignore`` hides is not there. Wildcards are matched part by part, and a directory that fits is
not searched for more. Runs in the caller for a context and in ``worker`` for a stage: imports are few.
https://docs.docker.com/reference/dockerfile/#copy
Not here: where files go to (``target``), what is in them (``contents``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jupyter_containers.build.patterns import Ignore, Verdicts, clean, has_wildcards, matcher
from jupyter_containers.errors import ContainersError, InvalidArgument, NotFound, suggest
from jupyter_containers.image.refusals import shown
from jupyter_containers.image.rooted import DIRECTORY, Tree

KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip


class Choice(NamedTuple):
    """What one COPY or ADD wants of a directory.

    Attributes:
        sources: as written, variables expanded.
        exclude: patterns of ``--exclude``, about names inside of each source.
        parents: keep the directories that a source is in, from ``/./`` on (``--parents``).
        literal: no wildcards: names that were not written by a person.
    """

    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    parents: bool = False
    literal: bool = False


class Selected(NamedTuple):
    """One file, directory or link that is read.

    Attributes:
        item: which match of a source it belongs to, counted from 0. The first of an item is the match itself.
        path: where it is in the root, symbolic links resolved.
        name: relative to the item's place: ``""`` for a directory that stands for what is in it, the last part of the
            source for anything else that was matched, and the path in the directory for what is in it.
        kind: ``file dir symlink fifo char block``.
        status: from lstat(2).
    """

    item: int
    path: str
    name: str
    kind: str
    status: os.stat_result

    @property
    def signature(self) -> tuple[int, ...]:
        """What tells that it is still the same, without reading it."""
        s = self.status
        return s.st_dev, s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns


def select(root: int, choice: Choice, ignore: Ignore, place: str = "the build context") -> list[Selected]:
    """What *choice* selects beneath the directory *root*, in the order of sources and names.

    Wildcards that fit nothing are fine as long as another source fits something, so that ``COPY a.json lock* ./``
    works, as it does with docker.

    Args:
        root: a descriptor; stays open.
        ignore: what is not there.
        place: how errors call the root.

    Raises:
        NotFound: a source, or all wildcards, select nothing.
        InvalidArgument: a pattern is malformed, or a file cannot be looked at.
    """
    with Tree(root, b"") as tree:
        return _Selection(tree, choice, ignore, place).run()


class _Level(NamedTuple):
    """A directory on the way down, and those in it that are still to be looked into."""

    fd: int
    selected: Selected
    verdicts: _Verdicts
    below: list[tuple[Selected, _Verdicts, bool]]


class _Verdicts(NamedTuple):
    """What patterns said about a directory, for what is in it."""

    ignored: Verdicts
    excluded: Verdicts
    included: Verdicts


class _Selection:
    """One run of :func:`select`."""

    def __init__(self, tree: Tree, choice: Choice, ignore: Ignore, place: str) -> None:
        self._tree, self._choice, self._ignore, self._place = tree, choice, ignore, place
        self._exclude = Ignore(choice.exclude, "--exclude")
        self._include = Ignore()
        self._found: list[Selected] = []
        self._pending: list[Selected] = []  # directories that are there only if something in them is
        self._items = 0

    def run(self) -> list[Selected]:
        for source in self._choice.sources:
            try:
                self._source(source)
            except OSError as error:
                raise InvalidArgument(f"cannot be read: {error.strerror}", f"{shown(os.fsencode(source))!r}") from error
        if not self._items:
            raise self._missing(self._choice.sources[0] if self._choice.sources else "")
        return self._found

    # --- sources ---

    def _source(self, source: str) -> None:
        pattern, self._include = "", Ignore()
        if self._choice.parents:
            source, pattern = _pivot(source)
            self._include = Ignore([pattern], "--parents")
        wild = not self._choice.literal and (has_wildcards(source) or has_wildcards(pattern))
        count = self._items
        for path in self._matches(_parts(source)):
            self._item(path)
        if count == self._items and not wild:
            raise self._missing(f"{source}/{pattern}" if pattern else source)

    def _matches(self, parts: list[str]) -> Iterator[str]:
        """The paths that fit *parts*; where they have no wildcards, just that path."""
        first = len(parts)
        if not self._choice.literal:
            first = next((number for number, part in enumerate(parts) if has_wildcards(part)), first)
        if first == len(parts):
            yield "/".join(parts)
            return
        base = self._resolved("/".join(parts[:first]))
        if base is not None:
            yield from self._fitting(base, [matcher(part).fullmatch for part in parts[first:]])

    def _fitting(self, folder: str, fits: list[Callable[[str], object]]) -> Iterator[str]:
        """Paths beneath the real directory *folder* whose parts fit one by one."""
        fd = self._open(folder)
        if fd is None:
            return
        try:
            with os.scandir(fd) as entries:
                names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        finally:
            os.close(fd)
        for name, is_folder in names:
            if fits[0](name):
                path = f"{folder}/{name}" if folder else name
                if len(fits) == 1:
                    yield path
                elif is_folder:
                    yield from self._fitting(path, fits[1:])

    def _item(self, path: str) -> None:
        """Select the match *path* and all beneath it, if it is there and not hidden."""
        real = self._resolved(path)
        if real is None:
            return
        status = self._status(real)
        hidden, ignored = self._ignore.walked(real)
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        before = len(self._found)
        if kind == "dir":
            wanted = not hidden and not self._include
            self._folder(Selected(self._items, real, "", "dir", status), ignored, wanted)
        elif kind and not hidden:
            name = path.rpartition("/")[2]
            if not self._include and not self._exclude.walked(name)[0]:
                self._found.append(Selected(self._items, real, name, kind, status))
        self._items += len(self._found) > before or (bool(self._exclude) and kind is not None and not hidden)

    # --- directories ---

    def _folder(self, top: Selected, ignored: Verdicts, wanted: bool) -> None:
        """Select what is in directory *top*; *top* itself where it is *wanted*, or something in it is.

        What is in a directory comes before what is in those beneath it.
        """
        levels: list[_Level] = []
        try:
            fd = self._open(top.path)
            if fd is None:
                return
            levels.append(_Level(fd, top, _Verdicts(ignored, self._exclude.start, self._include.start), []))
            self._pending = [] if wanted else [top]
            self._found += [top] * wanted
            self._list(levels[-1])
            while levels:
                self._go_on(levels)
        finally:
            for level in levels:
                os.close(level.fd)

    def _go_on(self, levels: list[_Level]) -> None:
        """Look into the next directory of the deepest level, or leave that level."""
        level = levels[-1]
        if not level.below:
            levels.pop()
            os.close(level.fd)
            if self._pending and self._pending[-1] is level.selected:
                self._pending.pop()
            return
        selected, verdicts, wanted = level.below.pop()
        fd = _directory(selected.path.rpartition("/")[2], level.fd)
        if fd is not None:
            levels.append(_Level(fd, selected, verdicts, []))
            self._pending += [selected] * (not wanted)
            self._list(levels[-1])

    def _list(self, level: _Level) -> None:
        """Select the entries of a directory, and note the directories among them."""
        with os.scandir(level.fd) as found:
            entries = sorted(found, key=_name)
        item, path, name = level.selected.item, level.selected.path, level.selected.name
        path, name = path and path + "/", name and name + "/"
        bare = not (self._ignore or self._exclude or self._include)
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            kind = KINDS.get(stat.S_IFMT(status.st_mode))
            if kind is None:
                continue  # a socket: no tar has it
            selected = Selected(item, path + entry.name, name + entry.name, kind, status)
            if bare and kind != "dir":
                self._found.append(selected)
            else:
                self._judge(level, selected)
        level.below.reverse()

    def _judge(self, level: _Level, selected: Selected) -> None:
        """Select an entry of a directory if patterns let it, with the directories above that waited for one."""
        path, name, (above_ignored, above_excluded, above_included) = selected.path, selected.name, level.verdicts
        hidden, ignored = self._ignore.judge(path, above_ignored) if self._ignore else (False, ())
        left_out, excluded = self._exclude.judge(name, above_excluded) if self._exclude else (False, ())
        fits, included = self._include.judge(name, above_included) if self._include else (True, ())
        wanted = fits and not hidden and not left_out
        if wanted:
            self._found += [*self._pending, selected]
            self._pending = []
        if selected.kind == "dir" and not (
            (hidden and not self._ignore.may_return(path))
            or (left_out and not self._exclude.may_return(name))
            or not (fits or self._include.may_fit(name))
        ):
            level.below.append((selected, _Verdicts(ignored, excluded, included), wanted))

    # --- the tree ---

    def _resolved(self, path: str) -> str | None:
        """The real path of *path*, its own symbolic link followed too; None where nothing is there."""
        try:
            parts = self._tree.locate([os.fsencode(part) for part in path.split("/") if part])
            real = os.fsdecode(b"/".join(parts))
            self._status(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return real

    def _status(self, real: str) -> os.stat_result:
        if not real:
            return os.fstat(self._tree.root)
        *parent, name = os.fsencode(real).split(b"/")
        return os.stat(name, dir_fd=self._tree.directory(parent), follow_symlinks=False)

    def _open(self, real: str) -> int | None:
        try:
            return self._tree.strict([os.fsencode(part) for part in real.split("/")] if real else [])
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _missing(self, source: str) -> ContainersError:
        return missing(self._tree, source, self._ignore, self._place)


def missing(tree: Tree, source: str, ignore: Ignore, place: str) -> NotFound:
    """The error for a *source* that selects nothing: hidden by ``.dockerignore``, or what was perhaps meant."""
    path, where = clean("/" + source)[1:], shown(os.fsencode(source)) or "no source"
    if ignore.walked(path)[0]:
        mend = f"{ignore.where} leaves it out: change the pattern there, or take it back in with `!{path}`."
        return NotFound(f"not found in {place}", where, mend)
    *parents, last = path.split("/")
    here: list[bytes] = []
    for part in parents:
        try:
            tree.directory([*here, os.fsencode(part)])
        except OSError:
            last = part
            break
        here.append(os.fsencode(part))
    try:
        names = [os.fsdecode(name) for name in os.listdir(tree.directory(here))]
    except OSError:
        names = []
    near = suggest(last, names)
    if near and here:
        near = near.replace("Did you mean ", f"Did you mean {os.fsdecode(b'/'.join(here))}/")
    return NotFound(f"not found in {place}", where, near or "Sources are relative to it, and never outside of it.")


def _parts(source: str) -> list[str]:
    """The parts of a source: it is beneath the root, whatever it looks like."""
    return [part for part in clean("/" + source).split("/") if part]


def _pivot(source: str) -> tuple[str, str]:
    """The base and the pattern of a source of ``--parents``: cut at the first ``/./``, else at the root."""
    base, pivot, pattern = source.partition("/./")
    base, pattern = (base, pattern) if pivot else ("", source)
    return base, clean("/" + pattern)[1:] or "**"


def _directory(name: str, at: int) -> int | None:
    try:
        return os.open(name, DIRECTORY, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None  # it was swapped for something else


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
