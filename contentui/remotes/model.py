"""What is known of a registry and of the content in it."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Can(Flag):
    """What a host may be asked for."""

    PULL = auto()
    """Content by its digest."""
    RESOLVE = auto()
    """What a tag stands for."""
    PUSH = auto()
    REFERRERS = auto()


class Tls(NamedTuple):
    """How a host proves itself, and we to it. Paths of PEM files."""

    ca: tuple[str, ...] = ()
    """Certificates that are trusted besides the system's."""
    client: tuple[tuple[str, str], ...] = ()
    """Our certificate and its key."""
    skip_verify: bool = False


class Host(NamedTuple):
    """Where requests go: the registry itself or a mirror of it."""

    scheme: str
    """``http`` or ``https``."""
    address: str
    """Host, or host and port."""
    path: str = "/v2"
    """What comes before the repository."""
    can: Can = Can.PULL | Can.RESOLVE | Can.PUSH | Can.REFERRERS
    tls: Tls = Tls()
    headers: Mapping[str, str] = {}
    mirrored: str = ""
    """For a mirror: the registry whose content is meant, sent as ``ns``."""
