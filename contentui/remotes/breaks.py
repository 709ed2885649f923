"""What broke a request or its answer, in words; what can be tried again, and what can't."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

from contentui.remotes.errors import Interrupted, Refused
from contentui.text import visible


def without_query(url: str) -> str:
    """A URL without what may be secret in it: its query, where signatures stand, and a password."""
    scheme, mark, rest = url.partition("?")[0].partition("#")[0].partition("://")
    if not mark:
        return scheme
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def host_of(url: str) -> str:
    """Host and port of a URL; empty when it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def broken(error: Exception, host: str, waited_s: float, via: str = "") -> Interrupted | Refused:
    """The error to raise for what the standard library raised.

    Args:
        error: an OSError, HTTPException or ValueError.
        host: who was asked; hostile text.
        waited_s: how long nothing came, for a TimeoutError.
        via: the proxy between; hostile text, empty when there is none.
    """
    shown = visible(host) + (f" through the proxy {visible(via)}" if via else "")
    refused = _refused(error, host, shown)
    return refused or Interrupted(_words(error, shown, waited_s), host=host)


def _refused(error: Exception, host: str, shown: str) -> Refused | None:
    """What stays as it is however often it is tried."""
    import ssl

    words = advice = ""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"{shown} is not trusted: {visible(error.verify_message, 200)}"
        advice = "give its authority with --tls-ca, or in a directory under --hosts-dir"
    elif isinstance(error, ssl.SSLError) and error.reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
    ):
        words = f"{shown} doesn't speak TLS"
        advice = "if it is meant to speak plain HTTP, say --plain-http"
    elif isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in (error.reason or ""):
        words = f"{shown} wants to see a certificate of ours"
        advice = "give it with --tls-cert and --tls-key"
    elif isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        words = f"{shown} can't be found: {error.strerror}"
        advice = "look at the name of the host"
    return Refused(words, host=host, status=0, advice=advice) if words else None


def _words(error: Exception, shown: str, waited_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing useful came from {shown} for {waited_s:g}s"
    if isinstance(error, http.client.RemoteDisconnected):
        return f"{shown} ended the connection without an answer"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"connection reset by {shown}"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused by {shown}"
    if isinstance(error, http.client.IncompleteRead):
        return f"{shown} ended the connection in the middle of its answer"
    if isinstance(error, http.client.HTTPException):
        said = visible(str(error), 100) or type(error).__name__
        return f"{shown} answers with something that isn't HTTP: {said}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return f"the answer of {shown} ended in the middle"
    return f"the connection to {shown} broke: {visible(str(error), 200)}"
