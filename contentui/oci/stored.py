"""Images' blobs in a store: their sizes, and manifests and indexes as typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.errors import FailedPrecondition, NotFound
from contentui.content.helpers import verified_chunks
from contentui.oci.documents import MAX_MANIFEST_SIZE, parse_manifest

if TYPE_CHECKING:
    from contentui.content.digest import Digest
    from contentui.content.store import Store
    from contentui.oci.documents import Manifest

SMALL_BLOB = 1 << 20
"""Bytes up to which transfers and imports hold a blob in memory and `put` it without an ingest."""


def size_of(store: Store, digest: Digest) -> int | None:
    """The size of a blob in bytes; None when it is not in the store."""
    try:
        return store.info(digest).size
    except NotFound:
        return None


def read_document(store: Store, digest: Digest) -> bytes:
    """The verified bytes of a manifest, index or config.

    Raises:
        NotFound: it is not in the store.
        FailedPrecondition: it is larger than `MAX_MANIFEST_SIZE`.
        DataLoss: it is damaged.
    """
    size = store.info(digest).size
    if size > MAX_MANIFEST_SIZE:
        raise FailedPrecondition(
            f"{digest} is too large for a manifest: {size} bytes, of at most {MAX_MANIFEST_SIZE}"
        )
    return b"".join(verified_chunks(store, digest))


def read_manifest(store: Store, digest: Digest, media_type: str = "") -> tuple[bytes, Manifest]:
    """A manifest or index: its bytes, and what they mean. Raises as `read_document`.

    Raises:
        FailedPrecondition: also when it is not a valid manifest (`parse_manifest`).
    """
    data = read_document(store, digest)
    return data, parse_manifest(data, media_type)
