"""A completion script for your shell, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.exits import Exit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context

EXAMPLES = """
  contentui completion bash > ~/.local/share/bash-completion/completions/contentui
  contentui completion zsh > ~/.zfunc/_contentui
  contentui completion tcsh >> ~/.tcshrc
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def run(args: Namespace, context: Context) -> int:
    """Print the script."""
    import shtab

    from contentui.cli.parser import full_parser

    script = shtab.complete(full_parser(), shell=args.shell)
    context.out.lines((script.rstrip("\n"),))
    return Exit.DONE
