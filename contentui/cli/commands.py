"""The table of commands; a command's module is imported when it runs, or when all are listed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context


class Command(NamedTuple):
    """A verb of the command line."""

    module: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The summary, with the command's other names."""
        return f"{self.summary} (also: {', '.join(self.aliases)})" if self.aliases else self.summary


class Verb(Protocol):
    """What each command's module offers."""

    EXAMPLES: str

    def configure(self, parser: ArgumentParser) -> None:
        """Add the verb's own arguments."""

    def run(self, args: Namespace, context: Context) -> int:
        """Do it; returns the exit code. Raises ContentError, OSError, KeyboardInterrupt."""


GROUPS: dict[str, dict[str, Command]] = {
    "the screen": {
        "ui": Command("ui", "the live dashboard (also without a command)"),
        "demo": Command("demo", "the dashboard on a temporary store full of live ingests"),
    },
    "ingests": {
        "ingest": Command("ingest", "store content from a file or standard input, resuming"),
        "active": Command("active", "list the ingests"),
        "status": Command("status", "one ingest in full"),
        "truncate": Command("truncate", "drop an idle ingest's bytes, keep the ingest"),
        "abort": Command("abort", "remove ingests and their bytes"),
    },
    "blobs": {
        "list": Command("list", "list the blobs", ("ls",)),
        "info": Command("info", "one blob in full"),
        "get": Command("get", "write a blob to standard output or a file, verified"),
        "path": Command("path", "where a blob's file is"),
        "label": Command("label", "show, set and remove labels"),
        "verify": Command("verify", "read blobs and compare them with their digests"),
        "delete": Command("delete", "remove blobs", ("rm", "remove", "del")),
    },
    "registries": {
        "pull": Command("pull", "get an image from a registry, resuming, under its name"),
        "push": Command("push", "send an image to a registry"),
        "images": Command("images", "list the images with their sizes; remove names"),
        "leases": Command("leases", "list a daemon's leases and what they keep; delete some"),
        "import": Command("import_", "take images from an OCI layout or a docker archive"),
        "export": Command("export", "write images as an OCI archive, verified"),
        "fetch": Command("fetch", "get an image's content without a name"),
        "fetch-object": Command("fetch_object", "one object of a registry to standard output"),
        "push-object": Command("push_object", "send one blob or manifest to a registry"),
        "login": Command("login", "try a user and a password at a registry, and store them"),
        "logout": Command("logout", "remove the stored credentials of a registry"),
    },
    "around them": {
        "serve": Command("serve", "serve a directory over gRPC, as containerd's content service"),
        "journal": Command("journal", "what was aborted, deleted, repaired and so on from here"),
        "fsck": Command("fsck", "check a directory, and repair what crashes left in it"),
        "init": Command("init", "make a store, also one that a group of users shares"),
        "adopt": Command("adopt", "make a copied directory writable"),
        "completion": Command("completion", "a completion script for your shell"),
    },
}

COMMANDS: dict[str, Command] = {
    name: command for group in GROUPS.values() for name, command in group.items()
}
ALIASES: dict[str, str] = {
    alias: name for name, command in COMMANDS.items() for alias in command.aliases
}
COMMON_NAMES: dict[str, str] = {
    "add": "ingest",
    "blobs": "list",
    "cancel": "abort",
    "cat": "get",
    "check": "fsck",
    "dashboard": "ui",
    "fetch-blob": "fetch-object",
    "image": "images",
    "ingests": "active",
    "inspect": "info",
    "kill": "abort",
    "load": "import",
    "log": "journal",
    "ps": "active",
    "put": "ingest",
    "repair": "fsck",
    "save": "export",
    "show": "info",
    "stat": "status",
}
"""What commands are called in other programs; suggested, never run."""


def load(name: str) -> Verb:
    """The module behind a command's name."""
    return cast("Verb", import_module(f"contentui.cli.verbs.{COMMANDS[name].module}"))
