"""Where a service listens, as people type it."""

from __future__ import annotations

import os
from typing import NamedTuple

from contentui.content.errors import InvalidArgument
from contentui.text import visible

MOST_PATH = 107
"""Bytes in the path of a socket (unix(7))."""
_HOW = "write it as unix:///run/contentui.sock or tcp://HOST:PORT"


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
    """0: any free one."""

    def __str__(self) -> str:
        return f"tcp://{self.target}"

    @property
    def target(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        from ipaddress import ip_address

        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> UnixAddress | TcpAddress:
    """The address behind ``unix://PATH`` or ``tcp://HOST:PORT``.

    Raises:
        InvalidArgument: it is neither, or can't be one.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest:
        return _unix(rest)
    if scheme == "tcp" and rest:
        return _tcp(text, rest)
    raise InvalidArgument(f"{visible(text, 200)!r} is no address to listen at", advice=_HOW)


def _unix(path: str) -> UnixAddress:
    size = len(os.fsencode(path))
    if "\0" in path or "?" in path:
        raise InvalidArgument("a socket's path has neither NUL nor '?'", advice=_HOW)
    if not path.startswith("/"):
        raise InvalidArgument(
            f"the path of the socket {visible(path, 200)} is not absolute",
            advice=f"write it as unix://{visible(os.path.abspath(path), 200)}",
        )
    if size > MOST_PATH:
        raise InvalidArgument(
            f"a socket's path has at most {MOST_PATH} bytes, and this one has {size}",
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
        raise InvalidArgument(f"{visible(text, 200)!r} is no HOST:PORT", advice=_HOW)
    return TcpAddress(host, number)
