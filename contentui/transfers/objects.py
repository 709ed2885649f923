"""One object of a registry as a stream of bytes: verified at its end, resumed when it breaks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.content.digest import new_hash
from contentui.content.errors import DataLoss
from contentui.remotes.errors import RetryableError
from contentui.remotes.retry import RetryBudget, check_part
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.model import Descriptor
    from contentui.remotes.registry import Registry

_PIECE = 1 << 20


def stream_object(
    registry: Registry,
    descriptor: Descriptor,
    write: Callable[[memoryview], object],
    report: Callable[[str], None],
) -> None:
    """``write`` an object's bytes, in order, each once.

    ``report`` gets a message for each retry.

    Raises:
        DataLoss: the bytes, all written by then, don't have the digest.
        ContentError: as `contentui.remotes.registry.Registry.open`.
    """
    hasher, offset, budget = (
        new_hash(descriptor.digest.algorithm),
        0,
        RetryBudget(registry.attempts),
    )
    buffer = memoryview(bytearray(max(min(_PIECE, descriptor.size), 1)))
    while offset < descriptor.size:
        began = offset
        try:
            with registry.open(descriptor, offset) as body:
                body.skip()
                while size := body.readinto(buffer):
                    hasher.update(buffer[:size])
                    write(buffer[:size])
                    offset += size
            check_part(offset - began, descriptor.size - offset, body.host)
        except RetryableError as error:
            budget.progressed(offset - began)
            pause_s = budget.pause_s(error)
            if pause_s is None:
                error.advice = error.advice or f"{budget.exhausted}: the output is incomplete"
                raise
            report(budget.message(pause_s, error))
            time.sleep(pause_s)
    if hasher.hexdigest() != descriptor.digest.encoded:
        raise DataLoss(
            f"{visible(registry.reference.host)} sent other bytes than {descriptor.digest}",
            advice="don't use what was written: the registry or a proxy alters the content",
        )
