"""A daemon's blobs, in all namespaces that are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from contentui.content.errors import InvalidArgument, NotFound, ResourceExhausted
from contentui.content.filters import info_filter
from contentui.content.model import Info
from contentui.content.rules import check_blob_match, checked_labels
from contentui.protocol import content_pb2 as pb
from contentui.protocol import names, wire
from contentui.protocol.times import to_ns
from contentui.stores.containerd.messages import decoded, digest_or_none
from contentui.stores.containerd.namespaces import ambiguous
from contentui.stores.containerd.reader import ContainerdReader
from contentui.stores.containerd.transport import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from contentui.content.digest import Digest
    from contentui.stores.containerd.client import Client

MAX_BLOBS = 5_000_000
"""Blobs and messages in one listing."""
MAX_LISTED = 4 << 30
"""Bytes in one listing: more than 5,000,000 blobs with the usual labels."""


class Blobs:
    """Calls of a daemon's content service for blobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def info(self, digest: Digest) -> Info:
        """Raises NotFound."""
        return _merged(self.each(digest))

    def each(self, digest: Digest) -> list[Info]:
        """The blob in each namespace that has it.

        Raises:
            NotFound: no namespace has it.
        """
        found = []
        for namespace in self._client.namespaces.all():
            try:
                found.append(self._info(digest, namespace))
            except NotFound:
                continue
        if not found:
            raise NotFound(f"content {digest}: not found")
        return found

    def walk(self, filters: Sequence[str]) -> Iterator[Info]:
        """All blobs that any filter matches."""
        matches = info_filter(filters)
        found = self._all()
        return filter(matches, found) if matches else found

    def reader(self, digest: Digest) -> ContainerdReader:
        """Raises NotFound."""
        first = self.each(digest)[0]
        namespace = first.namespaces[0] if first.namespaces else ""
        return ContainerdReader(self._client.connection, Metadata(namespace), digest, first.size)

    def update(self, digest: Digest, labels: Mapping[str, str], mask: Sequence[str]) -> Info:
        """Change labels by field mask; an invalid mask is never sent.

        Raises:
            NotFound, InvalidArgument: as `Store.update`; a blob of several namespaces.
        """
        paths = checked_mask(mask)
        given = checked_labels(labels)
        found = self.each(digest)
        if len(found) > 1:
            raise ambiguous(str(digest), [info.namespaces[0] for info in found])
        namespace = found[0].namespaces[0] if found[0].namespaces else ""
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=given))
        request.update_mask.paths.extend(paths)
        response = self._client.request(
            names.CONTENT, "Update", request, pb.UpdateResponse, namespace
        )
        return _info(response.info, namespace) or found[0]

    def delete(self, digest: Digest, if_match: Info | None) -> None:
        """Delete a blob from all namespaces.

        Raises:
            NotFound, Changed: nothing was deleted.
        """
        found = self.each(digest)
        now = _merged(found)
        check_blob_match(now, if_match)
        request = wire.encode_name(digest.encode())
        for info in found:
            namespace = info.namespaces[0] if info.namespaces else ""
            try:
                self._client.call(names.CONTENT, "Delete", request, namespace)
            except NotFound:
                if len(found) == 1:
                    raise

    def _info(self, digest: Digest, namespace: str) -> Info:
        request = pb.InfoRequest(digest=digest)
        response = self._client.request(names.CONTENT, "Info", request, pb.InfoResponse, namespace)
        info = _info(response.info, namespace)
        if info is None or info.digest != digest:
            raise NotFound(f"content {digest}: the server sent another blob")
        return info

    def _all(self) -> Iterator[Info]:
        namespaces = self._client.namespaces.all()
        if len(namespaces) == 1:
            yield from self._listed(namespaces[0])
            return
        found: dict[Digest, Info] = {}
        for namespace in namespaces:
            for info in self._listed(namespace):
                known = found.get(info.digest)
                found[info.digest] = _merged([known, info]) if known else info
        yield from found.values()

    def _listed(self, namespace: str) -> Iterator[Info]:
        stream = self._client.stream(names.CONTENT, "List", b"", namespace)
        count = size = 0
        try:
            while (message := stream.next()) is not None:
                count, size = count + 1, size + len(message)
                for found in _infos(message):
                    count += 1
                    info = _info(found, namespace)
                    if info is not None:
                        yield info
                if count > MAX_BLOBS or size > MAX_LISTED:
                    raise ResourceExhausted(
                        f"the server lists more than {MAX_BLOBS} blobs or {MAX_LISTED} bytes"
                    )
        finally:
            stream.cancel()


def checked_mask(mask: Sequence[str]) -> Sequence[str]:
    """The paths to send: ``labels`` for an empty mask, which means the same.

    Raises:
        InvalidArgument: a path that is not of labels.
    """
    for path in mask:
        named = path.startswith("labels.") and path != "labels."
        if path != "labels" and not named:
            raise InvalidArgument(f"cannot update {path[:160]!r} field on content info")
    return mask or ("labels",)


def _infos(message: bytes) -> Iterator[pb.Info]:
    try:
        yield from pb.ListContentResponse.FromString(message).info
    except DecodeError:
        yield from _decodable(message)


def _decodable(message: bytes) -> Iterator[pb.Info]:
    """The Infos that can be decoded in a message that cannot be decoded as a whole."""
    for each in decoded(wire.submessages, message, "List"):
        try:
            yield pb.Info.FromString(each)
        except DecodeError:
            continue


def _info(found: pb.Info, namespace: str) -> Info | None:
    digest = digest_or_none(found.digest)
    if digest is None:
        return None
    committed = to_ns(found, "created_at")
    return Info(
        digest,
        max(found.size, 0),
        committed,
        to_ns(found, "updated_at") or committed,
        None if names.LABELS_UNKNOWN in found.labels else dict(found.labels),
        (namespace,) if namespace else (),
    )


def _merged(infos: Sequence[Info]) -> Info:
    """One blob from those of several namespaces; conflicting labels are the first one's.

    Its times are the latest ones, so that they change if a namespace replaces the blob.
    """
    if len(infos) == 1:
        return infos[0]
    labels: dict[str, str] | None = {}
    for info in reversed(infos):
        labels = None if labels is None or info.labels is None else labels | dict(info.labels)
    return infos[0]._replace(
        committed_ns=max(info.committed_ns for info in infos),
        updated_ns=max(info.updated_ns for info in infos),
        labels=labels,
        namespaces=tuple(name for info in infos for name in info.namespaces),
    )
