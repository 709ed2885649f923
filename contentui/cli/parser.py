"""The parsers: a small one that finds the command, and one for the chosen command alone.

Only what runs is built and imported; the whole tree is made for shell completion only.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, NoReturn

from contentui import __version__
from contentui.cli.arguments import FOLDERS, completes
from contentui.cli.commands import ALIASES, COMMANDS, COMMON_NAMES, GROUPS, load
from contentui.cli.exits import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = "A dashboard and a toolbox for container content stores."
_EPILOG = """
examples:
  contentui                                   the dashboard on .content
  contentui demo                              the dashboard with something to see
  contentui ingest layer-1 --from layer.tar   store a file; again after Ctrl-C: resumes
  watch -n0.2 contentui active
  contentui --store unix:///run/containerd/containerd.sock    a node's daemon, live
  contentui list -q | xargs contentui delete  empties the store, without a question

The store is --store, else $CONTENTUI_STORE, else .content in this directory: a directory, or a
socket as unix:///run/containerd/containerd.sock?namespace=k8s.io (without one: all namespaces).
'contentui COMMAND --help' shows a command's options and examples.

"""


def _formatter(prog: str) -> argparse.HelpFormatter:
    """With a width of our own: argparse would import shutil to ask for it, help or not."""
    return argparse.RawDescriptionHelpFormatter(prog, width=min(_columns(), 100) - 2)


def _columns() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size().columns or 80
    except (OSError, ValueError):
        return 80


class Parser(argparse.ArgumentParser):
    """Wraps nothing in help texts, guesses no abbreviations, and complains in one line."""

    def __init__(self, prog: str, description: str, epilog: str, **options: bool) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=_formatter,
            allow_abbrev=False,
            **options,  # type: ignore[arg-type]  # typeshed's overloads take no keywords of one type
        )

    def _print_message(self, message: str, _file: object = None) -> None:
        """Help and version as all other output: argparse would hide a full disk."""
        from contentui.cli.output import Output

        if message:
            Output().write(message.encode("utf-8", "backslashreplace"))

    def error(self, message: str) -> NoReturn:
        """End with the usage code; the message may quote arguments and is escaped."""
        from contentui.cli.output import print_error

        print_error(message, f"see '{self.prog} --help'")
        raise SystemExit(2)


def root_parser() -> Parser:
    """Finds the command: global options, and everything from the command on as ``rest``."""
    parser = Parser("contentui", _DESCRIPTION, _command_list() + _EPILOG + TABLE)
    parser.usage = "contentui [--store SOURCE] [--read-only] [COMMAND] [ARGUMENT...]"
    add_globals(parser, default_too=True)
    parser.add_argument("--version", action="version", version=f"contentui {__version__}")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def verb_parser(name: str) -> Parser:
    """The parser of one command."""
    verb = load(name)
    epilog = f"examples:\n{verb.EXAMPLES.strip(chr(10))}\n" if verb.EXAMPLES else ""
    parser = Parser(f"contentui {name}", (verb.__doc__ or "").strip(), epilog)
    verb.configure(parser)
    add_globals(parser)
    return parser


def full_parser() -> argparse.ArgumentParser:
    """All commands in one tree, for completion scripts."""
    parser = Parser("contentui", _DESCRIPTION, "")
    add_globals(parser, default_too=True)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=argparse.ArgumentParser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, aliases=command.aliases, help=command.summary)
        load(name).configure(sub)
        add_globals(sub)
    return parser


def add_globals(parser: argparse.ArgumentParser, *, default_too: bool = False) -> None:
    """The two options that go before or after the command."""
    group = parser.add_argument_group("the store")
    source = group.add_argument(
        "--store",
        metavar="SOURCE",
        default=None if default_too else argparse.SUPPRESS,
        help="a directory, or unix:///run/containerd/containerd.sock?namespace=k8s.io"
        " (default: $CONTENTUI_STORE, else .content)",
    )
    completes(source, FOLDERS)
    group.add_argument(
        "--read-only",
        action="store_true",
        default=False if default_too else argparse.SUPPRESS,
        help="refuse everything that would change the store",
    )


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """The command's name and its arguments. Exits with the usage code on nonsense."""
    root = root_parser()
    args = root.parse_args(argv)
    name, *rest = args.rest or ["ui"]
    del args.rest
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        root.error(f"there is no command {name!r}{_suggestion(name, rest)}")
    parser = verb_parser(name)
    rest = _optional_value(rest, "--wait")
    if "--" in rest:  # parse_intermixed_args would read what follows '--' as options
        args = parser.parse_args(rest, args)
    else:
        args = parser.parse_intermixed_args(rest, args)
    if args.store == "":  # a variable of a script that is not set: not the default's store
        parser.error("--store is empty: name a directory or a socket")
    return name, args


def _optional_value(words: list[str], option: str) -> list[str]:
    """``--wait REF`` must not take REF for the time: a bare option gets its ``=`` here."""
    end = words.index("--") if "--" in words else len(words)
    return [f"{word}=" if word == option and i < end else word for i, word in enumerate(words)]


def _suggestion(name: str, rest: Sequence[str]) -> str:
    """The command that ``name`` probably means, as the end of a sentence; may be empty."""
    from difflib import get_close_matches

    word = name.lower().replace("_", "-")
    if word == "content" and rest:  # as in 'ctr content ls'
        return f": leave it out, as in 'contentui {rest[0]}'"
    if word == "help":
        return "; do you mean '--help'?"
    known = (*COMMANDS, *ALIASES)
    started = [command for command in known if len(word) > 1 and command.startswith(word)]
    close = get_close_matches(word, known, n=1)
    found = COMMON_NAMES.get(word) or next(iter(started or close), "")
    return f"; do you mean {found!r}?" if found else ""


def _command_list() -> str:
    lines = []
    for title, commands in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {name:<14}{command.described}" for name, command in commands.items()]
        lines.append("")
    return "\n".join(lines)
