"""How requests to registries fail, and which failures are worth a retry."""

from __future__ import annotations

import http.client
import socket

from contentui.content.errors import ContentError, NotFound, PermissionDenied, Unavailable
from contentui.text import visible

_CERTIFICATE_ADVICE = {
    9: "it is valid from a later time on: check the clock of this machine",
    10: "it has expired: ask who runs the host, and check the clock of this machine",
    62: "it is for other names: check the name of the host",
    64: "it is for other addresses: use the host's name",
}
"""By OpenSSL's verify codes (X509_STORE_CTX_get_error), where another authority doesn't help."""
_TRUST_ADVICE = "name its authority with --tls-ca, or in a directory under --hosts-dir"
CHECK_ACCOUNT = "check the user and the password or token; it may also lack the permission"
LOG_IN = "log in to it with 'contentui login', or use --user"


class RetryableError(Unavailable):
    """A request or its response broke off, or the host is overloaded: a retry may help.

    Attributes:
        host: as ``host:port``; untrusted text.
        status: the response's HTTP status; 0 when there was no response.
        after_s: the host's Retry-After, in seconds; None when it sent none.
        reason: the message without the host, for where there is little room; safe to print.
    """

    def __init__(
        self,
        message: str,
        *,
        host: str,
        status: int = 0,
        after_s: float | None = None,
        reason: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.host = host
        self.status = status
        self.reason = reason or message
        self.after_s = after_s


class Refused(ContentError):
    """The host can't or won't serve the request; the same request fails again.

    Attributes:
        host: as ``host:port``; untrusted text.
        status: the response's HTTP status; 0 when there was no response.
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
    """The credentials are missing or invalid, or don't permit the request."""


class Rejected(Denied):
    """The user or the password is wrong."""


def from_exception(
    error: Exception, host: str, waited_s: float, proxy: str = ""
) -> RetryableError | Refused:
    """The error to raise for one of the standard library.

    Args:
        error: an OSError, HTTPException or ValueError.
        host: the host of the request; untrusted text.
        waited_s: the timeout, for a TimeoutError.
        proxy: the proxy between; untrusted text, empty when there is none.
    """
    shown = visible(host) + (f" through the proxy {visible(proxy)}" if proxy else "")
    refused = _permanent(error, host, shown)
    return refused or _broken(error, host, shown, waited_s)


def _permanent(error: Exception, host: str, shown: str) -> Refused | None:
    """None for what may change with a retry."""
    import ssl

    message = advice = ""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"the certificate of {shown} is not trusted: {visible(error.verify_message, 200)}"
        advice = _CERTIFICATE_ADVICE.get(
            error.verify_code,
            "name its authority with --tls-ca, or in a directory under --hosts-dir",
        )
    elif isinstance(error, ssl.SSLError) and error.reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
    ):
        message = f"{shown} doesn't use TLS"
        advice = "use --plain-http if this is intended"
    elif isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in (error.reason or ""):
        message = f"{shown} requires a client certificate"
        advice = "name it with --tls-cert and --tls-key"
    elif isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        message = f"the host {shown} can't be resolved: {error.strerror}"
        advice = "check the name of the host"
    return Refused(message, host=host, status=0, advice=advice) if message else None


def _broken(error: Exception, host: str, shown: str, waited_s: float) -> RetryableError:
    message, reason = _message(error, shown, waited_s)
    return RetryableError(message, host=host, reason=reason)


def _message(error: Exception, shown: str, waited_s: float) -> tuple[str, str]:
    """The message, and its reason without the host."""
    if isinstance(error, TimeoutError):
        return (
            f"timed out: {shown} sent almost no data for {waited_s:g}s",
            f"almost no data for {waited_s:g}s",
        )
    if isinstance(error, http.client.RemoteDisconnected):
        return f"{shown} closed the connection without a response", "closed without a response"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"connection reset by {shown}", "connection reset"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused by {shown}", "connection refused"
    if isinstance(error, http.client.IncompleteRead):
        return (
            f"{shown} closed the connection in the middle of its response",
            "closed in the middle of its response",
        )
    if isinstance(error, http.client.HTTPException):
        details = visible(str(error), 100) or type(error).__name__
        reason = f"a response that is not valid HTTP: {details}"
        return f"{shown} sent {reason}", reason
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return f"{shown} sent an incomplete response", "an incomplete response"
    details = visible(str(error), 200)
    return f"the connection to {shown} failed: {details}", f"the connection failed: {details}"
