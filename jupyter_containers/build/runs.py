"""``RUN``: from the instruction to a container, and from what it wrote to a layer.

The result depends on the files below, the command, the variables, the user, the folder, the network, the content
that is mounted, and on whether files can have owners on this rung; not on limits, nor on secrets.
``SOURCE_DATE_EPOCH`` is set for every step, so that compilers, pip and their like write the same at any time.
https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from jupyter_containers.build import configure, scope
from jupyter_containers.build.instructions import Run
from jupyter_containers.build.mounted import Mounts
from jupyter_containers.build.sandbox import Order
from jupyter_containers.build.script import Script, script
from jupyter_containers.build.stage import Made, Prepared, Step
from jupyter_containers.errors import InvalidArgument, StepFailed
from jupyter_containers.run.bundle import Extra
from jupyter_containers.run.runtime import Exit

if TYPE_CHECKING:
    from jupyter_containers.build.builder import Build

EPOCH = "SOURCE_DATE_EPOCH"
_ROOT_ALONE = "rootless-single"


class Runs:
    """Prepares the ``RUN`` steps of a build."""

    def __init__(self, build: Build) -> None:
        self._build = build

    def prepare(self, step: Step) -> Prepared:
        """A ``RUN``."""
        run = step.instruction
        assert isinstance(run, Run)
        self._check(run)
        what = script(run)
        config = dict(step.state.config)
        argv = configure.argv(config, what.command)
        mounts = Mounts(self._build, step, run.mounts)
        given = {EPOCH: str(step.state.epoch), **step.args}
        env = {name: value for name, value in given.items() if name not in step.state.env}
        key = (
            "run", step.state.chain_id, argv, what.content, sorted(env.items()), sorted(step.state.env.items()),
            config.get("User") or "", config.get("WorkingDir") or "/", self._network(run), mounts.key(),
            str(step.state.platform), "one owner" if self._build.layering.owners == _ROOT_ALONE else "owners",
        )  # fmt: skip
        shown = f"RUN {' '.join(argv)}" if run.command.shell else run.text
        return Prepared(key, lambda: self._run(step, run, argv, what, env, mounts), shown)

    def _check(self, run: Run) -> None:
        """A Dockerfile alone gives no rights: insecure steps never, the host's network where the user has said so.

        BuildKit's entitlements ``security.insecure`` and ``network.host``:
        https://docs.docker.com/reference/cli/docker/buildx/build/#allow
        """
        if run.security != "sandbox":
            raise InvalidArgument(
                f"security mode {run.security!r} is not allowed", f"--security={run.security}",
                "Steps of a build never get more rights than containers have by default.",
            )  # fmt: skip
        if run.network == "host" != self._build.request.options.network:
            raise InvalidArgument(
                "the host's network is not allowed", "--network=host",
                "If this Dockerfile may have it, build it with --network host.",
            )  # fmt: skip

    def _network(self, run: Run) -> str:
        return run.network if run.network != "default" else self._build.request.options.network

    def _within_reach(self, run: Run) -> str:
        """The network that the step gets here: a warning, once, where it is not the one that it asks for."""
        network, warning = self._build.sandbox.runtime.within_reach(self._network(run))
        if warning:
            self._build.warn(warning, run.location.first)
        return network

    def _run(self, step: Step, run: Run, argv: list[str], what: Script, env: dict[str, str], mounts: Mounts) -> Made:
        build = self._build
        with ExitStack() as opened:
            made = mounts.open(opened)
            layers = build.layering.paths(step.state)
            stubs = build.layering.stubs(step.state, made.places) if made.places else []
            files = {what.path: (what.content.encode(), 0o755)} if what.path else {}
            order = Order(
                about=step.state.about, args=argv, config=step.state.config, layers=layers,
                env={**scope.proxies(build.request.args), **env, **made.env},
                options=replace(build.request.options, network=self._within_reach(run)),
                extra=Extra(files, mounts=made.mounts),
            )  # fmt: skip
            with build.sandbox.ran(order, lambda stream, text: build.output(step, stream, text)) as ended:
                if ended.exit.exit_code:
                    raise self._failed(step, argv, ended.exit)
                return build.layering.of_upper(step.state, ended.upper, stubs)

    def _failed(self, step: Step, argv: list[str], ended: Exit) -> StepFailed:
        """The error, with a way into the files as they were before the step."""
        image = self._build.keep_state(step.state)
        words = " ".join(argv)
        code = f"exit code: {ended.exit_code}"
        why = f", {ended.reason}" if ended.reason and ended.reason != "exit" else ""
        what = f'process "{words:.200}" did not complete successfully: {code}{why}'
        mend = f"Look at the state before it: %container run -it --rm {image} {_shell(step)}"
        found = step.instruction.location.error(what, "", mend)
        return StepFailed(found.what, found.where, found.mend, found.line, found.column, found.excerpt,
                          ended.exit_code, image)  # fmt: skip


def _shell(step: Step) -> str:
    return str((step.state.config.get("Shell") or ["/bin/sh"])[0])
