"""What every verb gets: the chosen store, opened when it is needed, and standard output."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contentui.cli.output import Output
    from contentui.content.store import Store
    from contentui.stores.source import Source

DEFAULT = ".content"
"""The store without ``--store`` and ``$CONTENTUI_STORE``; an empty variable counts as unset."""


class Context(NamedTuple):
    """The command line around a verb."""

    named: str | None
    """The source that ``--store`` names; None: the default."""
    read_only: bool
    argv: tuple[str, ...]
    """The whole command line after the program's name."""
    out: Output
    opened: list[Store]
    """What was opened so far, to be closed when the verb has ended."""

    @property
    def source(self) -> Source:
        """The chosen store, which need not exist."""
        from contentui.stores.source import parse

        return parse(self.named or os.environ.get("CONTENTUI_STORE") or DEFAULT)

    @property
    def found(self) -> Source | None:
        """The source; None when none was named and the default does not exist."""
        if self.named or os.environ.get("CONTENTUI_STORE") or os.path.isdir(DEFAULT):
            return self.source
        return None

    def store(self, *, create: bool = False) -> Store:
        """The store. Raises NotFound when it isn't there, unless it may be created."""
        from contentui.stores.open import open_store

        store = open_store(self.source, read_only=self.read_only, create=create)
        self.opened.append(store)
        return store

    def close(self) -> None:
        """Let go of what was opened; a daemon hears of it."""
        from contentui.content.errors import ContentError

        for store in self.opened:
            with suppress(ContentError, OSError):
                store.close()
