"""What verbs that talk to registries have in common: how to reach them, as whom."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, completes
from contentui.content.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.remotes.registry import Registry
    from contentui.remotes.settings import Credentials, Settings

_HOSTS_DIR = "/etc/containerd/certs.d"
_MAX_SECRET = 64 * 1024


def add_registry(parser: ArgumentParser) -> None:
    """The options of every verb that talks to a registry."""
    group = parser.add_argument_group("registry")
    group.add_argument("--plain-http", action="store_true", help="without TLS")
    group.add_argument(
        "--user",
        metavar="NAME",
        help="as whom; the password comes from $CONTENTUI_PASSWORD, --password-file or a prompt"
        " (default: docker's and podman's stored credentials)",
    )
    for name, help_text in (
        ("--password-file", "a file that holds the password, or - for standard input"),
        ("--tls-ca", "certificates to trust besides the system's"),
        ("--tls-cert", "our certificate"),
        ("--tls-key", "its key"),
    ):
        completes(group.add_argument(name, metavar="FILE", help=help_text), FILES)
    group.add_argument(
        "--skip-verify", action="store_true", help="trust any certificate: for trying only"
    )
    group.add_argument(
        "--hosts-dir",
        metavar="DIR",
        action="append",
        help=f"directories with HOST/hosts.toml: mirrors, certificates (default: {_HOSTS_DIR})",
    )


def settings_of(args: Namespace) -> Settings:
    """What the options say.

    Raises:
        InvalidArgument: options that contradict each other.
        FailedPrecondition: no password where there should be one.
    """
    from contentui.remotes.model import Tls
    from contentui.remotes.settings import Settings

    if bool(args.tls_cert) != bool(args.tls_key):
        raise InvalidArgument("--tls-cert and --tls-key belong together")
    client = ((args.tls_cert, args.tls_key),) if args.tls_cert else ()
    return Settings(
        plain_http=args.plain_http,
        tls=Tls((args.tls_ca,) if args.tls_ca else (), client, args.skip_verify),
        hosts_dirs=tuple(args.hosts_dir or (_HOSTS_DIR,)),
        credentials=_credentials(args),
    )


def registry_for(args: Namespace, name: str) -> Registry:
    """The repository that an image's name belongs to. Raises as `settings_of`."""
    from contentui.oci.references import parse_reference
    from contentui.remotes.registry import Registry

    return Registry(parse_reference(name), settings_of(args))


def _credentials(args: Namespace) -> Credentials | None:
    from contentui.remotes.settings import Credentials

    if not args.user:
        return None
    if ":" in args.user:
        raise InvalidArgument(
            "--user takes a name only: a password there could be read by every process",
            advice="give it in $CONTENTUI_PASSWORD, --password-file, or at the prompt",
        )
    return Credentials(args.user, _password(args))


def _password(args: Namespace) -> str:
    if args.password_file:
        path = "/dev/stdin" if args.password_file == "-" else args.password_file  # noqa: S105
        with open(path, encoding="utf-8") as file:
            return file.read(_MAX_SECRET).rstrip("\r\n")
    if "CONTENTUI_PASSWORD" in os.environ:
        return os.environ["CONTENTUI_PASSWORD"]
    import getpass
    import sys

    if not sys.stdin or not sys.stdin.isatty():
        raise FailedPrecondition(
            f"there is no password for {args.user}",
            advice="give it in $CONTENTUI_PASSWORD or --password-file",
        )
    return getpass.getpass(f"password of {args.user}: ")
