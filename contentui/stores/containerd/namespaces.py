"""The namespaces that a store shows, and the one that it writes to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument
from contentui.content.model import is_namespace
from contentui.protocol import names
from contentui.protocol import namespaces_pb2 as pb
from contentui.stores.containerd.messages import decoded
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REFRESH_S = 5.0
"""Seconds for which a list of namespaces is used."""
EMPTY_S = 0.5
"""Seconds for which an empty list is used: the first namespace comes with the first content."""
MAX_NAMESPACES = 1000


class Namespaces:
    """The namespaces that were chosen, else all that the daemon has."""

    def __init__(self, chosen: Sequence[str] | None, unary: Callable[[str, bytes], bytes]) -> None:
        """Raises InvalidArgument for an invalid name."""
        for name in chosen or ():
            if not is_namespace(name):
                raise InvalidArgument(
                    f"{name[:80]!r} is not a valid namespace",
                    advice="use a name that 'ctr namespaces ls' lists: ?namespace=k8s.io",
                )
        self._chosen = tuple(sorted(set(chosen or ())))
        self._unary = unary
        self._found: tuple[str, ...] = ()
        self._at = float("-inf")
        self.flat = False

    def forget(self) -> None:
        """List them again at the next call, because another daemon may respond."""
        self._at = float("-inf")

    def all(self) -> tuple[str, ...]:
        """Sorted; an empty name for a server without namespaces."""
        if self.flat:
            return ("",)
        if self._chosen:
            return self._chosen
        now = time.monotonic()
        if now - self._at > (REFRESH_S if self._found else EMPTY_S):
            self._found = self._listed()
            self._at = now
        return self._found

    def for_writing(self) -> str:
        """The namespace for new content.

        Raises:
            InvalidArgument: there is not exactly one.
        """
        found = self.all()
        if len(found) == 1:
            return found[0]
        shown = f"several namespaces ({', '.join(found[:5])})" if found else "no namespaces yet"
        raise InvalidArgument(
            f"no namespace to write to was given, and this containerd has {shown}",
            advice="choose one: --store 'unix:///PATH?namespace=default'",
        )

    def _listed(self) -> tuple[str, ...]:
        message = self._unary(names.method(names.NAMESPACES, "List"), b"")
        response = decoded(pb.ListNamespacesResponse.FromString, message, "Namespaces/List")
        valid = sorted({each.name for each in response.namespaces if is_namespace(each.name)})
        return tuple(valid[:MAX_NAMESPACES])


def ambiguous(what: str, found: Sequence[str]) -> InvalidArgument:
    """The error for something that exists in several namespaces."""
    shown = ", ".join(found[:5])
    return InvalidArgument(
        f"{visible(what[:160])} exists in several namespaces ({shown})",
        advice=f"choose one: --store 'unix:///PATH?namespace={found[0]}'",
    )
