"""The Leases service. Leases are kept in memory and have no effect on content.

The store has no garbage collection, so nothing needs protection from it. Source of the rules and
texts: containerd's ``core/metadata/leases.go``.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.content.filters import compile_filters
from contentui.content.rules import GC_EXPIRE
from contentui.protocol import names
from contentui.protocol.leases_pb2 import (
    AddResourceRequest,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResourceRequest,
    Lease,
    ListRequest,
    ListResourcesRequest,
    ListResourcesResponse,
    ListResponse,
    Resource,
)
from contentui.protocol.times import timestamp
from contentui.servers.grpc.errors import Code, StatusError
from contentui.servers.grpc.unary import (
    Method,
    already_exists,
    check_labels,
    invalid,
    not_found,
    service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

MAX_LEASES = 1024
MAX_RESOURCES = 16_384
"""Of one lease."""
MAX_BYTES = 8 << 20
"""Of all leases together: ids, labels and resources."""
_MAX_ID = 1024


class _Entry:
    """A lease with its resources."""

    def __init__(self, lease: Lease, expires: float | None) -> None:
        self.lease = lease
        self.expires = expires
        self.resources: dict[tuple[str, str], None] = {}
        self.size = lease.ByteSize()


class Leases:
    """All leases of one server; safe to use from many threads."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """``clock``: wall time in nanoseconds since 1970."""
        self._clock = clock
        self._mutex = threading.Lock()
        self._held: dict[str, _Entry] = {}
        self._size = 0

    def create(self, request: CreateRequest) -> CreateResponse:
        """Create a lease; one without an id gets a random one."""
        name = request.id or f"{self._clock()}-{secrets.token_urlsafe(6)}"
        _check(name, request.labels)
        lease = Lease(id=name, created_at=timestamp(self._clock()), labels=request.labels)
        held = _Entry(lease, expiry(request.labels))
        with self._mutex:
            self._drop_expired()
            if name in self._held:
                raise already_exists("lease", name)
            if len(self._held) >= MAX_LEASES:
                raise _full(f"the limit of {MAX_LEASES} leases is reached")
            self._account(held.size)
            self._held[name] = held
        return CreateResponse(lease=lease)

    def delete(self, request: DeleteRequest) -> None:
        """Delete a lease. ``sync`` has no effect: there is no garbage collection to wait for."""
        with self._mutex:
            self._size -= self._found(request.id).size
            del self._held[request.id]

    def list(self, request: ListRequest) -> ListResponse:
        """The leases that match, sorted by id."""
        matches = compile_filters(request.filters)
        with self._mutex:
            self._drop_expired()
            leases = [self._held[name].lease for name in sorted(self._held)]
        return ListResponse(leases=[lease for lease in leases if matches(_fields(lease))])

    def add_resource(self, request: AddResourceRequest) -> None:
        """Add a blob, an ingest or a snapshot to a lease."""
        with self._mutex:
            held, key = self._found(request.id), _key(request.resource)
            if key in held.resources:
                return
            if len(held.resources) >= MAX_RESOURCES:
                raise _full(f"the limit of {MAX_RESOURCES} resources of a lease is reached")
            self._account(_weight(key))
            held.resources[key] = None
            held.size += _weight(key)

    def delete_resource(self, request: DeleteResourceRequest) -> None:
        """Remove a resource from a lease; one that the lease does not have is ignored."""
        with self._mutex:
            held, key = self._found(request.id), _key(request.resource)
            if key in held.resources:
                del held.resources[key]
                held.size -= _weight(key)
                self._size -= _weight(key)

    def resources(self, request: ListResourcesRequest) -> ListResourcesResponse:
        """The resources of a lease, sorted by type and id."""
        with self._mutex:
            keys = sorted(self._found(request.id).resources)
        found = [Resource(id=name, type=kind) for kind, name in keys]
        return ListResourcesResponse(resources=found)

    def _found(self, name: str) -> _Entry:
        self._drop_expired()
        try:
            return self._held[name]
        except KeyError:
            raise not_found("lease", name) from None

    def _drop_expired(self) -> None:
        now = self._clock() / 1e9
        gone = [name for name, held in self._held.items() if held.expires and held.expires <= now]
        for name in gone:
            self._size -= self._held.pop(name).size

    def _account(self, size: int) -> None:
        if self._size + size > MAX_BYTES:
            raise _full(f"the limit of {MAX_BYTES} bytes for leases is reached")
        self._size += size


def leases_service(leases: Leases) -> grpc.GenericRpcHandler:
    """The service's handlers."""
    return service(
        names.LEASES,
        {
            "Create": Method(CreateRequest, leases.create),
            "Delete": Method(DeleteRequest, leases.delete),
            "List": Method(ListRequest, leases.list),
            "AddResource": Method(AddResourceRequest, leases.add_resource),
            "DeleteResource": Method(DeleteResourceRequest, leases.delete_resource),
            "ListResources": Method(ListResourcesRequest, leases.resources),
        },
    )


def expiry(labels: Mapping[str, str]) -> float | None:
    """Seconds since 1970 at which a lease expires; None without a valid `GC_EXPIRE` label."""
    from datetime import datetime

    try:
        at = datetime.fromisoformat(labels[GC_EXPIRE])
    except (KeyError, ValueError):
        return None
    return None if at.tzinfo is None else at.timestamp()


def _check(name: str, labels: Mapping[str, str]) -> None:
    if len(name) > _MAX_ID:
        raise invalid(f"a lease's id has at most {_MAX_ID} characters, not {len(name)}")
    check_labels(labels)


def _key(resource: Resource) -> tuple[str, str]:
    """Type and id. Raises StatusError for an invalid resource, with containerd's texts."""
    kind, *rest = resource.type.split("/")
    shown = resource.type[:100]
    if kind not in {"content", "ingests", "snapshots"}:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"resource type {shown} not supported yet: not implemented",
        )
    if kind == "snapshots" and len(rest) != 1:
        raise invalid(f"invalid snapshot resource type {shown}")
    if kind != "snapshots" and rest:
        raise invalid(f"invalid resource type {shown}")
    if kind == "content":
        _check_digest(resource.id)
    return resource.type, resource.id


def _check_digest(text: str) -> None:
    try:
        Digest.parse(text)
    except InvalidArgument as error:
        raise invalid(f"invalid content resource id {text[:200]}: {error}") from None


def _weight(key: tuple[str, str]) -> int:
    """Bytes of memory for a resource and its dictionary entry."""
    return len(key[0]) + len(key[1]) + 200


def _full(what: str) -> StatusError:
    return StatusError(Code.RESOURCE_EXHAUSTED, f"{what}: delete some")


def _fields(lease: Lease) -> Callable[[tuple[str, ...]], tuple[str, bool]]:
    """The fields of a lease that filters can select."""

    def field(path: tuple[str, ...]) -> tuple[str, bool]:
        if path[0] == "id":
            return lease.id, True
        key = ".".join(path[1:])
        if path[0] == "labels" and key in lease.labels:
            return lease.labels[key], True
        return "", False

    return field
