"""What a person or a script may say about registries."""

from __future__ import annotations

from typing import NamedTuple

from contentui.remotes.http import Waits
from contentui.remotes.model import Tls


class Credentials(NamedTuple):
    """Who we are to a registry."""

    username: str
    secret: str
    """A password or access token; never shown."""
    refresh_token: str = ""
    """What is exchanged for access tokens instead of a password; never shown."""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Settings(NamedTuple):
    """How to reach registries."""

    plain_http: bool = False
    """Without TLS. Hosts on this machine are asked without TLS anyway, unless at port 443
    or with certificates for them."""
    tls: Tls = Tls()
    hosts_dirs: tuple[str, ...] = ()
    """Directories with a ``HOST/hosts.toml`` for each registry that has mirrors."""
    credentials: Credentials | None = None
    """Given for this registry; None: looked up in docker's and podman's files."""
    waits: Waits = Waits()
