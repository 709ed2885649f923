"""The addresses that a server listens at, as ``--listen`` takes them."""

from __future__ import annotations

import os
from typing import NamedTuple

from contentui.content.errors import InvalidArgument
from contentui.text import visible

MAX_PATH = 107
"""Bytes of a socket's path at most (unix(7))."""
_SYNTAX = "write it as unix:///run/contentui.sock or tcp://HOST:PORT"


class UnixAddress(NamedTuple):
    """A socket in the file system."""

    path: str
    """Absolute."""

    def __str__(self) -> str:
        return f"unix://{self.path}"


class TcpAddress(NamedTuple):
    """A port on an address or a name of this machine."""

    host: str
    port: int
    """0: any free port."""

    def __str__(self) -> str:
        return f"tcp://{self.target}"

    @property
    def target(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this machine only."""
        from ipaddress import ip_address

        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> UnixAddress | TcpAddress:
    """Parse ``unix://PATH`` or ``tcp://HOST:PORT``.

    Raises:
        InvalidArgument: it is neither, or has an invalid path, host or port.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest:
        return _unix(rest)
    if scheme == "tcp" and rest:
        return _tcp(text, rest)
    raise InvalidArgument(f"{visible(text, 200)!r} is not an address to listen at", advice=_SYNTAX)


def _unix(path: str) -> UnixAddress:
    size = len(os.fsencode(path))
    if "\0" in path or "?" in path:
        raise InvalidArgument("a socket's path must not contain NUL or '?'", advice=_SYNTAX)
    if not path.startswith("/"):
        raise InvalidArgument(
            f"the path of the socket {visible(path, 200)} is not absolute",
            advice=f"write it as unix://{visible(os.path.abspath(path), 200)}",
        )
    if size > MAX_PATH:
        raise InvalidArgument(
            f"a socket's path is limited to {MAX_PATH} bytes; this one has {size}",
            advice="choose a shorter directory, such as /run",
        )
    return UnixAddress(os.path.normpath(path))


def _tcp(text: str, rest: str) -> TcpAddress:
    host, colon, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    if not host or not colon or not 0 <= number <= 65535 or not host.isprintable():
        raise InvalidArgument(f"{visible(text, 200)!r} is not a valid HOST:PORT", advice=_SYNTAX)
    return TcpAddress(host, number)
