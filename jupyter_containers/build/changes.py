"""``--change`` of import and commit: Dockerfile instructions that change an image's configuration.

Docker takes those that need no container (moby's ``validCommitCommands``); variables in them are the configuration's.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_containers.build.configure import Config, State, apply, environment
from jupyter_containers.build.dockerfile import instruction
from jupyter_containers.build.expand import expand

KEYWORDS = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


def changed(config: Config, changes: Iterable[str]) -> Config:
    """A copy of an image's ``config`` object with *changes* made, one after the other.

    >>> changed({}, ["CMD [\\"sh\\"]", "ENV A=1 B='x y'"])
    {'Cmd': ['sh'], 'Env': ['A=1', 'B=x y']}

    Raises:
        DockerfileError: an instruction that is unknown, not for here, or malformed.
    """
    state = State()
    for change in changes:
        found = instruction(change)
        if found.keyword not in KEYWORDS:
            mend = f"These can be: {', '.join(KEYWORDS)}."
            raise found.location.error(f"{found.keyword} cannot be a change", mend=mend)
        config = apply(config, expand(found, environment(config)), state)
        state = state.after(found)
    return dict(config)
