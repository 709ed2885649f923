"""Try a user and a password at a registry, and store them where pull and push find them.

They go into the credential helper that docker's configuration names, else into a file that only
this user may read. docker, podman and skopeo use the same files. The password is never an argument:
every process could read it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, add_format, completes
from contentui.cli.exits import Exit
from contentui.cli.output import print_note, write_stderr
from contentui.cli.registries import MAX_SECRET, add_connection, settings_of
from contentui.content.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.remotes.credentials import Stored

EXAMPLES = """
  contentui login registry.example
  contentui login --username me --password-stdin ghcr.io < token
  contentui login --authfile ./auth.json --username me registry.example:5000
"""
_MAX_NAME = 1024


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("host", metavar="HOST", help="the registry: HOST or HOST:PORT")
    parser.add_argument("-u", "--username", metavar="NAME", help="the user (default: a prompt)")
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password or token from standard input (default: a prompt)",
    )
    completes(
        parser.add_argument(
            "--authfile",
            metavar="PATH",
            help="store them in this file (default: $REGISTRY_AUTH_FILE, else docker's helper, else"
            " the file that has credentials of HOST, else docker's config.json)",
        ),
        FILES,
    )
    add_format(parser)
    add_connection(parser)


def run(args: Namespace, context: Context) -> int:
    """Try them, and store them if the registry accepts them."""
    from contentui.remotes.credentials import store
    from contentui.remotes.login import parse_host, try_credentials
    from contentui.remotes.settings import Credentials
    from contentui.text import visible

    host = parse_host(args.host)
    if args.authfile == "":
        raise InvalidArgument("--authfile is empty", advice="name a file, or leave it out")
    settings = settings_of(args)
    username = _username(args, host)
    credentials = Credentials(username, _password(args, username, host))
    tried = try_credentials(host, credentials, settings)
    stored = store(host, credentials, args.authfile or "")
    if args.json:
        from contentui.present.records import json_line, login_record

        context.out.line(json_line(login_record(host, username, stored.place, tried=tried)))
    else:
        context.out.line(
            f"logged in to {host} as {visible(username)}: the password is in {stored.place}"
            f"{'' if stored.place.helper else ', not encrypted'}"
        )
    if not tried:
        print_note(f"{host} asks for no credentials: these were stored without a trial")
    _print_notes(stored, host)
    return Exit.DONE


def _username(args: Namespace, host: str) -> str:
    name = args.username
    if name is None:
        if args.password_stdin:
            raise InvalidArgument("--password-stdin needs --username as well")
        if not sys.stdin or not sys.stdin.isatty():
            raise FailedPrecondition(
                f"no user for {host}", advice="use --username and --password-stdin"
            )
        write_stderr(f"user for {host}: ")
        name = sys.stdin.readline(_MAX_NAME + 1).strip()
    if not name:
        raise InvalidArgument("the user's name is empty")
    if ":" in name or not name.isprintable() or len(name) > _MAX_NAME:
        raise InvalidArgument(
            "the user's name has a colon or a control character, or is too long",
            advice="a password is not part of it: use --password-stdin or the prompt",
        )
    return str(name)


def _password(args: Namespace, username: str, host: str) -> str:
    if args.password_stdin:
        raw = sys.stdin.buffer.read(MAX_SECRET + 1) if sys.stdin else b""
        try:
            password = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise InvalidArgument("the password on standard input is not UTF-8") from None
    else:
        import getpass

        from contentui.text import visible

        if not sys.stdin or not sys.stdin.isatty():
            raise FailedPrecondition(
                f"no password for {visible(username)}", advice="use --password-stdin"
            )
        try:
            password = getpass.getpass(f"password of {visible(username)} for {host}: ")
        except UnicodeDecodeError:
            raise InvalidArgument("the password that was typed is not UTF-8") from None
    if not password or "\0" in password:
        raise InvalidArgument("the password is empty, or has a NUL character")
    if len(password) > MAX_SECRET:
        raise InvalidArgument(f"the password is longer than {MAX_SECRET >> 10} KiB")
    return password


def _print_notes(stored: Stored, host: str) -> None:
    """What else happened to credentials of the host, and whether the new ones are used."""
    import shlex

    for place in stored.removed:
        print_note(f"the older password in {place} was removed: it would have been used instead")
    if stored.shadow is not None:
        command = shlex.join(["contentui", "logout", "--authfile", stored.shadow.file, host])
        print_note(
            f"other credentials for {host} in {stored.shadow} are used before these:"
            f" '{command}' removes them"
        )
    if not stored.found:
        setting = shlex.quote(stored.place.file)
        print_note(f"these are used only with REGISTRY_AUTH_FILE={setting} in the environment")
