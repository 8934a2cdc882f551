"""The one tree of public errors, and the nearest valid word.

::

    ContainersError             something a user asked for could not be done
    ├── InvalidArgument         an option, a name or a value is not acceptable
    │   ├── InvalidReference    an image reference does not follow the grammar
    │   └── DockerfileError     a Dockerfile, at a line of it
    │       └── StepFailed      a command of a build ended with a code other than 0
    ├── NotFound                no such container, network, volume, ...
    │   └── ImageNotFound       no such image in the store
    ├── Conflict                the object is in a state, or in a use, that forbids it
    ├── ImageError              an image cannot be used as it is
    │   ├── InvalidArchive      a tar given to load or import is no image
    │   ├── InvalidImage        a manifest or configuration breaks its schema or its bounds
    │   ├── DigestMismatch      content is not what its digest or size says
    │   ├── LayerError          a layer cannot be unpacked, or must not be
    │   └── WrongPlatform       an image is for another machine
    ├── StorageFull             the disk has no room for it
    ├── CannotStart             a container could not be made or started
    ├── ContainerExit           a container ended with a code other than 0
    ├── IsolationUnavailable    this machine cannot isolate as well as was asked
    └── ApiError                a remote engine or registry answered with an error
        └── RegistryError       a registry answered with an error, or with what it must not
            ├── RegistryDenied  it wants other credentials, or refuses these
            └── RegistryUnreachable  it gave no answer: no network, no such host, TLS, too slow

Every text says what is wrong, where, and what mends it. ``status`` is what the Docker Engine API answers for
the error. Errors cross process borders as dictionaries (:meth:`ContainersError.to_dict`).

Not here: the runtime's own errors (``kernel_runtime.errors``), which ``run.runtime`` maps to these. The
program ``image.unpack`` starts on every first use of a layer and imports this file: keep its imports few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class ContainersError(Exception):
    """A failure, told so that its reader can act.

    Args:
        what: what is wrong, one sentence without a full stop.
        where: the object or place it is about (a reference, a path, a layer and entry); may be empty.
        mend: what the reader can do, full sentences; may be empty.
    """

    status = 500

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what, where, mend)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.mend}" if self.mend else text

    def to_dict(self) -> dict[str, object]:
        """The error as JSON data: ``{"kind", "what", "where", "mend"}`` and the fields of its class."""
        return {"kind": type(self).__name__, **self.__dict__}

    @staticmethod
    def from_dict(data: dict[str, object]) -> ContainersError:
        """The error that :meth:`to_dict` described; an unknown kind becomes a plain :class:`ContainersError`."""
        kind = _kinds().get(str(data.get("kind")), ContainersError)
        error = kind.__new__(kind)
        texts = (str(data.get(name, "")) for name in ("what", "where", "mend"))
        ContainersError.__init__(error, *texts)
        error.__dict__.update({name: value for name, value in data.items() if name != "kind"})
        return error


class InvalidArgument(ContainersError):
    """An option, a name or a value is not acceptable."""

    status = 400


class InvalidReference(InvalidArgument):
    """An image reference does not follow the grammar of distribution/reference."""


class DockerfileError(InvalidArgument):
    """A Dockerfile is not acceptable, or one of its instructions cannot be carried out.

    Args:
        where: file and line, ``Dockerfile:12``.
        line: the line, from 1.
        column: the place in it, from 1.
        excerpt: the lines around with their numbers, ``>>>`` at the instruction's and a caret under the place; not
            part of ``str()``, which stays one line.

    Attributes:
        build_log: docker-py's name: what was told until then, ``{"stream": line}``, where ``images.build`` raised it.
    """

    build_log: Sequence[Mapping[str, object]] = ()

    def __init__(
        self, what: str, where: str = "", mend: str = "", line: int = 0, column: int = 0, excerpt: str = ""
    ) -> None:
        self.line, self.column, self.excerpt = line, column, excerpt
        super().__init__(what, where, mend)


class StepFailed(DockerfileError):
    """A command of a build ended with a code other than 0.

    Args:
        exit_code: of the command.
        image: id of a nameless image of the files before it, to look around in.
    """

    status = 500

    def __init__(
        self,
        what: str,
        where: str = "",
        mend: str = "",
        line: int = 0,
        column: int = 0,
        excerpt: str = "",
        exit_code: int = 1,
        image: str = "",
    ) -> None:
        self.exit_code, self.image = exit_code, image
        super().__init__(what, where, mend, line, column, excerpt)


class NotFound(ContainersError):
    """No such container, network, volume or other object."""

    status = 404


class ImageNotFound(NotFound):
    """No such image in the store."""


class Conflict(ContainersError):
    """The object is in a state, or in a use, that forbids what was asked."""

    status = 409


class ImageError(ContainersError):
    """An image cannot be used as it is."""

    status = 400


class InvalidArchive(ImageError):
    """A tar given to load or import is no image."""


class InvalidImage(ImageError):
    """A manifest or configuration breaks its schema or its bounds."""


class DigestMismatch(ImageError):
    """Content is not what its digest or size says."""


class LayerError(ImageError):
    """A layer cannot be unpacked, or must not be."""


class WrongPlatform(ImageError):
    """An image is for another machine."""


class StorageFull(ContainersError):
    """The disk has no room for it."""

    status = 507


class CannotStart(ContainersError):
    """A container could not be made or started.

    ``exit_code`` is Docker's: 126 for a program that can't be executed, 127 for one that is not there, else 125.
    """

    exit_code = 125


class ContainerExit(ContainersError):
    """A container ended with a code other than 0.

    Args:
        exit_code: what ``docker wait`` would print.
        reason: why it died: ``exit``, ``signal``, ``timeout``, ``oom``, ``pids`` or ``interrupted``.
        image: the image it ran, familiar form.
        duration: seconds it lived.
    """

    def __init__(
        self, exit_code: int, reason: str = "exit", image: str = "", duration: float = 0.0, mend: str = ""
    ) -> None:
        self.exit_code, self.reason, self.image, self.duration = exit_code, reason, image, duration
        super().__init__(f"the container ended with code {exit_code} ({reason})", image, mend)


class IsolationUnavailable(ContainersError):
    """The machine cannot isolate as well as was asked."""


class ApiError(ContainersError):
    """A remote engine or registry answered with an error.

    Args:
        code: the HTTP status of the answer.
    """

    def __init__(self, what: str, where: str = "", mend: str = "", code: int = 500) -> None:
        self.code = code
        super().__init__(what, where, mend)


class RegistryError(ApiError):
    """A registry answered with an error, or with something that it must not answer.

    Args:
        code: the HTTP status of the answer; 0 where the answer itself is at fault.
    """

    def __init__(self, what: str, where: str = "", mend: str = "", code: int = 0) -> None:
        super().__init__(what, where, mend, code)


class RegistryDenied(RegistryError):
    """A registry wants other credentials, or refuses these."""

    status = 403


class RegistryUnreachable(RegistryError):
    """A registry gave no answer: no network, no such host, no trusted certificate, or too slow."""


def suggest(word: str, candidates: Iterable[str]) -> str:
    """``"Did you mean X?"`` for the candidate nearest to *word*, or ``""`` where none is near.

    >>> suggest("debain", ["debian", "ubuntu"])
    'Did you mean debian?'
    """
    import difflib  # only on the way to an error: it costs 2 ms

    near = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""


def _kinds() -> dict[str, type[ContainersError]]:
    found: dict[str, type[ContainersError]] = {}
    todo: list[type[ContainersError]] = [ContainersError]
    while todo:
        kind = todo.pop()
        found[kind.__name__] = kind
        todo.extend(kind.__subclasses__())
    return found
