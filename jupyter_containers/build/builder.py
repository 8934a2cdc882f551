"""A whole build: its stages in threads, side by side where they can be, and at the end an image.

While it runs it holds the store's ``adding`` lock: nothing that a step counts on, base images included, is removed
meanwhile. Everything that a step made is in the cache at once, so what was interrupted goes on from there. The caller's
thread tells events and hears the user's stop; then every container of the build is ended. Not here: the instructions of
a stage (``stage``), docker's keyword arguments (``engine.builds``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_containers.build import inline, scope, state
from jupyter_containers.build import plan as plans
from jupyter_containers.build.cache import BuildCache, Result
from jupyter_containers.build.context import Context
from jupyter_containers.build.events import Event, Events, OnEvent, step_id
from jupyter_containers.build.instructions import Add, Instruction
from jupyter_containers.build.layering import Layering
from jupyter_containers.build.plan import SCRATCH, StagePlan
from jupyter_containers.build.request import BuildRequest
from jupyter_containers.build.runs import Runs
from jupyter_containers.build.sandbox import Sandbox
from jupyter_containers.build.source import Location, located
from jupyter_containers.build.stage import Made, StageBuild, Step
from jupyter_containers.build.stages import Once, Stages
from jupyter_containers.build.state import State
from jupyter_containers.build.transfer import Transfers
from jupyter_containers.errors import ContainersError, InvalidArgument, suggest
from jupyter_containers.image import platforms
from jupyter_containers.image.layout import Area
from jupyter_containers.image.platforms import Platform
from jupyter_containers.image.reference import Reference
from jupyter_containers.image.store import Image, ImageStore

if TYPE_CHECKING:
    from jupyter_containers.build.fetch import Fetched
    from jupyter_containers.image.registry.access import Access

Pull = Callable[[str, Platform, bool, Callable[[Event], None]], Image]


@dataclass(frozen=True)
class Place:
    """Where builds are done.

    Attributes:
        store: of images. cache: of results. sandbox: makes one for each build.
        pull: an image by name for a platform, from the store or a registry; *anew* asks the registry anyway.
        area: a folder for what a build needs for a while. access: how servers are reached.
    """

    store: ImageStore
    cache: BuildCache
    sandbox: Callable[[], Sandbox]
    pull: Pull
    area: Path
    access: Callable[[], Access]


def build(place: Place, request: BuildRequest, on_event: OnEvent | None = None) -> Image:
    """Build an image.

    Args:
        on_event: is told what goes on, see ``events``, in this thread.

    Raises:
        DockerfileError: an instruction is wrong or failed (``StepFailed``), at its line.
        InvalidArgument, ImageNotFound, WrongPlatform, StorageFull: and what pulling an image raises.
        KeyboardInterrupt: after everything was ended.
    """
    begun = time.monotonic()
    with place.store.layout.adding() as area, Layering(place.store, area) as layering:
        one = Build(place, request, area, layering)
        threading.Thread(target=one.work, name="build").start()
        try:
            one.events.tell(on_event or (lambda _: None))
        except BaseException:
            one.sandbox.running.cancel()
            one.finished.wait()
            raise
        if one.error is not None:
            raise one.error
        image = one.image()
    names = [name.familiar for name in request.names]
    if on_event:
        on_event({"type": "image", "id": image.id, "names": names, "seconds": time.monotonic() - begun})
    return image


class Build:
    """One build on its way. What its stages, in their threads, ask is answered here."""

    def __init__(self, place: Place, request: BuildRequest, area: Area, layering: Layering) -> None:
        self.request, self.layering, self.cache = request, layering, place.cache
        self.events, self.sandbox = Events(), place.sandbox()
        self.finished = threading.Event()
        self.error: BaseException | None = None
        self.escape = request.dockerfile.directives.escape
        self.runs, self.transfers = Runs(self), Transfers(self)
        self._place, self._area = place, area
        self._platform = request.platform or platforms.machine()
        self.globals = self._globals()
        self.plan = plans.plan(request.dockerfile, self.globals, request.target)
        count, cancel = len(request.dockerfile.stages), self.sandbox.running.cancel
        self._stages = Stages(count, self._carry_out, cancel)
        self._images: Once[tuple[str, str], State] = Once()
        self._keys: dict[str, Result] = {}
        self._imported: dict[str, Result] = {}
        self._end, self._lock = ExitStack(), threading.Lock()
        self._told: frozenset[str] = frozenset()

    # --- from beginning to end ---

    def work(self) -> None:
        """Carry out all stages; then events end, and :attr:`error` says what failed."""
        try:
            for one in self.plan.stages.values():
                self.announce(one)
            self._warn()
            self._import()
            with self._end, self.sandbox, self._stages as stages:
                for index in self.plan.stages:
                    stages.begin(index)
                self._state = stages.state(self.plan.target)
        except BaseException as error:  # noqa: BLE001 - raised where the build was asked for
            self.error = error
        finally:
            self.finished.set()
            self.events.end()

    def image(self) -> Image:
        """The image of the target, with its names."""
        final = self._state
        labels = {**(final.config.get("Labels") or {}), **self.request.labels}
        final = replace(final, config={**final.config, "Labels": labels}) if labels else final
        annotations = inline.written(self._keys, final) if self.request.inline_cache else {}
        return self._add(final, self.request.names, annotations)

    def keep_state(self, found: State) -> str:
        """The id of a nameless image of a state."""
        return self._add(found, (), {}).short_id

    def _add(self, found: State, names: tuple[Reference, ...], annotations: Mapping[str, str]) -> Image:
        config = self._area.put(found.image_config())
        return self._place.store.add(self._area, found.manifest(config, annotations).to_bytes(), names)

    # --- stages ---

    def _carry_out(self, index: int) -> State:
        one = self.plan.stages.get(index) or self._late(index)
        return StageBuild(self, one, self._base(one)).run()

    def _late(self, index: int) -> StagePlan:
        """A stage that only an ONBUILD of a base asks for."""
        dockerfile = self.request.dockerfile
        found = plans.stage_plan(dockerfile, dockerfile.stages[index], self.globals)
        self.announce(found)
        return found

    def _base(self, one: StagePlan) -> State:
        """What a stage begins with: its step 0."""
        step = step_id(one.stage.index, 0)
        below = None if one.below is None else self._stages.needed(one.below)
        with self.events.step(step), located(one.base.location, one.base.base):
            platform = platforms.parse(one.base.platform) if one.base.platform else self._platform
            if below is not None:
                return replace(below, about=one.shown)
            if one.base.base == SCRATCH:
                return replace(self.empty, platform=platform, about=one.shown)
            return self._image(one.base.base, platform, step)

    @property
    def empty(self) -> State:
        """A state without files."""
        epoch = state.EARLIEST if self.request.epoch is None else self.request.epoch
        return State(self._platform, epoch)

    def wait_for(self, instruction: Instruction, own: int) -> None:
        """Wait for the stages that an instruction of stage *own* reads, which is no time of its own."""
        for name in plans.sources(instruction):
            index = plans.earlier(self.request.dockerfile, name, own)
            if index is not None:
                self._stages.needed(index)

    def state_of(self, name: str, location: Location) -> State:
        """The state of another stage, or of an image, by the name after ``--from``.

        Raises:
            DockerfileError: a number, and no earlier stage has it.
        """
        own = self._index_at(location)
        index = plans.earlier(self.request.dockerfile, name, own)
        if index is not None:
            return self._stages.needed(index)
        if name.isdecimal():  # never an image's: the store would take it for the beginning of an id
            mend = f"This is stage {own}; stages are counted from 0." if own else "This is the first stage."
            raise location.error(f"no earlier stage has the number {name:.20}", name, mend)
        return self._image(name, self._platform, step_id(own, 0))

    def _index_at(self, location: Location) -> int:
        """Which stage a place of the file is in."""
        stages = self.request.dockerfile.stages
        return max((one.index for one in stages if one.base.location.first <= location.first), default=0)

    def _image(self, name: str, platform: Platform, step: str) -> State:
        def tell(message: Event) -> None:
            self.events.send("progress", id=step, message=message)

        def find() -> State:
            image = self._place.pull(name, platform, self.request.pull, tell)
            return state.of_image(image, self.request.epoch)

        return self._images.get((name, str(platform)), find)

    # --- results ---

    def result(
        self, key: str, about: str, before: State, make: Callable[[], Made], tell_cached: Callable[[], object] = bool
    ) -> Result:
        """The result of a step upon *before*: from the cache, or made now and kept there."""
        found = self._cached(key)
        if found is None:
            with self.cache.making(key):
                found = self._cached(key)
                if found is None:
                    layer, size = make()
                    self._keys[key] = made = Result(layer, before.then("", layer).chain_id, size, about)
                    self.cache.put(key, made)
                    return made
        tell_cached()
        self._keys[key] = found
        return found

    def _cached(self, key: str) -> Result | None:
        """A result that may be used: one of this very build always may."""
        found = self._keys.get(key) or (self.cache.get(key) if self.request.use_cache else None)
        found = found or self._imported.get(key)
        return found if found and (found.layer is None or self.layering.has(found.layer)) else None

    def _import(self) -> None:
        """Take over the results of the images that the user names; one that is nowhere is no fault, as in docker."""
        for name in self.request.cache_from:
            try:
                image = self._place.pull(name, self._platform, False, lambda _: None)
            except ContainersError as error:
                self.warn(f"cache from {name}: {error}")
            else:
                self._imported |= inline.read(image)

    # --- what is around ---

    def context(self, location: Location) -> Context:
        """The build context.

        Raises:
            DockerfileError: there is none.
        """
        if self.request.context is None:
            raise location.error(
                "there is no build context to read from", "", "Name a folder behind the options, as in `.`."
            )
        return self.request.context

    def of_context(self, source: str, location: Location) -> State:
        """See :meth:`Transfers.of_context`."""
        return self.transfers.of_context(source, location)

    def of_state(self, found: State, source: str) -> State:
        """See :meth:`Transfers.of_state`."""
        return self.transfers.of_state(found, source)

    def secret(self, name: str) -> bytes | None:
        """The content of a secret; None where none was given.

        Raises:
            InvalidArgument: its file can't be read.
        """
        given = self.request.secrets.get(name)
        if given is None:
            return None
        if given.path is None:
            return os.environb.get(os.fsencode(given.variable))
        try:
            return given.path.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"the secret's file can't be read: {error.strerror}", str(given.path)) from error

    def fetched(self, source: str, instruction: Add) -> Fetched:
        """What a URL gives, in a folder that is there until the build ends."""
        from jupyter_containers.build.fetch import fetched  # urllib3, for ADD alone

        return self._end.enter_context(
            fetched(
                source,
                self._place.area,
                checksum=instruction.checksum,
                keep_git_dir=instruction.keep_git_dir,
                access=self._place.access(),
                cancelled=self.sandbox.running.cancelled,
            )
        )

    def output(self, step: Step, stream: str, text: str) -> None:
        """Tell what a step prints."""
        self.events.send("output", id=step.id, stream=stream, text=text)

    # --- what is told ---

    def warn(self, text: str, line: int = 0) -> None:
        """Tell a warning, once."""
        with self._lock:
            told, self._told = text in self._told, self._told | {text}
        if not told:
            self.events.send("warning", text=text, line=line)

    def announce(self, one: StagePlan, triggers: Sequence[str] = ()) -> None:
        """Tell the steps of a stage; again where its base brings *triggers*, which are its first steps then."""
        index, texts = one.stage.index, [*triggers, *(instruction.text for instruction in one.stage.instructions)]
        steps = [{"id": step_id(index, number), "text": text} for number, text in enumerate(texts, 1)]
        self.events.send("stage", stage=index, name=one.shown, base=one.base.base, steps=steps)

    def _globals(self) -> dict[str, str]:
        request = self.request
        target = request.target or request.dockerfile.stages[-1].name
        known = scope.predefined(platforms.machine(), self._platform, target, request.args)
        return scope.global_args(request.dockerfile.args, request.args, known, self.escape)

    def _warn(self) -> None:
        """Say which build arguments nobody declares, as docker does."""
        dockerfile = self.request.dockerfile
        declared = {name for arg in dockerfile.args for name, _ in arg.args} | set(self.globals)
        for stage in dockerfile.stages:
            declared |= {name for one in stage.instructions for name, _ in getattr(one, "args", ())}
        for name in self.request.args:
            if name not in declared and name.upper() not in (*scope.PROXIES, "SOURCE_DATE_EPOCH"):
                near = suggest(name, sorted(declared))
                text = f"build argument {name} is declared nowhere" + (f". {near}" if near else "")
                self.warn(text)
