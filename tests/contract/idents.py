"""How things are called in a store with namespaces, and by which process its writers are seen."""

from __future__ import annotations

from contentui.content.model import backend_ref, ingest_id


def namespace(store):
    """The store's one namespace; empty where it has none."""
    [name] = getattr(store, "namespaces", [""])
    return name


def ident(store, ref):
    """The id under which the store keeps the ingest of a ref."""
    return ingest_id(backend_ref(namespace(store), ref))


def process_of(holder):
    """The pid that is known of a holder: its own, or that of the daemon that serves it."""
    if holder.daemon is None:
        return holder.pid
    assert (holder.pid, holder.command) == (0, "")
    return holder.daemon.pid
