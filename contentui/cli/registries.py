"""Options of the verbs that use registries: TLS, credentials, mirrors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, completes, count, wait
from contentui.content.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _ArgumentGroup

    from contentui.remotes.registry import Registry
    from contentui.remotes.settings import Credentials, Settings, Timeouts

_HOSTS_DIR = "/etc/containerd/certs.d"
MAX_SECRET = 64 * 1024
"""Characters of a password."""


def add_registry(parser: ArgumentParser) -> None:
    """Add the options of a verb that uses a registry."""
    group = parser.add_argument_group("registry")
    group.add_argument(
        "--user",
        metavar="NAME",
        help="log in as NAME; the password is $CONTENTUI_PASSWORD, from --password-file or a prompt"
        " (default: the credentials stored by 'contentui login', docker, podman or skopeo)",
    )
    completes(
        group.add_argument(
            "--password-file",
            metavar="FILE",
            help="a file with the password, or - for standard input",
        ),
        FILES,
    )
    _add_connection(group)
    group.add_argument(
        "--retries",
        metavar="N",
        type=count,
        help="how often to try again without progress (default: 5)",
    )


def add_connection(parser: ArgumentParser) -> None:
    """Add the options of a verb that reaches a registry once, with an account of its own."""
    parser.set_defaults(user=None, password_file=None, retries=None)
    _add_connection(parser.add_argument_group("registry"))


def _add_connection(group: _ArgumentGroup) -> None:
    group.add_argument("--plain-http", action="store_true", help="use HTTP without TLS")
    for name, help_text in (
        ("--tls-ca", "certificate authorities to trust besides the system's"),
        ("--tls-cert", "client certificate"),
        ("--tls-key", "key of the client certificate"),
    ):
        completes(group.add_argument(name, metavar="FILE", help=help_text), FILES)
    group.add_argument(
        "--skip-verify", action="store_true", help="accept any certificate: for tests only"
    )
    group.add_argument(
        "--hosts-dir",
        metavar="DIR",
        action="append",
        help="directory with HOST/hosts.toml: mirrors, certificates, time limits"
        f" (default: {_HOSTS_DIR})",
    )
    for name, help_text in (
        ("--connect-timeout", "for a connection (default: 30s)"),
        ("--head-timeout", "for the beginning of a response (default: 1m)"),
        ("--answer-timeout", "for the response to content that was sent (default: 10m)"),
        ("--stall-timeout", "without content (default: 30s)"),
    ):
        group.add_argument(name, metavar="TIME", type=wait, help=f"the longest wait {help_text}")


def settings_of(args: Namespace) -> Settings:
    """The settings of the options.

    Raises:
        InvalidArgument: invalid combination of options.
        FailedPrecondition: --user without a password.
    """
    from contentui.remotes.settings import Settings, Tls

    if bool(args.tls_cert) != bool(args.tls_key):
        raise InvalidArgument("--tls-cert and --tls-key are required together")
    client = ((args.tls_cert, args.tls_key),) if args.tls_cert else ()
    return Settings(
        plain_http=args.plain_http,
        tls=Tls((args.tls_ca,) if args.tls_ca else (), client, args.skip_verify),
        hosts_dirs=tuple(args.hosts_dir or (_HOSTS_DIR,)),
        credentials=_credentials(args),
        timeouts=_timeouts(args),
        attempts=Settings().attempts if args.retries is None else args.retries + 1,
    )


def registry_for(args: Namespace, name: str) -> Registry:
    """The repository of an image's name. Raises InvalidArgument, and as `settings_of`."""
    from contentui.oci.references import parse_reference
    from contentui.remotes.registry import Registry

    return Registry(parse_reference(name), settings_of(args))


def _timeouts(args: Namespace) -> Timeouts:
    from contentui.remotes.settings import Timeouts

    given = {
        "connect_s": args.connect_timeout,
        "head_s": args.head_timeout,
        "answer_s": args.answer_timeout,
        "stall_s": args.stall_timeout,
    }
    return Timeouts()._replace(**{name: value for name, value in given.items() if value})


def _credentials(args: Namespace) -> Credentials | None:
    from contentui.remotes.settings import Credentials

    if not args.user:
        return None
    if ":" in args.user:
        raise InvalidArgument(
            "--user takes only a name: every process could read a password on the command line",
            advice="use $CONTENTUI_PASSWORD, --password-file or the prompt",
        )
    return Credentials(args.user, _password(args))


def _password(args: Namespace) -> str:
    if args.password_file:
        path = "/dev/stdin" if args.password_file == "-" else args.password_file  # noqa: S105
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_SECRET).rstrip("\r\n")
    if "CONTENTUI_PASSWORD" in os.environ:
        return os.environ["CONTENTUI_PASSWORD"]
    import getpass
    import sys

    if not sys.stdin or not sys.stdin.isatty():
        raise FailedPrecondition(
            f"no password for {args.user}",
            advice="use $CONTENTUI_PASSWORD or --password-file",
        )
    try:
        return getpass.getpass(f"password of {args.user}: ")
    except UnicodeDecodeError:
        raise InvalidArgument("the password that was typed is not UTF-8") from None
