"""Serve a directory over gRPC, as containerd's content service, until it is told to end."""

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
    _add_who(parser)
    completes(
        parser.add_argument(
            "--for-containerd",
            metavar="ROOT",
            help="keep the content of the containerd with this root, and of nobody else",
        ),
        FOLDERS,
    )
    parser.add_argument(
        "--grace",
        metavar="TIME",
        type=duration,
        default=10.0,
        help="how long running calls may go on after SIGTERM or Ctrl-C (default: 10s)",
    )
    parser.add_argument(
        "--silence",
        metavar="TIME",
        type=_silence,
        default=120.0,
        help="cut off a client that answers no ping for so long (default: 2m)",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    group.add_argument(
        "--json", action="store_true", help="one JSON line on standard output once it is ready"
    )


def _add_who(parser: ArgumentParser) -> None:
    """Who may come in."""
    group = parser.add_argument_group("who may connect")
    group.add_argument(
        "--mode", type=_mode, help="of the sockets, octal (default: 0600; with --group 0660)"
    )
    group.add_argument("--group", metavar="NAME", help="whose members may use the sockets too")
    for name, what in (
        ("--tls-cert", "the service's certificate (PEM)"),
        ("--tls-key", "its key"),
        ("--tls-client-ca", "who signs the certificates that clients must have"),
    ):
        completes(group.add_argument(name, metavar="FILE", help=what), FILES)
    group.add_argument(
        "--insecure",
        action="store_true",
        help="tcp without TLS, on loopback only: every user of this machine can use it",
    )


def run(args: Namespace, context: Context) -> int:
    """Serve until a signal."""
    from contentui.cli.serving import serve

    return serve(args, context)


def _address(text: str) -> UnixAddress | TcpAddress:
    from contentui.servers.grpc.address import parse_address

    try:
        return parse_address(text)
    except ContentError as error:
        raise ArgumentTypeError(f"{error.message}: {error.advice}") from None


_LONGEST_S = 24 * 3600


def _silence(text: str) -> float:
    seconds = duration(text)
    if seconds < 1:
        raise ArgumentTypeError(f"{text!r} is too short: a second is the least")
    if seconds > _LONGEST_S:
        raise ArgumentTypeError(f"{text!r} is too long: a day is the most")
    return seconds


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ArgumentTypeError(f"{text!r} is no mode: write it as 0660")
    return mode
