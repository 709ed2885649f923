"""Every kind of store, each fresh, for the one suite that all must pass."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

import pytest

from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contentui.content.store import Store


class Opener(Protocol):
    """Opens the test's one store; again, it is another view of the same content."""

    def __call__(self) -> Store: ...


def _memory(_: Path) -> Opener:
    store = MemoryStore()
    return lambda: store


def _local(path: Path) -> Opener:
    try:
        module = importlib.import_module("contentui.stores.local.store")
    except ModuleNotFoundError as error:
        if error.name != "contentui.stores.local.store":
            raise
        pytest.skip("the local store is not there yet")
    root = path / "content"
    root.mkdir()
    return lambda: module.LocalStore(root)


KINDS = {"memory": _memory, "local": _local}


@pytest.fixture(params=sorted(KINDS))
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Open a view of this test's content; all views are closed at the end."""
    opener = KINDS[request.param](tmp_path)
    views: list[Store] = []

    def open_view() -> Store:
        views.append(opener())
        return views[-1]

    yield open_view
    for view in views:
        view.close()


@pytest.fixture
def store(open_again: Opener) -> Store:
    """A new, empty store."""
    return open_again()
