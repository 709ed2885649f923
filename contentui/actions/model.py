"""What an action would do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import filterfalse
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.model import Image, Lease, Status, ref_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.digest import Digest
    from contentui.content.errors import ContentError
    from contentui.content.model import Holder, Info
    from contentui.index.model import Referrer


class Verb(StrEnum):
    """Everything that destroys or changes."""

    ABORT = "abort"
    TRUNCATE = "truncate"
    DELETE = "delete"
    UNTAG = "untag"
    """Remove the name of an image."""
    RELEASE = "release"
    """Delete a lease."""


class Concern(StrEnum):
    """Why an item asks for more than a plain yes."""

    LIVE_WRITER = "live writer"
    MOVING = "moving"
    HOLDER_UNKNOWN = "holder unknown"
    REFERENCED = "needed"
    REFERRERS_UNKNOWN = "needs unknown"
    COLLECTED = "takes others along"
    """The garbage collector removes other blobs as well, which only this item keeps."""


class Step(NamedTuple):
    """One item of a plan."""

    verb: Verb
    target: Status | Info | Image | Lease
    """The item as it was shown: what it is compared with before anything happens."""
    lost_bytes: int
    """Bytes that will be gone."""
    holder: Holder | None = None
    referrers: tuple[Referrer, ...] | None = ()
    """Who needs the blob after this plan has run; None: unknown."""
    freed_by: tuple[Digest, ...] = ()
    """Blobs that need this one as well, but go in the same plan: it may only go after them."""
    unreferenced: tuple[Info, ...] = ()
    """Blobs to which nothing refers any more once this plan has run, without the item itself.
    The garbage collector of a daemon removes them."""
    ingests: tuple[Status, ...] = ()
    """Ingests that only this lease keeps, which the garbage collector removes as well."""
    bound: str = ""
    """``at least`` or ``at most`` where ``unreferenced`` can't be known exactly."""
    concerns: frozenset[Concern] = frozenset()
    refusal: str = ""
    """Why it will not be done at all; empty when it will."""

    @property
    def name(self) -> str:
        """The ref, ``id:…``, the digest, the image's name or the lease's id; hostile text."""
        if isinstance(self.target, Status):
            return ref_argument(self.target)
        if isinstance(self.target, Image):
            return self.target.name
        if isinstance(self.target, Lease):
            return self.target.id
        return str(self.target.digest)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where the target lives, or is known; empty where a store has none. Hostile text."""
        if isinstance(self.target, Status | Image | Lease):
            return (self.target.namespace,) if self.target.namespace else ()
        return self.target.namespaces


@dataclass(frozen=True, slots=True)
class Plan:
    """What a verb would do to a set of items. Pure data: nothing has happened."""

    verb: Verb
    source: str
    steps: tuple[Step, ...]
    garbage_collected: bool = False
    """Whether a garbage collector frees the space, as in containerd (core/metadata/gc.go): a
    deleted blob's file and what nothing refers to go at its next run."""

    def able(self) -> Iterator[Step]:
        """The steps that are not refused."""
        return filterfalse(attrgetter("refusal"), self.steps)

    @property
    def lost_bytes(self) -> int:
        """Bytes lost by the steps that are not refused."""
        return sum(map(attrgetter("lost_bytes"), self.able()))

    @property
    def bound(self) -> str:
        """``at least``, ``at most`` or ``about`` where `lost_bytes` is not exact."""
        bounds = set(map(attrgetter("bound"), self.able())) - {""}
        if not self.garbage_collected or not bounds:
            return ""
        return bounds.pop() if len(bounds) == 1 else "about"

    @property
    def concerns(self) -> frozenset[Concern]:
        """The concerns of the steps that are not refused."""
        return frozenset().union(*set(map(attrgetter("concerns"), self.able())))


class Result(StrEnum):
    """How a step ended."""

    DONE = "done"
    SKIPPED = "skipped"
    """It changed, moved or vanished since it was shown."""
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step and how it ended."""

    step: Step
    result: Result
    reason: str = ""
    """Why it was not done; empty when it was. May quote names: hostile text."""
    error: ContentError | None = None
