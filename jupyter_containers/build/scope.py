"""Build arguments: which ones there are without being declared, and what a declaration makes of those that are given.

Three scopes, as docker has them (https://docs.docker.com/reference/dockerfile/#arg): *global*, what ``FROM`` may name:
the predefined platform arguments and every ``ARG`` before the first ``FROM``; a *stage's*, where an ``ARG`` without a
default takes over a global one; and *proxies*, which every ``RUN`` sees undeclared and neither image nor cache keeps.

Not here: the variables that a stage has at some place, which the one who carries it out keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from jupyter_containers.build.instructions import Arg, From
from jupyter_containers.build.source import Fault
from jupyter_containers.build.words import Expansion, Lexer
from jupyter_containers.errors import suggest
from jupyter_containers.image.platforms import Platform

PROXIES = ("ALL_PROXY", "FTP_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


def predefined(
    build: Platform, target: Platform, stage: str = "", given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The arguments that every Dockerfile has: ``TARGETPLATFORM``, ``BUILDARCH`` ...

    Args:
        build: the platform that builds.
        target: the platform that the image is for.
        stage: the target stage's name.
        given: ``--build-arg``, which may give them other values.
    """
    found = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        found |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.os,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return {name: (given or {}).get(name, value) for name, value in found.items()}


def global_args(
    declared: Iterable[Arg], given: Mapping[str, str], predefined: Mapping[str, str], escape: str = "\\"
) -> dict[str, str]:
    """The arguments that ``FROM`` may name.

    Args:
        declared: the ``ARG`` instructions before the first ``FROM``, in order: a default may name an earlier one.
        given: ``--build-arg``.
        predefined: what :func:`predefined` says.
        escape: the file's escape character.

    Raises:
        DockerfileError: a default is malformed.
    """
    found = dict(predefined)
    for arg in declared:
        found |= {name: value for name, value in declare(arg, found, given, {}, escape).items() if value is not None}
    return found


def declare(
    arg: Arg, env: Mapping[str, str], given: Mapping[str, str], globals_: Mapping[str, str], escape: str = "\\"
) -> dict[str, str | None]:
    """What an ``ARG`` in a stage declares: each name with its value, ``None`` where it has none.

    A value given by ``--build-arg`` comes before the default, and a default before a global argument's value.

    Raises:
        DockerfileError: a default that is needed is malformed.
    """
    lexer = Lexer(escape)
    found: dict[str, str | None] = {}
    for name, default in arg.args:
        if name in given:
            found[name] = given[name]
        elif default is None:
            found[name] = globals_.get(name)
        else:
            known = dict(env) | {key: value for key, value in found.items() if value is not None}
            found[name] = _expanded(lexer, default, known, arg).text
    return found


def base(stage: From, args: Mapping[str, str], escape: str = "\\") -> From:
    """A ``FROM`` with the base's name and its platform expanded.

    Args:
        stage: as parsed.
        args: what :func:`global_args` says.
        escape: the file's escape character.

    Raises:
        DockerfileError: a name is malformed, or nothing is left of it, with the nearest argument's name.
    """
    lexer = Lexer(escape)
    name = _expanded(lexer, stage.base, args, stage)
    platform = _expanded(lexer, stage.platform, args, stage)
    for written, found, what in ((stage.base, name, "base name"), (stage.platform, platform, "platform")):
        if written and not found.text:
            raise stage.location.error(f"the {what} {written!r:.80} is empty", written, _mend(found, args))
    return replace(stage, base=name.text, platform=platform.text)


def proxies(given: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of every ``RUN``, from build arguments in whatever case, in capital and small letters."""
    found = {name.upper(): value for name, value in sorted(given.items()) if name.upper() in PROXIES}
    return found | {name.lower(): value for name, value in found.items()}


def _expanded(lexer: Lexer, text: str, env: Mapping[str, str], of: Arg | From) -> Expansion:
    try:
        return lexer.expand(text, env)
    except Fault as fault:
        raise of.location.fault(fault) from None


def _mend(found: Expansion, args: Mapping[str, str]) -> str:
    """What was perhaps meant by a name that is not set."""
    hints = (suggest(name, args) for name in sorted(found.unset))
    return next(filter(None, hints), "Declare it by ARG NAME=DEFAULT before the first FROM, or give --build-arg.")
