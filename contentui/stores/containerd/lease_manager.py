"""Leases and labels that protect new content from a daemon's garbage collection.

Source of the rules: containerd's ``docs/garbage-collection.md``.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError
from contentui.content.rules import DISTRIBUTION_SOURCE, GC_EXPIRE, GC_PREFIX, GC_ROOT
from contentui.protocol import leases_pb2 as pb
from contentui.protocol import names
from contentui.stores.procfs import ProcessIdentity, is_proven_dead, process_identity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from contentui.content.digest import Digest
    from contentui.content.model import Lease
    from contentui.stores.containerd.client import Client
    from contentui.stores.containerd.leases import ContainerdLeases

LIFE = timedelta(hours=24)
_RENEW_S = 12 * 3600.0
_IMAGE = "contentui.io/image"
PROCESS_LABELS = (
    "contentui.io/pid",
    "contentui.io/process-started-ticks",
    "contentui.io/boot-id",
    "contentui.io/pid-namespace",
)
"""Labels of a lease: the fields of `ProcessIdentity`."""
_MAX_IMAGE = 1024


class LeaseManager:
    """One lease per namespace for all that this store writes, created when it is needed.

    It is deleted when the store is closed, unless an ingest was left unfinished: then it expires
    after `LIFE`, which is as long as a daemon keeps an ingest without a lease.
    """

    def __init__(self, client: Client, known: ContainerdLeases) -> None:
        """``known``: the leases of the daemon."""
        self._client = client
        self._known = known
        self._mutex = threading.Lock()
        self._leases: dict[str, tuple[str, float, int]] = {}
        self._needed: set[str] = set()
        self._image = ""
        """What a transfer writes; empty: no transfer runs."""

    def begin_transfer(self, image: str) -> None:
        """Leases from now on name this image."""
        self._image = image[:_MAX_IMAGE]

    def end_transfer(self, blobs: Collection[Digest], refs: Collection[str]) -> None:
        """Remove the leases that dead processes left for the image, which is complete now.

        One of another platform, or of what the tag was before, keeps more and stays: the
        collector would remove what such a pull has downloaded.
        """
        image, self._image = self._image, ""
        with self._mutex:
            namespaces = list(self._leases)
        for namespace in namespaces:
            with suppress(ContentError):
                for lease in self._known.list_in(namespace):
                    complete = set(lease.blobs) <= set(blobs) and set(lease.ingests) <= set(refs)
                    if lease.labels.get(_IMAGE) == image and complete and not lease.others:
                        self._delete_dead(lease)

    def _delete_dead(self, lease: Lease) -> None:
        process = _process_of(lease.labels)
        if process is not None and is_proven_dead(process):
            self._delete(lease.id, lease.namespace)

    def _delete(self, lease: str, namespace: str) -> None:
        with suppress(ContentError):  # it expires by itself
            request = pb.DeleteRequest(id=lease).SerializeToString()
            self._client.call(names.LEASES, "Delete", request, namespace)

    def lease(self, namespace: str) -> str:
        """The lease to write with; empty for a server without garbage collection."""
        if self._client.server.flat:
            return ""
        with self._mutex:
            now, generation = time.monotonic(), self._client.generation
            known = self._leases.get(namespace)
            if known and now - known[1] < _RENEW_S and known[2] == generation:
                return known[0]
            lease = self._created(namespace)
            self._leases[namespace] = lease, now, generation
            return lease

    def forget(self, namespace: str) -> bool:
        """Create another lease next time, because this one was deleted; False if there was none."""
        with self._mutex:
            return self._leases.pop(namespace, None) is not None

    def own(self) -> frozenset[str]:
        """The ids of this store's leases."""
        with self._mutex:
            return frozenset(lease for lease, _, _ in self._leases.values())

    def unfinished(self, namespace: str) -> None:
        """Keep this namespace's lease when the store is closed: an ingest was left unfinished."""
        self._needed.add(namespace)

    def labels(self, given: Mapping[str, str]) -> dict[str, str]:
        """The labels for a new blob: ``given``, and `GC_ROOT` if those do not concern collection.

        Content with a label of its registry is part of an image and is kept by that.
        """
        if self._client.server.flat or any(
            key.startswith((GC_PREFIX, DISTRIBUTION_SOURCE)) for key in given
        ):
            return dict(given)
        return {**given, GC_ROOT: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    def close(self) -> None:
        """Delete leases that protect no unfinished ingest."""
        with self._mutex:
            leases, self._leases = self._leases, {}
        for namespace, (lease, _, generation) in leases.items():
            if namespace not in self._needed and generation == self._client.generation:
                self._delete(lease, namespace)

    def _created(self, namespace: str) -> str:
        end = datetime.now(UTC) + LIFE
        request = pb.CreateRequest(
            id=f"contentui-{secrets.token_hex(8)}",
            labels={GC_EXPIRE: end.strftime("%Y-%m-%dT%H:%M:%SZ"), **self._labels()},
        )
        response = self._client.request(
            names.LEASES, "Create", request, pb.CreateResponse, namespace
        )
        return response.lease.id or request.id

    def _labels(self) -> dict[str, str]:
        """Which process writes what, for people and for `end_transfer` of a later one."""
        labels = {_IMAGE: self._image} if self._image else {}
        process = process_identity(os.getpid())
        if process is not None:
            labels |= {key: str(value) for key, value in zip(PROCESS_LABELS, process, strict=True)}
        return labels


def _process_of(labels: Mapping[str, str]) -> ProcessIdentity | None:
    """The process that a lease names; None: none, or not in full. Hostile texts."""
    pid, ticks, boot_id, namespace = (labels.get(key, "")[:64] for key in PROCESS_LABELS)
    try:
        return ProcessIdentity(int(pid), int(ticks), boot_id, int(namespace))
    except ValueError:
        return None
