"""What the engine keeps of each container: ``containers/<id>/container.json``, and names that are given once.

A name is a symbolic link ``names/<name>`` to an id: made atomically, free again when its container is gone. Readers
never block; the runtime's own state lies beside in state.json.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jupyter_containers.errors import Conflict, InvalidArgument, NotFound, suggest

BUILDER = "builder.json"  # in a container without a record: pid and start time of the process that builds with it
_FILE = "container.json"
_LEFT = [
    "brave",
    "calm",
    "clever",
    "curious",
    "eager",
    "fair",
    "gentle",
    "happy",
    "honest",
    "jolly",
    "keen",
    "kind",
    "lively",
    "lucky",
    "merry",
    "neat",
    "patient",
    "polite",
    "quick",
    "quiet",
    "steady",
    "swift",
    "tidy",
    "warm",
    "wise",
    "witty",
]
_RIGHT = [
    "agnesi",
    "archimedes",
    "boole",
    "curie",
    "darwin",
    "euclid",
    "euler",
    "fermi",
    "galilei",
    "gauss",
    "hopper",
    "hypatia",
    "kepler",
    "lovelace",
    "maxwell",
    "meitner",
    "montalcini",
    "newton",
    "noether",
    "pascal",
    "perlman",
    "ritchie",
    "thompson",
    "turing",
    "volta",
    "wing",
]


@dataclass
class Record:
    """One container as the engine knows it.

    Attributes:
        image: the reference the user gave. image_id: digest of the image's configuration, or ``host``.
        options: :meth:`RunOptions.to_dict`.
        creator: pid and start time of the process that made it; an ``--rm`` one never started goes with it.
        warnings: what its maker is to be told, once; not kept.
    """

    id: str
    name: str
    image: str
    image_id: str
    created: float
    options: dict[str, Any]
    args: list[str]
    path: Path = field(default_factory=Path)
    creator: tuple[int, int] = (0, 0)
    labels: dict[str, str] = field(default_factory=dict)
    hostname: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def bundle(self) -> Path:
        """The container's folder."""
        return self.path

    def to_json(self) -> str:
        """The content of container.json."""
        data = asdict(self)
        del data["path"], data["warnings"]
        return json.dumps(data, separators=(",", ":"))


class Records:
    """The containers of a store."""

    def __init__(self, home: Path) -> None:
        self.folder, self._names = home / "containers", home / "names"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.folder, self._names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, record: Record) -> None:
        """Write a record into its bundle, which exists."""
        (record.bundle / _FILE).write_text(record.to_json())

    def update(self, record: Record) -> None:
        """Replace a record at once."""
        temporary = record.bundle / f".{_FILE}.{os.getpid()}"
        temporary.write_text(record.to_json())
        temporary.rename(record.bundle / _FILE)

    def read(self, container_id: str) -> Record | None:
        """The record of an exact id; ``None`` where there is none (any more)."""
        bundle = self.folder / container_id
        try:
            data = json.loads((bundle / _FILE).read_bytes())
        except (OSError, ValueError):
            return None
        data["creator"] = tuple(data["creator"])
        return Record(**data, path=bundle)

    def all(self) -> Iterator[Record]:
        """Every container, newest first."""
        try:
            ids = os.listdir(self.folder)
        except FileNotFoundError:
            return
        found = [record for container_id in ids if (record := self.read(container_id))]
        yield from sorted(found, key=lambda record: -record.created)

    def unknown(self) -> list[str]:
        """Ids of folders without a record."""
        found = os.listdir(self.folder) if self.folder.is_dir() else []
        return [name for name in found if not name.startswith(".") and not (self.folder / name / _FILE).exists()]

    def find(self, name: str) -> Record:
        """The container of a name, an id or the beginning of one.

        Raises:
            NotFound: none, with the nearest name. InvalidArgument: several.
        """
        wanted = name.removeprefix("/")
        if wanted and "/" not in wanted and not wanted.startswith("."):
            try:
                record = self.read(str((self._names / wanted).readlink()))
                if record and record.name == wanted:
                    return record
            except OSError:
                pass
            exact = self.read(wanted)
            if exact:
                return exact
        records = list(self.all())
        matches = [record for record in records if wanted and record.id.startswith(wanted)]
        if len(matches) > 1:
            raise InvalidArgument(f"several containers begin with {wanted!r}", mend="Give more digits.")
        if not matches:
            raise NotFound(f"No such container: {name}", mend=suggest(wanted, [record.name for record in records]))
        return matches[0]

    # -- names -------------------------------------------------------------------------------------------------

    def take_name(self, name: str, container_id: str) -> None:
        """Give *name* to a container.

        Raises:
            Conflict: another container has it.
        """
        link = self._names / name
        for _ in range(2):
            try:
                link.symlink_to(container_id)
                return
            except FileExistsError:
                holder = str(link.readlink())
                if (self.folder / holder / _FILE).exists():
                    break
                link.unlink(missing_ok=True)
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{str(link.readlink())[:12]}"',
            mend="Remove (or rename) that container to be able to reuse that name.",
        )

    def take_random_name(self, container_id: str) -> str:
        """Give a container a name of its own, two words as Docker's."""
        for attempt in range(100):
            name = f"{random.choice(_LEFT)}_{random.choice(_RIGHT)}"  # noqa: S311 - not a secret
            if attempt > 10:
                name += str(random.randrange(10000))  # noqa: S311
            try:
                self.take_name(name, container_id)
                return name
            except Conflict:
                continue
        raise Conflict("no free name found", mend="Give one with --name.")

    def free_name(self, name: str) -> None:
        """The name's container is gone; an empty one is none."""
        if name:
            (self._names / name).unlink(missing_ok=True)
