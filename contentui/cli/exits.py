"""How a command ends: the table of exit codes, and which error means which."""

from __future__ import annotations

from enum import IntEnum

from contentui.content import errors


class Exit(IntEnum):
    """What a script can rely on. A signal ends a command with 128 + its number."""

    DONE = 0
    """Everything that was asked for is so; what was so already counts."""
    FAILED = 1
    """Also Unavailable and PermissionDenied: the store could not be read."""
    USAGE = 2
    FINDINGS = 3
    """Stored bytes do not match their digest (``verify``, ``get``), an ingest is poisoned, or
    ``fsck`` found something, or left something after a repair."""
    LOCKED = 4
    """A live writer holds the ref."""
    NOT_FOUND = 5


BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our output has gone, as every other program would end."""

TABLE = """\
exit codes:
  0  done, or it was so already
  1  failed; also: the store can't be reached, or may not be opened
  2  usage: the request makes no sense
  3  findings: stored bytes do not match their digest, or fsck found something
  4  locked: a live writer holds the ref
  5  not found: no such blob, ingest or store
  128+N  ended by signal N (130: Ctrl-C, 141: the reader of the output has gone)
"""


def exit_for(error: BaseException) -> Exit:
    """The exit code for an error of a store or of the operating system."""
    for kind, code in (
        (errors.NotFound, Exit.NOT_FOUND),
        (errors.Locked, Exit.LOCKED),
        (errors.DataLoss, Exit.FINDINGS),
        (errors.InvalidArgument, Exit.USAGE),
        (errors.OutOfRange, Exit.USAGE),
        (FileNotFoundError, Exit.NOT_FOUND),
    ):
        if isinstance(error, kind):
            return code
    return Exit.FAILED
