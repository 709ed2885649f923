"""Write one object of a registry to standard output: a manifest by tag, or any blob by digest.

The bytes are compared with the digest: the exit code is 0 only if they match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.exits import Exit
from contentui.cli.output import print_note
from contentui.cli.registries import add_registry, settings_of
from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable

    from contentui.cli.context import Context

EXAMPLES = """
  contentui fetch-object docker.io/library/redis 7.4 | jq .
  contentui fetch-object docker.io/library/redis sha256:84ff92... | tar -tz
  contentui fetch-object ghcr.io/team/web v2 mediatype:application/vnd.oci.image.manifest.v1+json
"""

_HINT = "mediatype:"


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("remote", metavar="REMOTE", help="a repository: docker.io/library/redis")
    parser.add_argument("object", metavar="OBJECT", help="a tag or a digest")
    parser.add_argument(
        "hints", metavar="HINT", nargs="*", help="mediatype:TYPE: the object's media type"
    )
    add_registry(parser)


def run(args: Namespace, context: Context) -> int:
    """Fetch it."""
    from contentui.cli.signals import interruptible
    from contentui.oci.references import parse_reference
    from contentui.remotes.registry import Registry
    from contentui.transfers.objects import stream_object

    media_type = _media_type(args.hints)
    mark = "@" if ":" in args.object else ":"
    reference = parse_reference(f"{args.remote}{mark}{args.object}")
    with interruptible(), Registry(reference, settings_of(args)) as registry:
        if reference.digest is None:
            descriptor = registry.resolve(media_type)
            context.out.write(registry.manifest(descriptor))
        else:
            descriptor = registry.describe(Digest.parse(args.object), media_type)
            stream_object(registry, descriptor, context.out.write, print_note)
    context.out.flush()
    return Exit.DONE


def _media_type(hints: Iterable[str]) -> str:
    found = ""
    for hint in hints:
        if not hint.startswith(_HINT):
            raise InvalidArgument(f"unknown hint {hint!r}", advice="write mediatype:TYPE")
        found = hint.removeprefix(_HINT)
        if not found.isascii() or not found.isprintable() or " " in found:
            raise InvalidArgument(f"{found!r} is not a media type")
    return found
