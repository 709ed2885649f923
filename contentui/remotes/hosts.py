"""Which hosts serve a registry's content: its mirrors, then itself.

Source: containerd's ``docs/hosts.md`` and ``core/remotes/docker/config/hosts.go``.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.settings import ALL_CAPABILITIES, Host, HostCapability, Tls
from contentui.text import parse_duration, visible

if TYPE_CHECKING:
    from contentui.remotes.settings import Settings, Timeouts

_HUB_ADDRESS = "registry-1.docker.io"
_CAPABILITIES = {
    "pull": HostCapability.PULL,
    "resolve": HostCapability.RESOLVE,
    "push": HostCapability.PUSH,
    "referrers": HostCapability.REFERRERS,
}
_TIMEOUTS = {
    "dial_timeout": "connect_s",
    "head_timeout": "head_s",
    "answer_timeout": "answer_s",
    "stall_timeout": "stall_s",
}
_LONGEST_S = 86400.0
_INVALID = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
    InvalidArgument,
)
"""What an invalid file raises while it is read."""


def hosts_of(name: str, settings: Settings) -> list[Host]:
    """The hosts of the registry ``name``, in the order of requests; the registry itself last.

    Raises:
        FailedPrecondition: an invalid hosts.toml.
    """
    for directory in settings.hosts_dirs:
        for folder in _folders(name):
            folder_path = os.path.join(directory, folder)
            if os.path.isfile(os.path.join(folder_path, "hosts.toml")):
                return _from_toml(os.path.join(folder_path, "hosts.toml"), name, settings)
            if os.path.isdir(folder_path):
                return [_default(name, settings, _certificates(folder_path, settings.tls))]
    return [_default(name, settings, settings.tls)]


def _folders(name: str) -> list[str]:
    host, colon, port = name.rpartition(":")
    return [f"{host}_{port}_", name, "_default"] if colon else [name, "_default"]


def _default(name: str, settings: Settings, tls: Tls) -> Host:
    address = _HUB_ADDRESS if name == DOCKER_HUB else name
    # With certificates TLS is used on this machine as well, as in containerd.
    plain = settings.plain_http or (_is_local(address) and tls == Tls())
    scheme = "http" if plain else "https"
    return Host(scheme, address, tls=tls, timeouts=settings.timeouts)


def _is_local(address: str) -> bool:
    """Whether it is a host on this machine, where plain HTTP is used unless at port 443."""
    parts = urlsplit(f"//{address}")
    if parts.port in (None, 443):
        return False
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificates(directory: str, tls: Tls) -> Tls:
    """``*.crt`` are authorities, ``*.cert`` with its ``*.key`` is the client's."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise FailedPrecondition(
            f"{visible(directory)} can't be read: {error.strerror}", advice="repair it"
        ) from None
    ca = tuple(os.path.join(directory, name) for name in names if name.endswith(".crt"))
    client = tuple(
        (os.path.join(directory, name), os.path.join(directory, name[:-5] + ".key"))
        for name in names
        if name.endswith(".cert")
    )
    return Tls(tls.ca + ca, tls.client + client, tls.skip_verify)


def _from_toml(path: str, name: str, settings: Settings) -> list[Host]:
    import tomllib

    try:
        with open(path, "rb") as file:
            config = tomllib.load(file)
        mirrors = config.get("host", {})
        hosts = [_host(url, entry, path, name, settings) for url, entry in mirrors.items()]
        server = config.get("server", "")
        last = _host(server, config, path, name, settings) if server else None
    except _INVALID as error:
        raise FailedPrecondition(
            f"invalid {visible(path)}: {visible(str(error), 200)}",
            advice="correct it (containerd's docs/hosts.md describes the format)",
        ) from None
    return [*hosts, last or _default(name, settings, settings.tls)]


def _host(url: str, entry: dict[str, Any], path: str, name: str, settings: Settings) -> Host:
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a valid http(s) URL")
    if parts.port == 0 or parts.username is not None:
        raise ValueError(f"{parts.netloc!r} is not a host with an optional port")
    prefix = parts.path.rstrip("/")
    if not entry.get("override_path") and not prefix.endswith("/v2"):
        prefix += "/v2"
    own = _HUB_ADDRESS if name == DOCKER_HUB else name
    return Host(
        parts.scheme,
        parts.netloc,
        prefix,
        _capabilities(entry),
        _tls(entry, os.path.dirname(path), settings.tls),
        {str(k): _header(v) for k, v in entry.get("header", {}).items()},
        "" if parts.netloc in (own, name) else name,
        _timeouts(entry, settings.timeouts),
    )


def _timeouts(entry: dict[str, Any], usual: Timeouts) -> Timeouts:
    """The waits of one host; containerd knows ``dial_timeout``, the others are ours."""
    given = {field: entry[key] for key, field in _TIMEOUTS.items() if key in entry}
    waits = {field: parse_duration(str(text)) for field, text in given.items()}
    if not all(0 < seconds <= _LONGEST_S for seconds in waits.values()):
        raise ValueError(f"{', '.join(map(str, given.values()))} is not a time limit")
    return usual._replace(**waits)


def _capabilities(entry: dict[str, Any]) -> HostCapability:
    names = entry.get("capabilities")
    if names is None:
        return ALL_CAPABILITIES
    found = HostCapability(0)
    for name in names:
        if name not in _CAPABILITIES:
            raise ValueError(f"{name!r} is none of {', '.join(_CAPABILITIES)}")
        found |= _CAPABILITIES[name]
    return found


def _tls(entry: dict[str, Any], directory: str, tls: Tls) -> Tls:
    def at(file: str) -> str:
        return os.path.join(directory, file)

    ca, client = entry.get("ca", []), entry.get("client", [])
    authorities = [ca] if isinstance(ca, str) else ca
    pairs = [client] if isinstance(client, str) else client
    own = tuple(
        (at(pair), at(pair)) if isinstance(pair, str) else (at(pair[0]), at(pair[-1]))
        for pair in pairs
    )
    return Tls(
        tls.ca + tuple(map(at, authorities)),
        tls.client + own,
        bool(entry.get("skip_verify", tls.skip_verify)),
    )


def _header(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
