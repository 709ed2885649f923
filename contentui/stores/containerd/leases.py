"""A daemon's leases: listing them with all that they keep, and deleting them.

Source of the rules: containerd's ``docs/garbage-collection.md`` and ``core/metadata/leases.go``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from contentui.content.errors import NotFound, ResourceExhausted
from contentui.content.model import Lease
from contentui.content.rules import GC_EXPIRE
from contentui.protocol import leases_pb2 as pb
from contentui.protocol import names
from contentui.protocol.times import to_ns
from contentui.stores.containerd.messages import digest_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from contentui.stores.containerd.client import Client

MAX_LEASES = 10_000
"""Leases of one namespace whose resources are listed, with one call each."""


class ContainerdLeases:
    """See `contentui.content.roles.Leasing`."""

    def __init__(self, client: Client, refuse: Callable[[str], None]) -> None:
        """``refuse``: raises ReadOnly if the store is read-only."""
        self._client = client
        self._refuse = refuse

    def list_leases(self) -> list[Lease]:
        """All leases of all namespaces, the oldest first.

        Raises:
            ResourceExhausted: more than `MAX_LEASES` in one namespace.
            Unimplemented: a server without Leases.
        """
        namespaces = self._client.namespaces.all()
        found = [lease for namespace in namespaces for lease in self.list_in(namespace)]
        return sorted(found, key=lambda lease: (lease.created_ns, lease.namespace, lease.id))

    def delete_lease(self, lease: Lease) -> None:
        """Raises NotFound."""
        self._refuse("cannot delete a lease")
        request = pb.DeleteRequest(id=lease.id).SerializeToString()
        self._client.call(names.LEASES, "Delete", request, lease.namespace)

    def list_in(self, namespace: str) -> Iterator[Lease]:
        """Those of one namespace. Raises as `list_leases`."""
        response = self._client.request(
            names.LEASES, "List", pb.ListRequest(), pb.ListResponse, namespace
        )
        if len(response.leases) > MAX_LEASES:
            raise ResourceExhausted(
                f"the daemon has more than {MAX_LEASES:,} leases in {namespace}",
                advice="'ctr leases rm' removes leases that nobody needs",
            )
        for each in response.leases:
            request = pb.ListResourcesRequest(id=each.id)
            try:
                kept = self._client.request(
                    names.LEASES, "ListResources", request, pb.ListResourcesResponse, namespace
                )
            except NotFound:  # it has expired meanwhile
                continue
            yield _lease(each, kept, namespace)


def _lease(found: pb.Lease, kept: pb.ListResourcesResponse, namespace: str) -> Lease:
    by_type: dict[str, list[str]] = {"content": [], "ingests": []}
    others = 0
    for resource in kept.resources:
        if resource.type in by_type:
            by_type[resource.type].append(resource.id)
        else:
            others += 1
    labels = dict(found.labels)
    return Lease(
        found.id,
        labels,
        to_ns(found, "created_at"),
        _expires_ns(labels),
        tuple(digest for each in by_type["content"] if (digest := digest_or_none(each))),
        tuple(by_type["ingests"]),
        others,
        namespace,
    )


def _expires_ns(labels: Mapping[str, str]) -> int:
    """The time of the label by which the collector deletes the lease; 0 without one."""
    try:
        return int(datetime.fromisoformat(labels.get(GC_EXPIRE, "")).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return 0
