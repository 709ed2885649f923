"""Opens a directory (see `contentui.stores.open.OPENERS`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.stores.local.ownership import CONTAINERD_CONTENT
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from contentui.stores.source import Source


def open_source(source: Source, *, read_only: bool, create: bool) -> LocalStore:
    """See `contentui.stores.open.Opener`."""
    return LocalStore(content_root(source.path), create=create, read_only=read_only)


def content_root(directory: str) -> str:
    """The content store inside, where ``directory`` is a containerd's root; else itself."""
    inside = os.path.join(directory, CONTAINERD_CONTENT)
    return inside if os.path.isdir(inside) else directory
