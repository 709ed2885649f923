"""The one place that knows all kinds of stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument
from contentui.stores.access import is_socket

if TYPE_CHECKING:
    from contentui.content.store import Store


def open_store(source: str, *, read_only: bool = False, create: bool = False) -> Store:
    """Open what ``source`` names.

    That is a directory, a containerd's root with its content inside, or a socket: by its path, or
    as ``unix:///PATH?namespace=a,b``, without a namespace all of them. ``create``: a missing
    directory is made once something is stored.

    Raises:
        InvalidArgument: a kind of source that isn't known.
        NotFound, PermissionDenied, FailedPrecondition: as `LocalStore`.
        Unavailable: nobody answers on the socket.
    """
    if "://" in source:
        path, namespaces = parse_socket_url(source)
        return _daemon(path, namespaces, read_only=read_only)
    if not source:
        raise InvalidArgument("the store's name is empty", advice="name a directory with --store")
    if is_socket(source):
        return _daemon(source, (), read_only=read_only)
    from contentui.stores.local.store import LocalStore

    return LocalStore(content_root(source), create=create, read_only=read_only)


def names_directory(source: str) -> bool:
    """Whether ``source`` names a directory, which need not be there."""
    return bool(source) and "://" not in source and not is_socket(source)


def parse_socket_url(url: str) -> tuple[str, tuple[str, ...]]:
    """The path and the namespaces in ``unix:///PATH?namespace=a,b``; no namespaces mean all.

    Raises:
        InvalidArgument: another scheme, no absolute path, anything else behind the ``?``, or no
            name where one should be: an empty variable in a script must not mean all.
    """
    from urllib.parse import parse_qsl, unquote

    scheme, _, rest = url.partition("://")
    if scheme != "unix":
        raise InvalidArgument(
            f"{scheme[:20]}:// is not a kind of store this version can open",
            advice="name a directory, or a socket as unix:///PATH",
        )
    path, _, query = rest.partition("?")
    if not path.startswith("/"):
        raise InvalidArgument(
            f"{url[:160]!r} names no absolute path",
            advice="write three slashes: unix:///run/containerd/containerd.sock",
        )
    namespaces: list[str] = []
    for key, value in parse_qsl(query, keep_blank_values=True, separator="&"):
        if key != "namespace":
            raise InvalidArgument(
                f"{key[:40]!r} means nothing behind a socket's path",
                advice="only ?namespace=NAME is known, or ?namespace=NAME,NAME",
            )
        namespaces += value.split(",")
    if "" in namespaces:
        raise InvalidArgument(
            "behind ?namespace= a name is missing",
            advice="name one, or leave ?namespace= out: then all of them are meant",
        )
    return unquote(path, errors="surrogateescape"), tuple(namespaces)


def _daemon(path: str, namespaces: tuple[str, ...], *, read_only: bool) -> Store:
    from contentui.stores.containerd.store import ContainerdStore

    return ContainerdStore(path, namespaces=namespaces or None, read_only=read_only)


def content_root(directory: str) -> str:
    """The content inside, where ``directory`` is a containerd's root; else itself."""
    from contentui.stores.local.ownership import CONTAINERD_CONTENT

    inside = os.path.join(directory, CONTAINERD_CONTENT)
    return inside if os.path.isdir(inside) else directory
