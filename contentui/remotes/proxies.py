"""Which proxy the environment names for a host.

Source: the package ``golang.org/x/net/http/httpproxy``, whose rules docker, containerd and skopeo
have. One difference: where ``$REQUEST_METHOD`` is set ``$HTTP_PROXY`` is ignored, not an error.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_ENTRY = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::([0-9]*))?")
"""Of NO_PROXY: a name or an address, perhaps with a port."""
_NETWORK = re.compile(r"([^/]+)/([0-9]{1,3})")
_MAX_SECRET = 255
"""Bytes of a user's name or password that SOCKS can carry (RFC 1929)."""


class Proxy(NamedTuple):
    """A proxy, and how it is reached."""

    scheme: str
    """``http``, ``https``, ``socks5`` or ``socks5h``; the last two are the same: the proxy resolves
    the host's name."""
    host: str
    port: int
    user: str
    password: str
    """Never shown."""
    variable: str
    """The name of the variable that names it."""

    @property
    def address(self) -> str:
        """Host and port; untrusted text."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP proxy is sent with each request that it reads."""
        if not self.user:
            return {}
        pair = f"{self.user}:{self.password}".encode()
        return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def __repr__(self) -> str:
        return f"Proxy({self.scheme!r}, {self.address!r}, ...)"


def find_proxy(
    scheme: str, address: str, environment: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy for requests to a host; None: it is reached directly.

    Args:
        scheme: of the requests, ``http`` or ``https``.
        address: the host, or host and port, in ASCII.
        environment: None: that of this process.

    Raises:
        InvalidArgument: the variable that counts has no valid URL of a proxy.
    """
    env = os.environ if environment is None else environment
    upper = f"{scheme.upper()}_PROXY"
    names = [upper, upper.lower()]
    if scheme == "http" and env.get("REQUEST_METHOD"):
        del names[0]  # in a CGI program it is the request's header Proxy
    variable = next((name for name in names if env.get(name)), "")
    if not variable:
        return None
    target = urlsplit(f"//{address}")
    host, port = (target.hostname or "").strip(), target.port or _PORTS[scheme]
    if _is_direct(host, port, env.get("NO_PROXY") or env.get("no_proxy") or ""):
        return None
    return _parse(env[variable], variable)


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is on this machine, or excepted by NO_PROXY."""
    ip = _ip(host)
    if host == "localhost" or (ip is not None and ip.is_loopback):
        return True
    return any(
        _excepts(entry, host, port, ip)
        for entry in (part.strip().lower() for part in no_proxy.split(","))
        if entry
    )


def _excepts(entry: str, host: str, port: int, ip: Address | None) -> bool:
    if entry == "*":
        return True
    if network := _NETWORK.fullmatch(entry):
        with suppress(ValueError):
            return ip is not None and ip in ipaddress.ip_network(entry, strict=False)
    excepted = _ip(entry)
    entry_port = ""
    if excepted is None:
        match = _ENTRY.fullmatch(entry)
        if match is None or network:
            return False
        name, entry_port = match[1] or match[2], match[3] or ""
        if not name:
            return False
        excepted = _ip(name)
    if entry_port and int(entry_port) != port:
        return False
    if excepted is not None:
        return excepted == ip
    return _is_below(host, name)


def _is_below(host: str, name: str) -> bool:
    """``name`` means a domain and what is below it; ``.name`` and ``*.name`` the latter alone."""
    if not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("idna").decode()
    name = name.removeprefix("*") if name.startswith("*.") else name
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _ip(text: str) -> Address | None:
    """An IP address; one of IPv4 that is written as IPv6 is one of IPv4."""
    if "%" in text:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _parse(text: str, variable: str) -> Proxy:
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        (host + user + password).encode()
    except ValueError:
        host = ""
    if not host or parts.scheme not in _PORTS or port == 0 or re.search(r"[\s\x00-\x1f]", host):
        raise InvalidArgument(
            f"${variable} is not the URL of a proxy",
            advice="correct or unset it: it begins with http://, https:// or socks5://",
        )
    longest = max(len(part.encode()) for part in (user, password, host))
    if parts.scheme.startswith("socks5") and longest > _MAX_SECRET:
        raise InvalidArgument(
            f"the host, the user or the password in ${variable} is longer than {_MAX_SECRET} bytes",
            advice="correct it: SOCKS has no longer ones",
        )
    return Proxy(parts.scheme, host, port or _PORTS[parts.scheme], user, password, variable)
