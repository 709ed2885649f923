"""TLS in both directions: the service shows a certificate, and asks every client for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.text import visible

if TYPE_CHECKING:
    import grpc

_MOST = 1 << 20
"""Bytes that a file of certificates may have."""


class TlsFiles(NamedTuple):
    """Paths of PEM files."""

    certificate: str
    """The service's, with those between it and its authority."""
    key: str
    client_authority: str
    """Certificates of those who sign for clients."""


def server_credentials(paths: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that accept only clients with a certificate of our authority.

    Raises:
        InvalidArgument: a file isn't what it should be.
        FailedPrecondition: a file can't be read.
    """
    import grpc

    certificate, key, authority = map(_read, paths)
    _check(paths)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise FailedPrecondition(f"{visible(path)} can't be read: {error.strerror}") from None
    if len(data) > _MOST:
        raise InvalidArgument(f"{visible(path)} is too long for a PEM file")
    return data


def _check(paths: TlsFiles) -> None:
    """Ask OpenSSL: the transport would only say that no handshake succeeds."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(paths.certificate, paths.key, password=_refuse_to_ask)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidArgument(
            f"{visible(paths.certificate)} and {visible(paths.key)} are no certificate and its "
            f"key: {error}",
            advice="both are PEM files, and the key has no passphrase",
        ) from None
    try:
        context.load_verify_locations(paths.client_authority)
    except ssl.SSLError as error:
        raise InvalidArgument(
            f"{visible(paths.client_authority)} has no certificates of an authority: {error}",
            advice="it is a PEM file",
        ) from None


def _refuse_to_ask() -> str:
    raise ValueError("the key has a passphrase")
