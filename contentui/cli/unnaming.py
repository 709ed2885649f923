"""Forget names of images: tell what is lost by that, ask where it is much, act, tell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error, print_note
from contentui.content.errors import ContentError, InvalidArgument, NotFound
from contentui.content.helpers import image_names
from contentui.text import human_size, visible

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from typing import Any

    from contentui.cli.context import Context
    from contentui.content.model import Image
    from contentui.content.store import Store


class _Step(NamedTuple):
    image: Image
    own: int
    """Bytes that nothing needs once these names are gone."""

    def words(self, *, collects: bool) -> str:
        image = self.image
        space = f" in {visible(image.namespace)}" if image.namespace else ""
        own = human_size(self.own)
        fate = (
            f"{own} that nothing else named here needs go at the next collection"
            if collects
            else f"its blobs stay, {own} of them needed by no other name"
        )
        return f"{visible(image.name)}{space} ({image.target.digest.short()}): {fate}"

    def record(self) -> dict[str, Any]:
        return {
            "verb": "unname",
            "name": visible(self.image.name),
            "namespace": self.image.namespace or None,
            "digest": self.image.target.digest,
            "own_bytes": self.own,
        }


def remove(args: Namespace, context: Context, store: Store) -> int:
    """Forget the names in ``args.remove``; the code is that of the first that wasn't.

    Raises:
        InvalidArgument: bytes would go, and nobody is there to say yes.
    """
    images, code = _found(store, args.remove)
    steps = [_Step(image, own) for image, own in zip(images, _own(store, images), strict=True)]
    if args.dry_run:
        _show(args, context, steps, collects=store.traits.garbage_collected)
        return code
    lost = sum(step.own for step in steps)
    if store.traits.garbage_collected and lost and not args.yes and not _agreed(steps):
        print_error("nothing was done")
        return Exit.FAILED
    for step in steps:
        try:
            image_names(store).delete(step.image.name, seen=step.image)
        except ContentError as error:
            print_error(error.message, error.advice)
            code = code or exit_for(error)
        else:
            _tell(args, context, step)
    return code


def _found(store: Store, names: Sequence[str]) -> tuple[list[Image], int]:
    """The images of these names, as they are or in full, and the code of the first not there."""
    from contentui.oci.references import parse_reference

    found: dict[tuple[str, str], Image] = {}
    code: int = Exit.DONE
    for name in names:
        try:
            try:
                image = image_names(store).get(name)
            except NotFound:
                image = image_names(store).get(str(parse_reference(name)))
        except ContentError as error:
            print_error(error.message, error.advice)
            code = code or exit_for(error)
        else:
            found[image.namespace, image.name] = image
    return list(found.values()), code


def _own(store: Store, images: Sequence[Image]) -> list[int]:
    """For each image the bytes that only names that go need; what two of them share counts once."""
    from contentui.transfers.sizes import own_sizes

    return own_sizes(store, image_names(store).list(), images)


def _show(args: Namespace, context: Context, steps: Sequence[_Step], *, collects: bool) -> None:
    if args.json:
        from contentui.present.records import json_line

        context.out.lines(json_line(step.record()) for step in steps)
    else:
        context.out.lines(f"forget {step.words(collects=collects)}" for step in steps)


def _agreed(steps: Sequence[_Step]) -> bool:
    """Whether a person at the terminal says yes."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        lost = human_size(sum(step.own for step in steps))
        raise InvalidArgument(
            f"the daemon's collector would take {lost}, and nobody can be asked",
            advice="look at --dry-run, then give --yes",
        )
    for step in steps:
        print_note(step.words(collects=True))
    sys.stderr.write(f"Forget {len(steps)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _tell(args: Namespace, context: Context, step: _Step) -> None:
    if args.json:
        from contentui.present.records import json_line

        context.out.line(json_line({**step.record(), "result": "done"}))
    else:
        context.out.line(visible(step.image.name))
