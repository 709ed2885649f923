"""Everything that a store can refuse, as one tree.

::

    ContentError
    ├── InvalidArgument       the request makes no sense: a bad digest, ref, filter or size
    ├── NotFound              no such blob or ingest
    ├── AlreadyExists         a blob of this digest is there
    ├── Locked                a live writer holds the ref (not Unavailable: it can last)
    ├── FailedPrecondition    size or digest differ, a writer is closed, the store can't do this
    │   ├── Changed           the item is no longer what was shown
    │   └── ReadOnly          this store must not be changed from here
    ├── OutOfRange            an offset beyond the content
    ├── DataLoss              stored bytes do not match their digest or their writer's count
    ├── PermissionDenied      the operating system refuses
    ├── ResourceExhausted     no space, no quota, no descriptors
    └── Unavailable           the store can't be reached now
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contentui.content.holder import Holder


class ContentError(Exception):
    """A refusal, with texts for the user.

    Attributes:
        message: what happened, and to what.
        advice: what to do now; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """The message, also where one was completed by a caller that knows more."""
        return self.message


class InvalidArgument(ContentError):
    """The request makes no sense."""


class NotFound(ContentError):
    """No such blob or ingest."""


class AlreadyExists(ContentError):
    """A blob of this digest is in the store."""


class Locked(ContentError):
    """A live writer holds the ref.

    Attributes:
        holder: who, as far as known; None when only the fact is known.
    """

    def __init__(self, message: str, *, holder: Holder | None = None, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.holder = holder


class FailedPrecondition(ContentError):
    """Size or digest differ, a writer is closed, or the store lacks the ability."""


class Changed(FailedPrecondition):
    """The item is no longer what was shown when the action was chosen."""


class ReadOnly(FailedPrecondition):
    """The store must not be changed from here."""


class OutOfRange(ContentError):
    """An offset lies beyond the content."""


class DataLoss(ContentError):
    """Stored bytes do not match their digest or their writer's count."""


class PermissionDenied(ContentError):
    """The operating system refuses access."""


class ResourceExhausted(ContentError):
    """No space, quota or descriptors left."""


class Unavailable(ContentError):
    """The store can't be reached now."""
