"""A refreshed status is the one that a listing reads, whatever another writer has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

A, B = Digest.of(b"a"), Digest.of(b"b")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.mark.parametrize("written", [b"", b"1234"], ids=["empty", "written"])
@pytest.mark.parametrize("ref", ["ref", f"layer-{A}"])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"total": 9}),
        ({"total": 9}, {"total": 11}),
        ({}, {"expected": A}),
        ({"expected": A}, {"expected": B}),
        ({"total": 9, "expected": B}, {"total": 9}),
    ],
    ids=str,
)
def test_what_a_resuming_writer_learns_is_refreshed(store, ref, written, first, then):
    with store.writer(ref, **first) as writer:
        writer.write(written)
    (seen,) = store.statuses()
    with store.writer(ref, **then):
        assert store.refresh([seen]) == store.statuses()
