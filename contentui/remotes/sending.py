"""Send one request on a connection, and notice an answer that comes before its body was sent.

A server may answer and close without reading the body: a quota, a size limit, an expired token.
Sending then fails, while the answer can still be read. ``Expect: 100-continue`` (RFC 9110, 10.1.1)
asks first, so that a refused body is mostly not sent at all.
"""

from __future__ import annotations

import http.client
import re
import select
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from contentui.remotes.raw_response import RawResponse

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from contentui.remotes.connection import Connection
    from contentui.remotes.settings import Timeouts

    Content = bytes | Iterable[bytes]

EXPECT_FROM = 1 << 20
"""Bytes of a body from which on the host is asked first."""
_CONTINUE_S = 1.0
"""How long its answer to that is waited for."""
_EARLY_S = 1.0
"""How long an answer is waited for after sending failed."""
_SLICE = 256 * 1024
"""Bytes that have the time of one wait to be sent."""
_MAX_INTERIM = 16 * 1024
_FINAL = re.compile(rb"HTTP/1\.\d [2-5]\d\d")
_INTERIM = re.compile(rb"(?s)HTTP/1\.\d 1\d\d.*?\r?\n\r?\n")


def exchange(
    connection: Connection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Content | None,
    timeouts: Timeouts,
) -> RawResponse:
    """Send a request and return the response's head; the connection is connected.

    Raises:
        OSError, HTTPException: the connection broke, or a wait was too long.
    """
    sock = cast("socket.socket", connection.sock)
    connection.body_begun = False
    sock.settimeout(timeouts.stall_s if body else timeouts.head_s)
    whole = True
    first = b""
    try:
        if body is None or isinstance(body, bytes):
            connection.http.request(method, target, body, dict(headers))
        else:
            first, whole = _send_pieces(connection, sock, method, target, headers, body)
    except OSError:
        response = _early_response(connection, sock)
        if response is None:
            raise
        return response
    sock.settimeout(timeouts.answer_s if method in ("PUT", "PATCH") else timeouts.head_s)
    response = _response(connection, first)
    if not whole:
        response.will_close = True
        if response.status < 300:
            raise http.client.HTTPException("it answered before the whole body was sent")
    return response


def _response(connection: Connection, first: bytes) -> RawResponse:
    connection.http.response_class = partial(RawResponse, first=first)  # type: ignore[assignment]
    return cast("RawResponse", connection.http.getresponse())


def _early_response(connection: Connection, sock: socket.socket) -> RawResponse | None:
    """An answer that came before sending failed; None without one, or if it tells no reason."""
    sock.settimeout(_EARLY_S)
    try:
        response = _response(connection, b"")
    except (OSError, http.client.HTTPException):
        return None
    response.will_close = True
    return response if response.status >= 300 else None


def _send_pieces(
    connection: Connection,
    sock: socket.socket,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Iterable[bytes],
) -> tuple[bytes, bool]:
    """Send head and body; returns first bytes of the response, and whether all was sent."""
    wait_s = sock.gettimeout()
    size = int(headers.get("Content-Length", 0))
    asks = connection.may_expect and size >= EXPECT_FROM
    connection.http.request(
        method, target, None, {**headers, **({"Expect": "100-continue"} if asks else {})}
    )
    first = b""
    if asks:
        first, connection.may_expect = _read_interim(sock, _CONTINUE_S)
        sock.settimeout(wait_s)
        if _FINAL.match(first):
            return first, False
    is_plain = connection.origin.scheme == "http"
    answers = select.poll()
    answers.register(sock, select.POLLIN)
    connection.body_begun = True
    for piece in body:
        view = memoryview(piece)
        for at in range(0, len(view), _SLICE):
            connection.http.send(view[at : at + _SLICE])
        # A TLS socket may be readable without an answer: it has records of its own.
        if is_plain and not first and answers.poll(0):
            first, _ = _read_interim(sock, _EARLY_S)
            sock.settimeout(wait_s)
            if _FINAL.match(first):
                return first, False
    return first, True


def _read_interim(sock: socket.socket, wait_s: float) -> tuple[bytes, bool]:
    """What arrives within ``wait_s``, without interim responses (1xx).

    The second: whether anything arrived.
    """
    found, arrived = b"", False
    until_s = time.monotonic() + wait_s
    while len(found) < _MAX_INTERIM and not _FINAL.match(found):
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            break
        sock.settimeout(left_s)
        try:
            piece = sock.recv(4096)
        except TimeoutError:
            break
        if not piece:
            raise ConnectionResetError("closed before the body was sent")
        arrived = True
        found += piece
        rest = _INTERIM.sub(b"", found, count=1)
        if rest != found and not rest:
            return b"", True
        found = rest
    return found, arrived
