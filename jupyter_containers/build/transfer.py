"""``COPY``, ``ADD`` and the folder of ``WORKDIR``: from the instruction to what the worker is asked for.

A step that copies depends on the content of what it reads, on its own words, and, unless it is ``--link``, on the files
below, where links and owners' names are looked up. Of another stage all files count: copying again costs little, and
what comes of it has the same digest if what was copied is the same. Not here: selecting, hashing and copying
(``context``, ``copying``), fetching (``fetch``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jupyter_containers.build.cache import key_of
from jupyter_containers.build.configure import workdir
from jupyter_containers.build.context import Reading
from jupyter_containers.build.instructions import Add, Copy, Transfer, Workdir
from jupyter_containers.build.selection import Choice
from jupyter_containers.build.source import Location
from jupyter_containers.build.stage import Changed, Made, Prepared, Step
from jupyter_containers.build.state import State

if TYPE_CHECKING:
    from jupyter_containers.build.builder import Build
    from jupyter_containers.build.fetch import Fetched


class Transfers:
    """Prepares the steps of a build that bring files."""

    def __init__(self, build: Build) -> None:
        self._build = build

    def prepare(self, step: Step) -> Prepared:
        """A ``COPY`` or ``ADD``."""
        instruction = step.instruction
        assert isinstance(instruction, Transfer)
        order = _order(instruction, step.state)
        inputs = self._inputs(instruction)
        key = ("transfer", _below(instruction, step.state), [one.key for one in inputs], order)
        return Prepared(key, lambda: self._make(step.state, order, inputs, instruction.link), instruction.text)

    def folder(self, step: Step) -> Prepared | None:
        """The folder that a ``WORKDIR`` names, where it is not there; else None."""
        instruction = step.instruction
        assert isinstance(instruction, Workdir)
        path = workdir(dict(step.state.config), instruction.path)
        if path == "/":
            return None
        user = str(step.state.config.get("User") or "")
        order = {"verb": "folder", "path": path, "chown": user, "epoch": step.state.epoch}
        key = ("folder", step.state.chain_id, order)
        return Prepared(key, lambda: self._build.layering.of_tar(step.state, order, {}), instruction.text)

    # --- what is read ---

    def of_context(self, source: str, location: Location) -> State:
        """One path of the context, where it was, and nothing else, as a state of one layer."""
        return self._alone(_Local(self._build, Choice((source,), parents=True, literal=True), location))

    def of_state(self, state: State, source: str) -> State:
        """What a path of a state has in it, or that file, as a state of one layer."""
        return self._alone(_Stage(self._build, state, Choice((source,), literal=True)))

    def _alone(self, source: _Input) -> State:
        empty = self._build.empty
        order = {"verb": "copy", "destination": "/", "epoch": empty.epoch}
        key = key_of("transfer", "", [source.key], order)
        result = self._build.result(key, "files for a mount", empty, lambda: self._make(empty, order, [source], True))
        return empty.then("", result.layer) if result.layer else empty

    def _inputs(self, instruction: Transfer) -> list[_Input]:
        """The sources in order: neighbours that come from the context are read together."""
        if isinstance(instruction, Copy) and instruction.from_ and instruction.sources:
            state = self._build.state_of(instruction.from_, instruction.location)
            return [_Stage(self._build, state, _choice(instruction, instruction.sources))]
        found: list[_Input] = []
        local: list[str] = []

        def flush() -> None:
            if local:
                choice = _choice(instruction, tuple(local))
                found.append(_Local(self._build, choice, instruction.location, _unpacks(instruction)))
                local.clear()

        for source in instruction.sources:
            if isinstance(instruction, Add) and _fetch().is_remote(source):
                flush()
                found.append(_Remote(self._build, source, instruction))
            else:
                local.append(source)
        flush()
        return found

    def _make(self, state: State, order: dict[str, Any], inputs: Sequence[_Input], alone: bool) -> Made:
        """The layer; *alone*: whatever lies below."""
        with ExitStack() as opened:
            given = [one.open(opened) for one in inputs]
            fds = {f"inputs.{number}.root": fd for number, (_, fd) in enumerate(given)}
            full = {**order, "inputs": [data for data, _ in given]}
            made = self._build.layering.of_tar(state, full, fds, [] if alone else None)
        if not all(one.unchanged() for one in inputs):
            raise Changed("the files in the build context change all the time", mend="Build again when they rest.")
        return made


class _Input:
    """Where files come from: what they are (``key``), and a folder's descriptor when they are needed."""

    key: object

    def open(self, opened: ExitStack) -> tuple[dict[str, Any], int]:
        """The worker's input without its root, and the root, which stays open as long as *opened*."""
        raise NotImplementedError

    def unchanged(self) -> bool:
        """Whether what was read is what was hashed."""
        return True


class _Local(_Input):
    """Files of the context."""

    def __init__(self, build: Build, choice: Choice, location: Location, unpack: bool = False) -> None:
        self._context, self._unpack = build.context(location), unpack
        self._reading: Reading = self._context.read(choice)
        self.key = [self._reading.digest, self._unpack]

    def open(self, opened: ExitStack) -> tuple[dict[str, Any], int]:
        ignore = self._context.ignore
        found = {**_of(self._reading.choice), "ignore": list(ignore.patterns), "ignore_name": ignore.where}
        return {**found, "unpack": self._unpack}, self._context.root

    def unchanged(self) -> bool:
        return self._context.unchanged(self._reading)


class _Stage(_Input):
    """Files of another stage, or of an image."""

    def __init__(self, build: Build, state: State, choice: Choice) -> None:
        self._build, self._state, self._choice = build, state, choice
        self.key = [state.chain_id, _of(choice)]

    def open(self, opened: ExitStack) -> tuple[dict[str, Any], int]:
        layers = self._build.layering.paths(self._state)
        found = {**_of(self._choice), "keep_owners": True, "place": self._state.about or "the stage"}
        return found, opened.enter_context(self._build.sandbox.root(layers))


class _Remote(_Input):
    """What a URL gives. It is fetched to be looked up, unless its checksum says already what it is."""

    def __init__(self, build: Build, source: str, instruction: Add) -> None:
        self._build, self._source, self._instruction = build, source, instruction
        known = _fetch().known_digest(source, instruction.checksum)
        self._unpack = instruction.unpack is True
        self.key = [known or self._fetched.digest, source, self._unpack]

    @cached_property
    def _fetched(self) -> Fetched:
        return self._build.fetched(self._source, self._instruction)

    def open(self, opened: ExitStack) -> tuple[dict[str, Any], int]:
        choice = Choice((self._fetched.source,), self._instruction.exclude, literal=True)
        root = os.open(self._fetched.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, root)
        return {**_of(choice), "unpack": self._unpack}, root


def _fetch() -> ModuleType:
    from jupyter_containers.build import fetch  # for ADD alone

    return fetch


def _unpacks(instruction: Transfer) -> bool:
    """Whether archives of the context are unpacked: by ADD, unless it says otherwise."""
    return isinstance(instruction, Add) and instruction.unpack is not False


def _below(instruction: Transfer, state: State) -> str:
    return "" if instruction.link else state.chain_id


def _choice(instruction: Transfer, sources: tuple[str, ...]) -> Choice:
    return Choice(sources, instruction.exclude, getattr(instruction, "parents", False))


def _of(choice: Choice) -> dict[str, Any]:
    return {
        "sources": list(choice.sources), "exclude": list(choice.exclude), "parents": choice.parents,
        "literal": choice.literal,
    }  # fmt: skip


def _order(instruction: Transfer, state: State) -> dict[str, Any]:
    return {
        "verb": "copy", "documents": [{"name": one.name, "content": one.chomped} for one in instruction.files],
        "destination": instruction.destination, "workdir": str(state.config.get("WorkingDir") or "/"),
        "chown": instruction.chown, "chmod": instruction.chmod, "epoch": state.epoch,
    }  # fmt: skip
