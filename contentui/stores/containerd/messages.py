"""Responses of a daemon as values; one that cannot be decoded raises DataLoss."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from contentui.content.digest import Digest
from contentui.content.errors import DataLoss, InvalidArgument
from contentui.protocol.wire import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def decoded(decode: Callable[[bytes], T], message: bytes, name: str) -> T:
    """``message`` through ``decode``, which raises DecodeError or Malformed; ``name``: the call.

    Raises:
        DataLoss: the message cannot be decoded.
    """
    try:
        return decode(message)
    except (DecodeError, Malformed) as error:
        raise DataLoss(f"the response to {name} cannot be decoded: {error}") from None


def digest_or_none(text: str) -> Digest | None:
    """A digest that a daemon sent; None if it is not valid."""
    try:
        return Digest.parse(text)
    except InvalidArgument:
        return None
