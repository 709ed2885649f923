"""What keeps content from a daemon's collector while we store it, and afterwards."""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError
from contentui.protocol import leases_pb2 as pb
from contentui.protocol import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.stores.containerd.client import Client

EXPIRE = "containerd.io/gc.expire"
"""A lease's label: when it ends by itself."""
ROOT = "containerd.io/gc.root"
"""A blob's label, with any value: it stays, and with it all that it refers to."""
_GC = "containerd.io/gc."
_SOURCE = "containerd.io/distribution.source."
LIFE = timedelta(hours=24)
_RENEW_S = 12 * 3600.0


class Keeping:
    """One lease per namespace for all that this store brings in, made when it is needed.

    It goes when the store is closed, unless an ingest was left unfinished: then it ends by itself
    after `LIFE`, as long as a daemon keeps an ingest that has no lease (content-store.md 6.2).
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._mutex = threading.Lock()
        self._leases: dict[str, tuple[str, float, int]] = {}
        self._needed: set[str] = set()

    def lease(self, namespace: str) -> str:
        """The lease to store under; empty where nothing is collected."""
        if self._client.server.flat:
            return ""
        with self._mutex:
            now, generation = time.monotonic(), self._client.generation
            known = self._leases.get(namespace)
            if known and now - known[1] < _RENEW_S and known[2] == generation:
                return known[0]
            lease = self._made(namespace)
            self._leases[namespace] = lease, now, generation
            return lease

    def forget(self, namespace: str) -> bool:
        """Make another lease next time, since somebody deleted this one; whether there was one."""
        with self._mutex:
            return self._leases.pop(namespace, None) is not None

    def own(self) -> frozenset[str]:
        """The leases that end with this store."""
        with self._mutex:
            return frozenset(lease for lease, _, _ in self._leases.values())

    def unfinished(self, namespace: str) -> None:
        """An ingest in this namespace was left for another session."""
        self._needed.add(namespace)

    def labels(self, given: Mapping[str, str]) -> dict[str, str]:
        """The labels for a new blob: it stays, unless the caller decides what collectors do.

        Content that names its registry is a part of an image, and goes with it.
        """
        if self._client.server.flat or any(key.startswith((_GC, _SOURCE)) for key in given):
            return dict(given)
        return {**given, ROOT: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    def close(self) -> None:
        """Give up leases that keep nothing any more."""
        with self._mutex:
            leases, self._leases = self._leases, {}
        for namespace, (lease, _, generation) in leases.items():
            if namespace in self._needed or generation != self._client.generation:
                continue
            try:
                request = pb.DeleteRequest(id=lease).SerializeToString()
                self._client.call(names.LEASES, "Delete", request, namespace)
            except ContentError:
                continue  # it ends by itself

    def _made(self, namespace: str) -> str:
        end = datetime.now(UTC) + LIFE
        request = pb.CreateRequest(
            id=f"contentui-{secrets.token_hex(8)}",
            labels={EXPIRE: end.strftime("%Y-%m-%dT%H:%M:%SZ")},
        )
        answer = self._client.request(names.LEASES, "Create", request, pb.CreateResponse, namespace)
        return answer.lease.id or request.id
