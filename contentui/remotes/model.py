"""What is known of a registry and of the content in it."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.content.digest import Digest


class Reference(NamedTuple):
    """The name of an image in a registry, parsed."""

    host: str
    """As it is written in names: ``docker.io``, ``localhost:5000``."""
    repository: str
    """``library/redis``"""
    tag: str = ""
    digest: Digest | None = None
    """When both are given, the digest is what is pulled."""

    @property
    def object(self) -> str:
        """What to ask the registry for: the digest, or the tag."""
        return str(self.digest or self.tag)

    def __str__(self) -> str:
        """The full name, as images are recorded under it."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


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
