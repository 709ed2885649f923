"""Opens ``unix:///PATH?namespace=a,b`` (see `contentui.stores.open.OPENERS`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.stores.containerd.store import ContainerdStore

if TYPE_CHECKING:
    from contentui.stores.source import Source


def open_source(source: Source, *, read_only: bool, create: bool) -> ContainerdStore:  # noqa: ARG001 - a daemon makes its own store
    """See `contentui.stores.open.Opener`."""
    return ContainerdStore(source.path, namespaces=source.namespaces or None, read_only=read_only)
