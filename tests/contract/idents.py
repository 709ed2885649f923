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
