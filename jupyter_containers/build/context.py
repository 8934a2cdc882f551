"""The build context: a directory, or a tar that is unpacked into a private one, with its ``.dockerignore``.

As BuildKit has it: ``<Dockerfile>.dockerignore`` beside the Dockerfile counts instead of ``.dockerignore``, the
Dockerfile may lie outside of the context when it is named, and nothing that lies in the context leads out of it: a
symbolic link there is followed as if the context were ``/``.
Not here: what is selected (``selection``) and hashed (``contents``), copying (``copying``), the language (``parser``).
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from jupyter_containers.build import contents
from jupyter_containers.build.contents import Hashes
from jupyter_containers.build.incoming import Readable, received
from jupyter_containers.build.patterns import Ignore
from jupyter_containers.build.selection import Choice, Selected, select
from jupyter_containers.errors import InvalidArgument, NotFound
from jupyter_containers.image.rooted import DIRECTORY, Tree, split

DEFAULT = "Dockerfile"
IGNORE = ".dockerignore"
TEXT_LIMIT = 4 << 20  # of a Dockerfile or a .dockerignore
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Reading(NamedTuple):
    """What a COPY, an ADD or a bind mount reads of a context.

    Attributes:
        digest: ``sha256:...`` of all that matters of it: the context's part of a cache key.
        selected: the files, with what tells whether they are still the same.
    """

    choice: Choice
    digest: str
    selected: tuple[Selected, ...]


class Dockerfile(NamedTuple):
    """A Dockerfile's text, and how errors name it."""

    name: str
    data: bytes


class Context:
    """A build context. Use as a context manager, which closes it and gives back a private folder.

    Attributes:
        root: descriptor of its directory, to be inherited by a worker.
        ignore: what :meth:`dockerfile` found to be left out; a worker gets its ``patterns``.
        text: what was given instead of a tar: a Dockerfile whose context is empty (``docker build -``).

    Args:
        root: a descriptor, closed at the end.
        hashes: where digests are remembered.
        private: whether *root* came from elsewhere, so that a Dockerfile's name is one in it.
    """

    def __init__(
        self, root: int, hashes: Hashes | None = None, *, private: bool = False, text: bytes | None = None
    ) -> None:
        self.root, self.ignore, self.text = root, Ignore(), text
        self._hashes, self._private = hashes or Hashes(), private
        self._end = ExitStack()
        self._end.callback(os.close, root)
        self._end.callback(self._hashes.save)

    @classmethod
    def directory(cls, path: str | os.PathLike[str], hashes: Hashes | None = None) -> Self:
        """The context in a directory.

        Raises:
            NotFound, InvalidArgument: it is not there, is no directory, or may not be read.
        """
        try:
            return cls(os.open(path, DIRECTORY & ~os.O_NOFOLLOW), hashes)
        except FileNotFoundError:
            raise NotFound("no such build context", str(path), "Name a directory that is there.") from None
        except OSError as error:
            raise InvalidArgument(f"not a build context: {error.strerror}", str(path)) from error

    @classmethod
    def stream(cls, source: Readable, area: Path, hashes: Hashes | None = None) -> Self:
        """The context that a stream has: a tar, compressed or not, or a Dockerfile alone.

        Args:
            source: gives bytes by ``read(n)``; standard input for example.
            area: where its private folder is made, which is gone when the context is closed.

        Raises:
            InvalidArchive: the tar is damaged, hostile or too large. StorageFull: no room for it.
        """
        with ExitStack() as undo:
            folder, text = undo.enter_context(received(source, area, TEXT_LIMIT))
            context = cls(os.open(folder, DIRECTORY), hashes, private=True, text=text)
            context._end.push(undo.pop_all())
            return context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, with what is remembered of it saved."""
        self._end.close()

    # --- its Dockerfile ---

    def dockerfile(self, path: str | os.PathLike[str] = "") -> Dockerfile:
        """The Dockerfile; from now on its ``.dockerignore`` counts.

        Args:
            path: of a directory's, any path; of a tar's, a name in it. By default ``Dockerfile`` (or ``dockerfile``)
                in the context.

        Raises:
            NotFound: there is none. InvalidArgument: it is no ordinary file, larger than 4 MiB, or not readable.
        """
        if self.text is not None and not path:
            return Dockerfile("-", self.text)
        if path and not self._private:
            return self._outside(Path(path))
        names = [os.fspath(path)] if path else [DEFAULT, DEFAULT.lower()]
        for name in names:
            if (data := self._text(name)) is not None:
                self._ignore_by(f"{name}{IGNORE}", self._text(f"{name}{IGNORE}"))
                return Dockerfile(name, data)
        mend = "A symbolic link must not lead out of the context: name the file with `-f`, or with `dockerfile=`."
        raise NotFound("no such Dockerfile in the build context", names[0], mend)

    def inline(self, data: bytes, name: str = "%%dockerfile") -> Dockerfile:
        """A Dockerfile that was given as text; the context's own ``.dockerignore`` counts."""
        self._ignore_by("", None)
        return Dockerfile(name, data)

    def _outside(self, path: Path) -> Dockerfile:
        """A Dockerfile that the caller names: links are followed as in any path of theirs."""
        data = _file(str(path), None)
        if data is None:
            raise NotFound(
                "no such Dockerfile", str(path), "Paths of Dockerfiles are relative to the working directory."
            )
        beside = f"{path}{IGNORE}"
        self._ignore_by(Path(beside).name, _file(beside, None))
        return Dockerfile(str(path), data)

    def _ignore_by(self, name: str, data: bytes | None) -> None:
        if data is None:
            name, data = IGNORE, self._text(IGNORE)
        self.ignore = Ignore.parse(data or b"", name)

    def _text(self, name: str) -> bytes | None:
        """A file of the context; None where there is none, or its link leads to none inside."""
        parts = split(os.fsencode(f"/{name}")) or []
        with Tree(self.root, b"") as tree:
            try:
                *folder, last = tree.locate(parts)
                return _file(os.fsdecode(last), tree.directory(folder), shown=name)
            except (OSError, ValueError):
                return None

    # --- what is read ---

    def read(self, choice: Choice) -> Reading:
        """What *choice* reads, with its digest.

        A bind mount of ``source=X`` reads ``Choice((X,), literal=True)``.

        Raises:
            NotFound: a source is not there. InvalidArgument: a pattern is malformed, or a file cannot be read.
        """
        selected = tuple(select(self.root, choice, self.ignore))
        return Reading(choice, contents.digest(self.root, selected, self._hashes), selected)

    def digest(self, choice: Choice) -> str:
        """The digest of what *choice* reads: see :meth:`read`."""
        return self.read(choice).digest

    def unchanged(self, reading: Reading) -> bool:
        """Whether the files are still those that were read: to be asked when they have been copied."""
        try:
            now = select(self.root, reading.choice, self.ignore)
        except (NotFound, InvalidArgument):
            return False
        return [(one[:4], one.signature) for one in now] == [(one[:4], one.signature) for one in reading.selected]


def _file(path: str, at: int | None, shown: str = "") -> bytes | None:
    """The content of an ordinary file, bounded; None where it is not there."""
    shown = shown or path
    try:
        fd = os.open(path, _READ if at is not None else _READ & ~os.O_NOFOLLOW, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidArgument(f"cannot be read: {error.strerror}", shown) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument("it is no ordinary file", shown)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        data = file.read(TEXT_LIMIT + 1)
    if len(data) > TEXT_LIMIT:
        raise InvalidArgument(f"it is larger than {TEXT_LIMIT} bytes", shown, "Is it the right file?")
    return data
