"""The table of store kinds, and how a store of any kind is opened."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from contentui.content.errors import InvalidArgument
from contentui.stores import source as sources

if TYPE_CHECKING:
    from contentui.content.store import Store
    from contentui.stores.source import Source

OPENERS: dict[str, str] = {
    sources.DIRECTORY: "contentui.stores.local.opener",
    sources.UNIX: "contentui.stores.containerd.opener",
}
"""Per scheme of a source the module that opens it (see `Opener`), imported when it is needed.

A new kind of store is a package with such a module and a line here.
"""


class Opener(Protocol):
    """What the module of a store kind has."""

    def open_source(self, source: Source, *, read_only: bool, create: bool) -> Store:
        """Open the store that ``source`` refers to, which is valid and of the module's scheme.

        ``read_only``: the store must refuse every change. ``create``:
        a store that does not exist is made once something is stored in it.

        Raises:
            NotFound: there is no such store, and ``create`` is false.
            ContentError: it can't be opened.
        """


def open_store(source: Source | str, *, read_only: bool = False, create: bool = False) -> Store:
    """Open what ``source``, or the text of one, refers to; see `Opener.open_source`.

    Raises:
        InvalidArgument: the text is not valid, or its scheme is not in the table.
        NotFound, PermissionDenied, FailedPrecondition: as the directory store.
        Unavailable: no daemon answers on the socket.
    """
    if isinstance(source, str):
        source = sources.parse(source)
    source.check()
    try:
        module = OPENERS[source.scheme]
    except KeyError:
        raise InvalidArgument(
            f"{source.scheme[:20]}:// is not a kind of store this version can open",
            advice="name a directory, or a socket as unix:///PATH",
        ) from None
    opener: Opener = cast("Opener", import_module(module))
    return opener.open_source(source, read_only=read_only, create=create)
