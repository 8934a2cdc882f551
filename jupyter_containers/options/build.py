"""``docker build``'s flags, defined once for the command line, ``%%dockerfile`` and docker-py's keywords.

Help texts are those of ``docker build --help``. What docker has and we do not is in the table too, with the reason.
Source: docker/cli and docker/buildx reference of ``build``.

Not here: where the context and the Dockerfile come from (``cli.building``), and what is built (``engine.builds``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_containers.errors import InvalidArgument

from . import pairs, values, words
from .flag import Flag
from .model import RunOptions
from .run import options
from .values import Context

_LIMITS = ("cpu_shares", "cpuset_cpus", "memory", "memory_swap", "network", "shm_size", "ulimits")


def cache_source(word: str, _: Context) -> str:
    """The image of ``--cache-from``: ``NAME`` or ``type=registry,ref=NAME``."""
    if "=" not in word.partition("/")[0]:
        return word
    given = dict(part.partition("=")[::2] for part in word.split(","))
    if given.get("type", "registry") != "registry" or not given.get("ref"):
        mend = "Name an image that was built with --cache-to type=inline, or write type=registry,ref=NAME."
        raise InvalidArgument("only images have a cache that can be read", mend=mend)
    return given["ref"]


def cache_target(word: str, _: Context) -> bool:
    """Whether ``--cache-to`` puts the cache into the image: it can't be anywhere else."""
    if word.partition(",")[0].removeprefix("type=") != "inline":
        raise InvalidArgument("the cache can only be written into the image", mend="Write --cache-to type=inline.")
    return True


def one_platform(word: str, context: Context) -> str:
    """As of ``run``; images for several platforms at once are not made."""
    if "," in word:
        mend = f"Build one after the other: --platform {word.partition(',')[0]}."
        raise InvalidArgument("an image is built for one platform at a time", mend=mend)
    return words.platform(word, context)


_FLAGS: tuple[Flag, ...] = (
    Flag("build-arg", "", "list", "build_args", "Set build-time variables", "", pairs.env, "buildargs"),
    Flag("cache-from", "", "list", "cache_from", "Images to consider as cache sources", "", cache_source),
    Flag("cache-to", "", "string", "inline_cache", 'Cache export destinations ("type=inline")', "", cache_target),
    Flag("cpu-shares", "c", "int", "cpu_shares", "CPU shares (relative weight)"),
    Flag("cpuset-cpus", "", "string", "cpuset_cpus", "CPUs in which to allow execution (0-3, 0,1)", "", values.cpu_set),
    Flag("file", "f", "string", "file", 'Name of the Dockerfile (default: "PATH/Dockerfile")'),
    Flag("iidfile", "", "string", "iidfile", "Write the image ID to a file"),
    Flag("label", "", "list", "labels", "Set metadata for an image", "", pairs.label),
    Flag("memory", "m", "bytes", "memory", "Memory limit"),
    Flag(
        "memory-swap",
        "",
        "bytes",
        "memory_swap",
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        "",
        values.swap,
    ),
    Flag(
        "network",
        "",
        "string",
        "network",
        'Set the networking mode for the "RUN" instructions during build (default "default")',
        "",
        words.network,
        "network_mode",
    ),
    Flag("no-cache", "", "", "no_cache", "Do not use cache when building the image", keyword="nocache"),
    Flag("platform", "", "string", "platform", "Set target platform for build", "", one_platform),
    Flag("pull", "", "", "pull", "Always attempt to pull all referenced images"),
    Flag("quiet", "q", "", "quiet", "Suppress the build output and print image ID on success"),
    Flag(
        "secret",
        "",
        "list",
        "secrets",
        'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")',
    ),
    Flag("shm-size", "", "bytes", "shm_size", "Shared memory size for build containers", keyword="shmsize"),
    Flag(
        "ssh",
        "",
        "list",
        "agents",
        'SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")',
    ),
    Flag("tag", "t", "list", "tags", 'Name and optionally a tag (format: "name:tag")'),
    Flag("target", "", "string", "target", "Set the target build stage to build"),
    Flag("ulimit", "", "ulimit", "ulimits", "Ulimit options (default [])", "", values.ulimit),
)

_NOTHING = "compress: disable-content-trust: force-rm: load: rm:"  # say what is the case anyway
_STORE = "the image goes into the store; write it to a file with `save`, its files with `create` and `export`"
_REFUSED: dict[str, str] = {
    "add-host:list": "names of hosts come with bridge networks",
    "allow:list": "steps of a build never get more rights than containers have by default",
    "annotation:list": "annotations of images are not supported yet; --label sets metadata",
    "attest:list": "attestations are not made",
    "build-context:list": "a build has one context; further ones can be stages: `FROM ... AS name`, `COPY --from=name`",
    "builder:string": "there is one builder, which is part of this program",
    "call:string": "a Dockerfile can't be checked without building it yet",
    "cgroup-parent:string": "a step has a cgroup of its own",
    "check:": "a Dockerfile can't be checked without building it yet",
    "cpu-period:int": "this flag of docker's is not supported yet",
    "cpu-quota:int": "this flag of docker's is not supported yet",
    "cpuset-mems:string": "this flag of docker's is not supported yet",
    "isolation:string": "it chooses between technologies of Windows",
    "metadata-file:string": "this flag of docker's is not supported yet; --iidfile writes the image's id",
    "no-cache-filter:list": "stages can't be chosen here; --no-cache is for all of them",
    "output:list": _STORE,
    "provenance:string": "attestations are not made",
    "push:": "an image is pushed by a second command, `push NAME`",
    "sbom:string": "attestations are not made",
    "security-opt:list": "steps of a build have the default profile of containers",
    "squash:": "it threw away the layers that images share; copy the files into a last stage instead: "
    "`FROM scratch`, `COPY --from=0 / /`",
}  # fmt: skip
_SHORT = {"output": "o"}


def _without_help(entry: str, refuse: str = "") -> Flag:
    name, kind = entry.split(":")
    return Flag(name, _SHORT.get(name, ""), kind, name.replace("-", "_"), "", refuse=refuse)


FLAGS: tuple[Flag, ...] = tuple(
    sorted(
        (
            *_FLAGS,
            *(_without_help(entry) for entry in _NOTHING.split()),
            *(_without_help(entry, reason) for entry, reason in _REFUSED.items()),
        ),
        key=lambda flag: flag.name,
    )
)


def run_options(found: Mapping[str, Any]) -> RunOptions:
    """Limits and network of ``RUN``, of parsed values."""
    return options(RunOptions, {name: found[name] for name in _LIMITS if name in found}, image="")
