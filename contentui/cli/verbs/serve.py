"""Serve a directory over gRPC as containerd's content service."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, FOLDERS, completes, duration
from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.servers.grpc.address import TcpAddress, UnixAddress

EXAMPLES = """
  contentui serve --store /srv/content --listen unix:///run/contentui.sock
  ctr -a /run/contentui.sock content ls
  contentui serve --listen unix:///run/contentui.sock --group admin --read-only
  contentui serve --listen tcp://0.0.0.0:7350 \\
      --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem
  contentui serve --store /srv/content --listen unix:///run/contentui.sock \\
      --for-containerd /var/lib/containerd
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        action="append",
        default=[],
        type=_address,
        help="unix:///PATH or tcp://HOST:PORT; may be given several times",
    )
    _add_access(parser)
    completes(
        parser.add_argument(
            "--for-containerd",
            metavar="ROOT",
            help="bind the directory to the containerd with this root",
        ),
        FOLDERS,
    )
    parser.add_argument(
        "--grace",
        metavar="TIME",
        type=duration,
        default=10.0,
        help="how long running calls may take after SIGTERM or Ctrl-C (default: 10s)",
    )
    parser.add_argument(
        "--silence",
        metavar="TIME",
        type=_silence,
        default=120.0,
        help="disconnect a client that does not respond for this long (default: 2m)",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    group.add_argument(
        "--json", action="store_true", help="print one JSON line when clients can connect"
    )


def _add_access(parser: ArgumentParser) -> None:
    """Add the options that restrict who may connect."""
    group = parser.add_argument_group("who may connect")
    group.add_argument(
        "--mode", type=_mode, help="mode of the sockets, octal (default: 0600; with --group 0660)"
    )
    group.add_argument(
        "--group", metavar="NAME", help="group of the sockets, whose members may connect"
    )
    for name, what in (
        ("--tls-cert", "the server's certificate (PEM)"),
        ("--tls-key", "the certificate's private key (PEM)"),
        ("--tls-client-ca", "the CA that clients' certificates are verified with (PEM)"),
    ):
        completes(group.add_argument(name, metavar="FILE", help=what), FILES)
    group.add_argument(
        "--insecure",
        action="store_true",
        help="TCP without TLS, on loopback only: every user of this machine can connect",
    )


def run(args: Namespace, context: Context) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP."""
    from contentui.cli.serving import serve

    return serve(args, context)


def _address(text: str) -> UnixAddress | TcpAddress:
    from contentui.servers.grpc.address import parse_address

    try:
        return parse_address(text)
    except ContentError as error:
        raise ArgumentTypeError(f"{error.message}: {error.advice}") from None


_MAX_SILENCE_S = 24 * 3600


def _silence(text: str) -> float:
    seconds = duration(text)
    if seconds < 1:
        raise ArgumentTypeError(f"{text!r} is too short: the minimum is 1s")
    if seconds > _MAX_SILENCE_S:
        raise ArgumentTypeError(f"{text!r} is too long: the maximum is 24h")
    return seconds


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ArgumentTypeError(f"{text!r} is not a file mode: write it as 0660")
    return mode
