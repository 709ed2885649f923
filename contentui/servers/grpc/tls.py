"""Mutual TLS: the server has a certificate and requires one from every client."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.text import visible

if TYPE_CHECKING:
    import grpc

_MAX_PEM = 1 << 20
"""Bytes of a PEM file at most."""


class TlsFiles(NamedTuple):
    """Paths of PEM files."""

    certificate: str
    """The server's, followed by the intermediate ones."""
    key: str
    client_authority: str
    """The CA certificates that clients' certificates are verified with."""


def server_credentials(paths: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that accept only clients with a certificate of ``client_authority``.

    Raises:
        InvalidArgument: a file is not valid PEM, or certificate and key do not match.
        FailedPrecondition: a file cannot be read.
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
            data = file.read(_MAX_PEM + 1)
    except OSError as error:
        raise FailedPrecondition(f"cannot read {visible(path)}: {error.strerror}") from None
    if len(data) > _MAX_PEM:
        raise InvalidArgument(f"{visible(path)} is longer than {_MAX_PEM} bytes: not a PEM file")
    return data


def _check(paths: TlsFiles) -> None:
    """Check with OpenSSL: gRPC would only fail every handshake."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(paths.certificate, paths.key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidArgument(
            f"{visible(paths.certificate)} and {visible(paths.key)} are not a certificate and its "
            f"private key: {error}",
            advice="give two PEM files, with a key that has no passphrase",
        ) from None
    try:
        context.load_verify_locations(paths.client_authority)
    except ssl.SSLError as error:
        raise InvalidArgument(
            f"{visible(paths.client_authority)} contains no CA certificates: {error}",
            advice="give a PEM file with the certificates of the CA",
        ) from None


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
