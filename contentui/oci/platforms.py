"""Which manifest of an index is for which machine.

Sources: ``compare.go`` and ``database.go`` of containerd's ``platforms`` module; ``image-index.md``
of the OCI image specification.
"""

from __future__ import annotations

import platform as this_machine
from typing import NamedTuple

from contentui.content.errors import InvalidArgument
from contentui.text import visible

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386"}
_AMD64_LEVELS = ("", "v1", "v2", "v3", "v4")
_ARM_LEVELS = ("v5", "v6", "v7", "v8")
_UNKNOWN = 1000
"""Comes after every match: a manifest without a platform."""


class Platform(NamedTuple):
    """An operating system on a processor; empty parts are unknown."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def parse_platform(text: str) -> Platform:
    """``linux/arm64/v8``, ``linux/amd64`` or just ``arm64``.

    Raises:
        InvalidArgument: something else.
    """
    parts = text.lower().split("/")
    plain = all(part and part.replace("_", "").replace("-", "").isalnum() for part in parts)
    if not plain or len(parts) > 3:
        raise InvalidArgument(
            f"{visible(text, 60)} is not a platform", advice="write it as linux/amd64, linux/arm64"
        )
    if len(parts) == 1:
        parts.insert(0, "linux")
    architecture = _ARCHITECTURES.get(parts[1], parts[1])
    return Platform(parts[0], architecture, *parts[2:])


def own_platform() -> Platform:
    """The platform of this machine."""
    machine = this_machine.machine().lower()
    if machine.startswith("armv"):
        return Platform("linux", "arm", "v" + machine[4:5])
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def match(wanted: Platform, offered: Platform | None) -> int | None:
    """How well an image for ``offered`` runs on ``wanted``: 0 is best; None: not at all.

    One without a platform runs anywhere, but comes after those that have one.
    """
    if offered is None:
        return _UNKNOWN
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return None
    have, need = _level(wanted), _level(offered)
    if have is None or need is None:
        return 0 if wanted.variant == offered.variant else None
    return have - need if need <= have else None


def _level(platform: Platform) -> int | None:
    """The rank of a processor's instruction set among its variants; None: unknown variant."""
    variant = platform.variant
    if platform.architecture == "amd64":
        return max(_AMD64_LEVELS.index(variant), 1) if variant in _AMD64_LEVELS else None
    if platform.architecture == "arm64":
        return 8 if variant in ("", "8", "v8") else None
    if platform.architecture == "arm":
        variant = variant or "v7"
        return _ARM_LEVELS.index(variant) if variant in _ARM_LEVELS else None
    return None
