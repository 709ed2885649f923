"""The one place that knows all kinds of stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from contentui.content.store import Store


def open_store(source: str, *, read_only: bool = False, create: bool = False) -> Store:
    """Open what ``source`` names: a directory, or a containerd's root with its content inside.

    ``create``: a missing directory is made once something is stored.

    Raises:
        InvalidArgument: a kind of source that isn't known.
        NotFound, PermissionDenied, FailedPrecondition: as `LocalStore`.
    """
    if "://" in source:
        raise InvalidArgument(
            f"{source.partition('://')[0][:20]}:// is not a kind of store this version can open",
            advice="name a directory",
        )
    if not source:
        raise InvalidArgument("the store's name is empty", advice="name a directory with --store")
    from contentui.stores.local.store import LocalStore

    return LocalStore(content_root(source), create=create, read_only=read_only)


def content_root(directory: str) -> str:
    """The content inside, where ``directory`` is a containerd's root; else itself."""
    from contentui.stores.local.ownership import CONTAINERD_CONTENT

    inside = os.path.join(directory, CONTAINERD_CONTENT)
    return inside if os.path.isdir(inside) else directory
