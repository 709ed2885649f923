"""The values that a store hands out. Times are integer nanoseconds since 1970, 0 when unknown.

Named tuples and not dataclasses: a listing makes 100,000 of them, and importing dataclasses
would cost a plain verb more than the verb itself.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contentui.content.digest import Digest


class IngestId(str):
    """The name of an ingest's directory: for a sound one, the hex SHA-256 of its ref's bytes.

    Wherever a ref is asked for, an `IngestId` is taken too, and finds the ingest whose ref is
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
        raise InvalidArgument("the ref contains half a character, which has no bytes") from None


def ingest_id(ref: str) -> IngestId:
    """The id under which the ingest of ``ref`` is kept (content-store.md 1)."""
    if isinstance(ref, IngestId):
        return ref
    return IngestId(hashlib.sha256(ref_bytes(ref)).hexdigest())


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
        or ingest_id(ref) != status.id
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
    """None: unknown (not the same as none, ``{}``)."""


class Status(NamedTuple):
    """An ingest."""

    ref: str
    """Empty when the ref itself is lost: see ``damage``."""
    offset: int
    """Bytes received so far."""
    total: int
    """Bytes expected; 0 when nobody said."""
    started_ns: int
    updated_ns: int
    """When bytes last arrived, or the ingest was last opened or closed."""
    expected: Digest | None
    """The digest that its writer wants, when it said so."""
    id: IngestId
    damage: str = ""
    """What is wrong with the ingest's files; empty for a sound one."""
    refused: Digest | None = None
    """The digest of these very bytes, when a commit refused them for it: a poisoned ingest."""


class Holder(NamedTuple):
    """The process whose writer holds a ref."""

    pid: int
    """As the holder sees itself; 0 when it can't be told."""
    started_ns: int
    """When the process started; 0 when unknown."""
    command: str
    """Its command line, hostile text; empty when unknown."""
    since_ns: int
    """When it took the ref; 0 when unknown."""
    foreign: bool = False
    """The pid belongs to another pid namespace (another container): don't look for it here."""


class Liveness(StrEnum):
    """Whether a live writer holds a ref."""

    HELD = "held"
    FREE = "free"
    UNKNOWN = "unknown"


class Usage(NamedTuple):
    """Space on the file system that holds a store, in bytes."""

    total: int
    free: int
    """Free for this user."""
