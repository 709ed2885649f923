"""Run a pull or a push: shown, with a status file, and resumable after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from contentui.cli.exits import Exit
from contentui.cli.output import print_error

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from contentui.cli.context import Context
    from contentui.content.model import Descriptor
    from contentui.transfers.base import Report


class Transferring(Protocol):
    """A `contentui.transfers.pull.Pull` or `contentui.transfers.push.Push`."""

    def run(self) -> Descriptor:
        """Do it; returns the image's descriptor."""


def run_transfer(
    args: Namespace,
    context: Context,
    image: str,
    make: Callable[[Sequence[Report]], Transferring],
    record: Callable[[str, Descriptor], dict[str, Any]],
    *,
    interrupted: str,
) -> int:
    """Run what ``make`` returns and print the image's digest; returns the exit code.

    ``record`` is the result for ``--json``; ``interrupted`` completes the message after a signal.
    """
    from contentui.cli.allocator import keep_freed_memory
    from contentui.cli.progress import mode_for
    from contentui.cli.signals import Signalled, interruptible
    from contentui.cli.transfer_view import TransferView
    from contentui.transfers.status import TransferStatusWriter, status_directory

    keep_freed_memory()
    view = TransferView(mode_for(args.progress, "none" if args.quiet else "plain"))
    with view, TransferStatusWriter(status_directory(context.source)) as status:
        transfer = make((view, status))
        try:
            with interruptible():
                root = transfer.run()
        except Signalled as error:
            signum, root = error.signum, None
    if root is None:
        from contentui.present.shell import shell_line

        again = shell_line(["contentui", *context.argv])
        print_error(f"interrupted: {interrupted}", f"resume with: {again}")
        return 128 + signum
    if args.json:
        from contentui.present.records import json_line

        context.out.line(json_line(record(image, root)))
    else:
        context.out.line(str(root.digest))
    return Exit.DONE
