"""How requests to registries fail: what can be tried again, and what can't."""

from __future__ import annotations

from contentui.content.errors import ContentError, NotFound, PermissionDenied, Unavailable


class Interrupted(Unavailable):
    """A request or its answer broke off, or the host asks for patience: trying again may help.

    Attributes:
        host: who, as ``host:port``; hostile text.
        after_s: how many seconds the host wants to be left alone; None when it didn't say.
    """

    def __init__(
        self, message: str, *, host: str, after_s: float | None = None, advice: str = ""
    ) -> None:
        super().__init__(message, advice=advice)
        self.host = host
        self.after_s = after_s


class Refused(ContentError):
    """The host answered, and its answer is no; the same question gets the same answer.

    Attributes:
        host: who, as ``host:port``; hostile text.
        status: the answer's HTTP status.
        codes: the registry's own error codes, such as ``MANIFEST_UNKNOWN``.
    """

    def __init__(
        self,
        message: str,
        *,
        host: str,
        status: int,
        codes: tuple[str, ...] = (),
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.host = host
        self.status = status
        self.codes = codes


class Missing(Refused, NotFound):
    """The registry doesn't have it."""


class Denied(Refused, PermissionDenied):
    """The registry wants other credentials, or gives these too few rights."""
