"""Show, set and remove a blob's labels; without changes it prints them, KEY=VALUE a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.arguments import add_format, digest
from contentui.cli.exits import Exit
from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.content.rules import GC_PREFIX

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from contentui.cli.context import Context
    from contentui.content.digest import Digest
    from contentui.content.model import Info
    from contentui.content.store import Store

EXAMPLES = """
  contentui label sha256:e3b0c442...
  contentui label sha256:e3b0c442... containerd.io/gc.root=now
  contentui label sha256:e3b0c442... containerd.io/gc.root=     an empty value removes
"""


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_format(parser)
    parser.add_argument("digest", metavar="DIGEST", type=digest)
    parser.add_argument(
        "changes", metavar="KEY=VALUE", nargs="*", help="set KEY; an empty VALUE removes it"
    )
    parser.add_argument(
        "--replace", action="store_true", help="drop every label that is not given here"
    )


def run(args: Namespace, context: Context) -> int:
    """Change what is asked for, then print all labels."""
    changes = dict(_change(text) for text in args.changes)
    if args.replace and not changes:
        raise InvalidArgument(
            "--replace without labels would erase all of them",
            advice="remove them one by one with KEY=",
        )
    store = context.store()
    if args.replace:
        info = _replace(store, args.digest, {key: v for key, v in changes.items() if v})
    elif changes:
        info = store.update(args.digest, changes, [f"labels.{key}" for key in changes])
    else:
        info = store.info(args.digest)
    _print(args, context, info)
    return Exit.DONE


def _replace(store: Store, name: Digest, labels: dict[str, str]) -> Info:
    """Drop all other labels; where a collector reads them, one by one and not those it keeps by.

    Raises:
        FailedPrecondition: one of them keeps content.
    """
    if not store.traits.garbage_collected:
        return store.update(name, labels)
    there = store.info(name).labels
    if there is None:
        raise FailedPrecondition("its labels are unknown, so they can't be replaced")
    dropped = [key for key in there if key not in labels]
    gc_labels = [key for key in dropped if key.startswith(GC_PREFIX)]
    if gc_labels:
        raise FailedPrecondition(
            f"--replace would drop {gc_labels[0]}, by which the daemon keeps content",
            advice="name it too, or remove it by itself with KEY=",
        )
    return store.update(name, labels, [f"labels.{key}" for key in (*dropped, *labels)])


def _change(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidArgument(
            f"{text!r} is not a change of a label",
            advice="write it as KEY=VALUE, or KEY= to remove",
        )
    return key, value


def _print(args: Namespace, context: Context, info: Info) -> None:
    from contentui.text import visible

    if args.json:
        from contentui.present.records import info_record, json_line

        context.out.line(json_line(info_record(info)))
    elif info.labels is None:
        context.out.line("unknown")
    else:
        context.out.lines(visible(f"{key}={value}") for key, value in sorted(info.labels.items()))
