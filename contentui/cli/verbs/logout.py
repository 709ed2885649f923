"""Remove the stored credentials of a registry.

They are removed from --authfile, else from the first of the files of podman and docker that has
any, or from the credential helper that it names. Where others remain is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import FILES, add_format, completes
from contentui.cli.exits import Exit
from contentui.cli.output import print_note
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.remotes.credentials import Place

EXAMPLES = """
  contentui logout registry.example
  contentui logout --authfile ./auth.json registry.example:5000
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("host", metavar="HOST", help="the registry: HOST or HOST:PORT")
    completes(
        parser.add_argument(
            "--authfile",
            metavar="PATH",
            help="remove them from this file (default: the first one that has any)",
        ),
        FILES,
    )
    add_format(parser)


def run(args: Namespace, context: Context) -> int:
    """Remove them; that there are none is no failure."""
    from contentui.remotes.credentials import config_files, find_places, remove
    from contentui.remotes.login import parse_host

    host = parse_host(args.host)
    if args.authfile == "":
        raise InvalidArgument("--authfile is empty", advice="name a file, or leave it out")
    removed = remove(host, args.authfile or "")
    remaining = find_places(host, config_files())
    if args.json:
        from contentui.present.records import json_line, logout_record

        context.out.line(json_line(logout_record(host, removed, remaining)))
    elif removed:
        places = ", ".join(dict.fromkeys(map(str, removed)))
        context.out.line(f"logged out of {host}: removed from {places}")
    else:
        where = f" in {args.authfile}" if args.authfile else ""
        print_note(f"there are no credentials for {host}{where}")
    for place in remaining:
        _print_remaining(place, host)
    return Exit.DONE


def _print_remaining(place: Place, host: str) -> None:
    import shlex

    if place.key.startswith(f"{host}/"):
        print_note(f"credentials for {place.key} remain in {place}: edit it to remove them")
        return
    command = shlex.join(["contentui", "logout", "--authfile", place.file, host])
    print_note(f"credentials for {host} remain in {place}: '{command}' removes them")
