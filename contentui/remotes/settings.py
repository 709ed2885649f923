"""How to reach registries: hosts and mirrors, TLS, credentials, timeouts."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class HostCapability(Flag):
    """What a host may be asked for: ``capabilities`` in containerd's ``hosts.toml``."""

    PULL = auto()
    """Content by its digest."""
    RESOLVE = auto()
    """The digest of a tag."""
    PUSH = auto()
    REFERRERS = auto()


ALL_CAPABILITIES = ~HostCapability(0)


class Tls(NamedTuple):
    """Certificates of a host and of the client. Paths of PEM files."""

    ca: tuple[str, ...] = ()
    """Certificate authorities that are trusted besides the system's."""
    client: tuple[tuple[str, str], ...] = ()
    """The client's certificate and its key."""
    skip_verify: bool = False


class Timeouts(NamedTuple):
    """The longest waits, in seconds."""

    connect_s: float = 30.0
    head_s: float = 60.0
    """For the response's head, once the request is sent."""
    answer_s: float = 600.0
    """For the response's head to content that was sent: the registry stores it first."""
    stall_s: float = 30.0
    """For the next bytes of a body, either way."""


class Host(NamedTuple):
    """Where requests go: the registry itself or a mirror of it."""

    scheme: str
    """``http`` or ``https``."""
    address: str
    """Host, or host and port."""
    path: str = "/v2"
    """What precedes the repository."""
    capabilities: HostCapability = ALL_CAPABILITIES
    tls: Tls = Tls()
    headers: Mapping[str, str] = {}
    mirror_of: str = ""
    """For a mirror: the registry, which is sent as the parameter ``ns``."""
    timeouts: Timeouts = Timeouts()


class Credentials(NamedTuple):
    """An account at a registry."""

    username: str
    secret: str
    """A password or access token; never shown."""
    refresh_token: str = ""
    """Exchanged for access tokens instead of a password; never shown."""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"


class Settings(NamedTuple):
    """How to reach registries."""

    plain_http: bool = False
    """Without TLS. Hosts on this machine are reached without TLS anyway, unless at port 443
    or with certificates for them."""
    tls: Tls = Tls()
    hosts_dirs: tuple[str, ...] = ()
    """Directories with a ``HOST/hosts.toml`` for each registry that has mirrors."""
    credentials: Credentials | None = None
    """For this registry; None: those of docker's and podman's files."""
    timeouts: Timeouts = Timeouts()
    """Where a host's hosts.toml has none."""
    attempts: int = 6
    """How often content is requested without useful progress before it fails."""
