"""The values that a store hands out. Times are integer nanoseconds since 1970, 0 when unknown.

Named tuples and not dataclasses: a listing makes 100,000 of them, and importing dataclasses
would cost a plain verb more than the verb itself.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import InvalidArgument
from contentui.content.holder import Holder as Holder  # noqa: TC001 - re-exported

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from contentui.content.digest import Digest


class IngestId(str):
    """The name of an ingest's directory: for a sound one, the hex SHA-256 of its ref's bytes.

    Every method with a ref argument accepts an `IngestId` too, and finds the ingest whose ref is
    missing, garbled or can't be typed.
    """

    __slots__ = ()


def ref_bytes(ref: str) -> bytes:
    """A ref's exact bytes. Refs are text in which undecodable bytes stand as surrogates.

    Raises:
        InvalidArgument: other surrogates, which stand for no bytes.
    """
    try:
        return ref.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"ref contains an unpaired surrogate: {ref[:160]!r}",
            advice="name the ingest with valid text",
        ) from None


def ingest_id(ref: str) -> IngestId:
    """The id of the ingest of ``ref`` (``ingestRoot`` in containerd ``plugins/content/local``)."""
    if isinstance(ref, IngestId):
        return ref
    return IngestId(hashlib.sha256(ref_bytes(ref)).hexdigest())


def backend_ref(namespace: str, ref: str) -> str:
    """The ref that a containerd's metadata store makes of a client's ref.

    See containerd ``core/metadata/content.go``.

    Without a namespace the ref itself.
    """
    return f"{namespace}/1/{ref}" if namespace else ref


def split_backend_ref(ref: str) -> tuple[str, str]:
    """The namespace and the client's ref in a containerd's backend ref.

    An empty namespace and the ref as it is where it isn't one.
    """
    namespace, _, rest = ref.partition("/")
    number, slash, client = rest.partition("/")
    numbered = number.isascii() and number.isdigit()  # 1 in every current release
    if not slash or not numbered or not is_namespace(namespace):
        return "", ref
    return namespace, client


def is_namespace(name: str) -> bool:
    """Whether containerd accepts ``name`` as a namespace (``pkg/identifiers``)."""
    parts = name.replace("_", ".").replace("-", ".").split(".")
    return len(name) <= 76 and name.isascii() and all(part.isalnum() for part in parts)


def ref_is_text(ref: str) -> bool:
    """Whether a ref is valid UTF-8, so that text formats can carry it."""
    try:
        ref.encode()
    except UnicodeEncodeError:
        return False
    return True


def ref_argument(status: Status) -> str:
    """How to name an ingest on a command line: its ref, or ``id:HEX`` where that can't be typed."""
    ref = status.ref
    if (
        not ref
        or ref.startswith(("id:", "-"))
        or not ref.isprintable()
        or ingest_id(backend_ref(status.namespace, ref)) != status.id
    ):
        return "id:" + id_text(status.id)
    return ref


def id_text(ingest: IngestId) -> str:
    """An id that can be typed: as it is, or percent-encoded for a directory with a foreign name."""
    if ingest.isascii() and ingest.isalnum():
        return str(ingest)
    from urllib.parse import quote

    return quote(ingest.encode("utf-8", "surrogateescape"), safe="._-")


def parse_ref_argument(argument: str) -> str:
    """The ref, or the `IngestId` behind ``id:``, that an argument names."""
    if not argument.startswith("id:"):
        return argument
    from urllib.parse import unquote_to_bytes

    return IngestId(unquote_to_bytes(argument[3:]).decode("utf-8", "surrogateescape"))


class Descriptor(NamedTuple):
    """A pointer to content inside an OCI document."""

    media_type: str
    digest: Digest
    size: int
    """Bytes."""


class Info(NamedTuple):
    """A blob."""

    digest: Digest
    size: int
    """Bytes."""
    committed_ns: int
    """When it was committed."""
    updated_ns: int
    """When its labels changed last."""
    labels: Mapping[str, str] | None
    """None: unknown (not the same as none, ``{}``). Those of all its namespaces together."""
    namespaces: tuple[str, ...] = ()
    """Those in which the blob is known, sorted; empty where the store has none."""


class Status(NamedTuple):
    """An ingest."""

    ref: str
    """Empty when the ref itself is lost: see ``damage``."""
    offset: int
    """Bytes received so far."""
    total: int
    """Expected size in bytes; 0 if unknown."""
    started_ns: int
    updated_ns: int
    """When bytes last arrived, or the ingest was last opened or closed."""
    expected: Digest | None
    """The digest that its writer expects; None if unknown."""
    id: IngestId
    damage: str = ""
    """What is wrong with the ingest's files; empty for a sound one."""
    refused: Digest | None = None
    """The digest of these very bytes, when it was found to be the wrong one: a poisoned ingest."""
    namespace: str = ""
    """The one in which the ref lives; empty where the store has none."""

    @property
    def is_complete(self) -> bool:
        """Whether all declared bytes, or more, are there."""
        return 0 < self.total <= self.offset


class Liveness(StrEnum):
    """Whether a live writer holds a ref."""

    HELD = "held"
    FREE = "free"
    UNKNOWN = "unknown"


class Probe(NamedTuple):
    """The result of `Probing.probe`."""

    status: Status
    """The ingest as it is now; ``refused`` is set when all bytes are there and are wrong ones."""
    liveness: Liveness
    """HELD or FREE."""
    holder: Holder | None = None
    """Who holds it, as far as known; ``since_ns`` is the start of that."""
    digest: Digest | None = None
    """The digest of the bytes so far; None while it is held."""


class Root(NamedTuple):
    """Something beside the blobs themselves that keeps a blob."""

    by: str
    """What it is: ``image`` or ``lease``."""
    name: str
    """Hostile text."""
    digest: Digest
    """The blob that it keeps, and with it all that this one points at."""
    namespace: str = ""


class Lease(NamedTuple):
    """What a client of a daemon keeps from garbage collection for a while."""

    id: str
    """Hostile text."""
    labels: Mapping[str, str]
    created_ns: int
    expires_ns: int
    """0: never, or unknown."""
    blobs: tuple[Digest, ...] = ()
    ingests: tuple[str, ...] = ()
    """Their refs; hostile texts."""
    others: int = 0
    """How many other resources it keeps: snapshots, images."""
    namespace: str = ""


class Image(NamedTuple):
    """A name for content."""

    name: str
    """As references are written: ``docker.io/library/redis:7.4``; hostile text."""
    target: Descriptor
    labels: Mapping[str, str]
    created_ns: int
    updated_ns: int
    namespace: str = ""


class Usage(NamedTuple):
    """Space on the file system that holds a store, in bytes."""

    total: int
    free: int
    """Free for this user."""

    @classmethod
    def of(cls, found: os.statvfs_result) -> Usage:
        """From the answer of ``statvfs(3)``."""
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
