"""Platforms: what this machine runs, and which image of several fits it.

Words and normal forms are those of OCI (Go's GOOS and GOARCH) and of containerd's platforms package.
https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from jupyter_containers.errors import InvalidArgument, WrongPlatform, suggest

# uname -m, or another name people use, to architecture and variant
_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""), "arm64": ("arm64", ""),
    "armv8l": ("arm", "v7"), "armv7l": ("arm", "v7"), "armhf": ("arm", "v7"), "arm": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "armel": ("arm", "v6"), "armv5tel": ("arm", "v5"),
    "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""), "i686": ("386", ""), "386": ("386", ""),
    "ppc64le": ("ppc64le", ""), "ppc64": ("ppc64", ""), "s390x": ("s390x", ""), "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""), "loong64": ("loong64", ""), "mips64le": ("mips64le", ""), "mips64": ("mips64", ""),
}  # fmt: skip
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")


@dataclass(frozen=True)
class Platform:
    """An operating system and processor; ``str()`` is docker's ``--platform`` form."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalised(self) -> Platform:
        """One spelling for one thing: arm64/v8 is arm64, amd64/v1 is amd64, arm is arm/v7."""
        architecture, default = _ARCHITECTURES.get(self.architecture.lower(), (self.architecture.lower(), ""))
        variant = self.variant.lower() or default
        if variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""
        return Platform(self.os.lower(), architecture, variant)


def machine() -> Platform:
    """The platform of this machine's containers (Linux, whatever the notebook runs on)."""
    return Platform("linux", os.uname().machine).normalised()


def parse(text: str) -> Platform:
    """The platform that ``--platform`` *text* names; an architecture or a system alone is completed.

    Raises:
        InvalidArgument: not a platform.
    """
    parts = [part.strip().lower() for part in text.split("/")]
    if len(parts) == 1 and parts[0] in _SYSTEMS:
        return Platform(parts[0], machine().architecture)
    if len(parts) == 1:
        parts.insert(0, "linux")
    known = [*_SYSTEMS, *_ARCHITECTURES]
    unknown = next((part for part in parts[:2] if part not in known), None)
    if unknown is not None or len(parts) > 3 or parts[0] not in _SYSTEMS:
        mend = suggest(unknown or "", known) or "The form is OS/ARCHITECTURE[/VARIANT], as in linux/arm64."
        raise InvalidArgument(f"not a platform: {text!r:.80}", "--platform", mend)
    return Platform(*parts).normalised()


def preference(wanted: Platform) -> list[Platform]:
    """What runs on *wanted*, best first: an arm/v7 machine also runs v6 and v5, amd64/v3 also v2 and v1."""
    wanted = wanted.normalised()
    found = [wanted]
    if wanted.variant[:1] == "v" and wanted.variant[1:].isdigit():
        found += [Platform(wanted.os, wanted.architecture, f"v{n}") for n in range(int(wanted.variant[1:]) - 1, 0, -1)]
        found.append(Platform(wanted.os, wanted.architecture))
    if wanted.architecture == "arm64" and sys.platform == "linux":
        found.append(Platform(wanted.os, "arm", "v7"))
    return [platform.normalised() for platform in found]


def best(wanted: Platform, offered: list[Platform]) -> int | None:
    """The index in *offered* of what fits *wanted* best, or None where nothing does."""
    normal = [platform.normalised() for platform in offered]
    return next((normal.index(platform) for platform in preference(wanted) if platform in normal), None)


def check(image: Platform, wanted: Platform, where: str) -> None:
    """Raise :class:`WrongPlatform` unless *image* runs on *wanted*."""
    if best(wanted, [image]) is None:
        raise WrongPlatform(
            f"the image is for {image.normalised()}, not for {wanted.normalised()}",
            where,
            f"Pull or build it for {wanted.normalised()} (--platform).",
        )
