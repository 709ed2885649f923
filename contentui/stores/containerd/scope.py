"""The namespaces that a store looks at, and the one in which it writes."""

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
"""Seconds for which a list of namespaces counts as current."""
EMPTY_S = 0.5
"""Seconds for which a daemon counts as having none: its first one comes with the first content."""
MAX_NAMESPACES = 1000


class Scope:
    """Namespaces chosen by a person, or else all that the daemon has."""

    def __init__(self, chosen: Sequence[str] | None, unary: Callable[[str, bytes], bytes]) -> None:
        """Raises InvalidArgument: no namespace's name."""
        for name in chosen or ():
            if not is_namespace(name):
                raise InvalidArgument(
                    f"{name[:80]!r} is not a namespace",
                    advice="name one as 'ctr namespaces ls' shows it: ?namespace=k8s.io",
                )
        self._chosen = tuple(sorted(set(chosen or ())))
        self._unary = unary
        self._found: tuple[str, ...] = ()
        self._at = float("-inf")
        self.flat = False

    def forget(self) -> None:
        """Ask anew: another daemon may answer."""
        self._at = float("-inf")

    def all(self) -> tuple[str, ...]:
        """Sorted; of a flat service the one without a name."""
        if self.flat:
            return ("",)
        if self._chosen:
            return self._chosen
        now = time.monotonic()
        if now - self._at > (REFRESH_S if self._found else EMPTY_S):
            self._found = self._listed()
            self._at = now
        return self._found

    def to_write(self) -> str:
        """The namespace for what has none yet.

        Raises:
            InvalidArgument: there are several, or none.
        """
        found = self.all()
        if len(found) == 1:
            return found[0]
        shown = ", ".join(found[:5]) or "none yet"
        raise InvalidArgument(
            f"a containerd keeps content in namespaces (here: {shown}): which is meant?",
            advice="name one: --store 'unix:///PATH?namespace=default'",
        )

    def _listed(self) -> tuple[str, ...]:
        message = self._unary(names.method(names.NAMESPACES, "List"), b"")
        response = decoded(pb.ListNamespacesResponse.FromString, message, "Namespaces/List")
        valid = sorted({each.name for each in response.namespaces if is_namespace(each.name)})
        return tuple(valid[:MAX_NAMESPACES])


def several(what: str, found: Sequence[str]) -> InvalidArgument:
    """The refusal of something that exists in more than one namespace."""
    shown = ", ".join(found[:5])
    return InvalidArgument(
        f"{visible(what[:160])} exists in several namespaces ({shown}): which is meant?",
        advice=f"name one: --store 'unix:///PATH?namespace={found[0]}'",
    )
