"""Responses of which the body is read in time and up to a limit.

A response without success becomes an error (`from_response`).
"""

from __future__ import annotations

import http.client
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from contentui.remotes.error_body import Problem, parse_problem
from contentui.remotes.errors import (
    CHECK_ACCOUNT,
    LOG_IN,
    Denied,
    Missing,
    Refused,
    RetryableError,
    from_exception,
)
from contentui.remotes.urls import host_of, redacted
from contentui.text import visible

if TYPE_CHECKING:
    from typing import Self

    from contentui.remotes.connection import Connection
    from contentui.remotes.settings import Timeouts

_MIN_PER_STALL = 1024
"""Bytes that must arrive in each `Timeouts.stall_s`; fewer are a timeout."""
_PIECE_S = 0.1
"""The longest that `Response.readinto` waits for a full buffer, seconds."""
_DRAINED = 16 * 1024
"""Unread bytes that take less time to read than a new connection takes to make."""
_DRAIN_S = 0.5
_MAX_ERROR_BODY = 64 * 1024
_ERROR_BODY_S = 5.0
_LIMIT = re.compile(r"(?i)quota|exceed|too large|out of space|storage limit|billing|suspended")
_MISSING_ADVICE = {
    "NAME_UNKNOWN": "check the name of the repository",
    "MANIFEST_UNKNOWN": "check the tag or digest, and the name of the repository",
}
_RETRYABLE = (408, 425, 429)


class Pool(Protocol):
    """Where a response's connection comes from, and returns to."""

    def keep(self, connection: Connection) -> None:
        """It is idle, and usable for another request."""

    def discard(self, connection: Connection) -> None:
        """It is not usable any more."""


class Response:
    """A response of which the body is read piece by piece. Close it; it is a context manager."""

    def __init__(self, pool: Pool, url: str, connection: Connection, timeouts: Timeouts) -> None:
        self._pool = pool
        self._stall_s = timeouts.stall_s
        self._connection = connection
        self._response = connection.response
        self._response.source.deadline_s = float("inf")
        self._failure: RetryableError | None = None
        self._waited_s, self._arrived = 0.0, 0
        self.url = url
        """Its own, after redirects; may contain secrets."""
        self.proxy = connection.proxy if connection.forwarding else ""
        """The proxy that may have made the response itself; untrusted text, empty without one."""
        self.redirected = False
        """Whether it is the answer to a redirect to another host."""
        self.with_account = False
        """Whether the request was sent for a user, and not anonymously."""
        self.status: int = self._response.status
        self.headers: http.client.HTTPMessage = self._response.headers
        self.length = self._response.length
        """Content-Length, bytes; None without one."""
        self.received = 0
        """Bytes of the body so far."""

    @property
    def host(self) -> str:
        """The host that sent it; untrusted text."""
        return host_of(self.url)

    def readinto(self, buffer: memoryview) -> int:
        """Read at most as many bytes as fit, fewer when they come slowly; 0 at the end.

        Raises:
            RetryableError: the connection broke or timed out, or the body ended early. The bytes
                before that were returned by earlier calls.
        """
        filled, until_s = 0, time.monotonic() + _PIECE_S
        while filled < len(buffer):
            try:
                size = self._read_some(buffer[filled:])
            except RetryableError as error:
                self._failure = error
                if not filled:
                    raise
                break
            filled += size
            if not size or time.monotonic() >= until_s:
                break
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        if self._failure is not None:
            raise self._failure
        began_s = time.monotonic()
        try:
            self._check_rate()
            size = self._response.readinto_some(buffer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._pool.discard(self._connection)
            raise from_exception(error, self.host, self._stall_s) from None
        self._waited_s += time.monotonic() - began_s
        self._arrived += size
        self.received += size
        if not size and self.length is not None and self.received < self.length:
            self._pool.discard(self._connection)
            raise RetryableError(
                f"{visible(self.host)} ended its response after {self.received} of {self.length}"
                " bytes",
                host=self.host,
                reason=f"ended after {self.received} of {self.length} bytes",
            )
        return size

    def _check_rate(self) -> None:
        """Raises TimeoutError: a byte now and then is not progress."""
        if self._waited_s >= self._stall_s:
            if self._arrived < _MIN_PER_STALL:
                raise TimeoutError
            self._waited_s, self._arrived = 0.0, 0

    def read(self, limit: int) -> bytes:
        """The whole body, of at most ``limit`` bytes.

        Raises:
            Refused: it is longer.
            RetryableError: as `readinto`.
        """
        buffer = bytearray(min(self.length if self.length is not None else limit, limit) + 1)
        view, filled = memoryview(buffer), 0
        while filled < len(buffer) and (size := self.readinto(view[filled:])):
            filled += size
        if filled > limit or (self.length or 0) > limit:
            raise Refused(
                f"the response of {visible(self.host)} exceeds {limit} bytes",
                host=self.host,
                status=self.status,
            )
        return bytes(view[:filled])

    def read_start(self, limit: int) -> bytes:
        """The first ``limit`` bytes of the body, or what came within a few seconds.

        Raises:
            RetryableError: nothing came.
        """
        view = memoryview(bytearray(limit))
        filled, until_s = 0, time.monotonic() + _ERROR_BODY_S
        while filled < limit and time.monotonic() < until_s:
            try:
                size = self.readinto(view[filled:])
            except RetryableError:
                if filled:
                    break
                raise
            if not size:
                break
            filled += size
        return bytes(view[:filled])

    def close(self) -> None:
        """Keep the connection for the next request, or close it when the body was not read."""
        connection, self._connection = self._connection, _CLOSED
        if connection is _CLOSED:
            return
        self._drain(connection)
        if self._response.isclosed() and not self._response.will_close:
            self._pool.keep(connection)
        else:
            self._pool.discard(connection)

    def _drain(self, connection: Connection) -> None:
        """Read the rest of the body if it is short. A 416 may announce bytes that never come."""
        if self._response.isclosed() or self._failure or self.length is None or self.status == 416:
            return
        if self.length - self.received > _DRAINED:
            return
        with suppress(OSError, ValueError, http.client.HTTPException):
            if connection.sock is not None:
                connection.sock.settimeout(_DRAIN_S)
            rest = memoryview(bytearray(_DRAINED))
            until_s = time.monotonic() + _DRAIN_S
            while time.monotonic() < until_s and self._response.readinto_some(rest):
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_CLOSED = cast("Connection", object())


def from_response(response: Response, what: str) -> RetryableError | Refused:
    """The error for a response without success, with the registry's own errors; closes it.

    Args:
        response: one of which the status is no success.
        what: what was requested, as in "denies access to ...": printable text.
    """
    problem = _read_problem(response)
    status, host = response.status, visible(response.host)
    response.close()
    details = f": {problem.text}" if problem.text else ""
    if status in _RETRYABLE or status >= 500:
        by = f" through the proxy {visible(response.proxy, 200)}" if response.proxy else ""
        return RetryableError(
            f"{host}{by} answered {status} {_reason(status)}{details}",
            host=response.host,
            status=status,
            reason=f"{status} {_reason(status)}{details}",
            after_s=retry_after_s(response.headers.get("Retry-After")),
        )
    if status in (401, 403):
        return Denied(
            f"{host} denies access to {what}{details}",
            host=response.host,
            status=status,
            codes=problem.codes,
            advice=_denied_advice(response, problem),
        )
    if status in (404, 410):
        return Missing(
            f"{host} does not have {what}{details}",
            host=response.host,
            status=status,
            codes=problem.codes,
            advice=_MISSING_ADVICE.get(next(iter(problem.codes), ""), ""),
        )
    return Refused(
        f"{host} answered {status} {_reason(status)} to {visible(redacted(response.url), 200)}"
        f"{details}",
        host=response.host,
        status=status,
        codes=problem.codes,
    )


def _read_problem(response: Response) -> Problem:
    # A 416 may announce the length of the whole blob and never send it.
    if response.status == 416:
        return Problem()
    try:
        raw = response.read_start(_MAX_ERROR_BODY)
    except RetryableError:
        return Problem()
    return parse_problem(raw, response.headers.get("Content-Type", ""))


def _denied_advice(response: Response, problem: Problem) -> str:
    """Another account helps where a registry asks for one, and not against a quota or a CDN."""
    if _LIMIT.search(problem.text):
        return "the registry sets this limit: free space there, or ask who runs it"
    if response.status == 401 or problem.codes:
        return CHECK_ACCOUNT if response.with_account else LOG_IN
    return "the host may not serve this address or this client: ask who runs it"


def retry_after_s(value: str | None, now_s: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None: it is not valid."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime

    try:
        at_s = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(at_s - (time.time() if now_s is None else now_s), 0.0)


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
