"""Ingests by the names on the command line; one that doesn't exist is reported and skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.cli.exits import Exit, exit_for
from contentui.cli.output import print_error
from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.model import Status
    from contentui.content.store import Store


def statuses_named(store: Store, refs: Iterable[str]) -> tuple[list[Status], int]:
    """The ingests of these refs, and the code of the first one that isn't there."""
    found: list[Status] = []
    code: int = Exit.DONE
    for ref in dict.fromkeys(refs):
        try:
            found.append(store.status(ref))
        except ContentError as error:
            print_error(error.message, error.advice)
            code = code or exit_for(error)
    return found, code
