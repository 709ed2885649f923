"""The digest that an ingest's writer wants, as other processes see it."""

from __future__ import annotations

import pytest

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

WANTED = Digest.of(b"content")
OTHER = Digest.of(b"other")


@pytest.mark.parametrize("ref", ["upload-1", f"layer-{WANTED}", f"layer-{OTHER}"])
def test_it_is_told_whether_or_not_the_ref_names_it(tmp_path, ref):
    store = LocalStore(str(tmp_path))
    with store.writer(ref, expected=WANTED):
        assert LocalStore(str(tmp_path)).status(ref).expected == WANTED


def test_a_ref_alone_is_no_declaration(tmp_path):
    store = LocalStore(str(tmp_path))
    with store.writer(f"layer-{WANTED}"):
        assert store.status(f"layer-{WANTED}").expected is None


def test_the_latest_session_decides_what_is_told(tmp_path):
    store = LocalStore(str(tmp_path))
    ref = f"layer-{WANTED}"
    store.writer(ref, expected=OTHER).close()
    assert store.status(ref).expected == OTHER
    store.writer(ref, expected=WANTED).close()
    assert store.status(ref).expected == WANTED


def test_an_earlier_sessions_wish_binds_no_later_one(tmp_path):
    store = LocalStore(str(tmp_path))
    store.writer("r", expected=OTHER).close()
    with store.writer("r") as writer:
        writer.write(b"content")
        assert writer.commit().digest == WANTED
