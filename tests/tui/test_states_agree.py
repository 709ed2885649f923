"""Screen, ``active --verdict`` and ``abort --abandoned`` see the same store in the same states."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from running import running

from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition
from contentui.demo.faults import damage, make_old
from contentui.stores.local.store import LocalStore
from contentui.stores.source import parse
from contentui.tui.session import Session

EXPECTED = {
    "free and old": "abandoned",
    "free and fresh": "abandoned",
    "free, no total": "abandoned",
    "held and old": "stalled",
    "held for 12s": "quiet",
    "held and fresh": "moving",
    "whole": "complete",
    "poisoned": "poisoned",
    "damaged": "damaged",
}
SELECTED = {"free and old", "free, no total"}
"""Abandoned, and silent for 30 seconds."""


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with one ingest in each state that two looks can show."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = str(tmp_path / "store")
    with_total = {"total": 10}
    with LocalStore(root, create=True) as made:
        for ref, more in (
            ("free and old", with_total), ("free and fresh", with_total), ("free, no total", {}),
            ("damaged", with_total),
        ):  # fmt: skip
            with made.writer(ref, **more) as writer:
                writer.write(b"12345")
        with made.writer("whole", total=5) as writer:
            writer.write(b"12345")
        with made.writer("poisoned", total=5, expected=Digest.of(b"else")) as writer:
            writer.write(b"12345")
            with pytest.raises(FailedPrecondition):
                writer.commit()
        held = [made.writer(ref, total=1 << 20) for ref in EXPECTED if ref.startswith("held")]
        for writer in held:
            writer.write(b"12345")
        for ref in ("free and old", "free, no total", "held and old", "whole", "poisoned"):
            make_old(root, ref, 100)
        make_old(root, "held for 12s", 12)
        damage(root, "damaged")
        yield root, held[-1]
        for writer in held:
            writer.close()


def verb(where, *words):
    argv = [sys.executable, "-m", "contentui", "--store", where, *words, "--json"]
    return subprocess.run(argv, capture_output=True, check=True).stdout.splitlines()


def named(ref, key):
    return ref or next(name for name in EXPECTED if name == "damaged" and key)


async def test_one_store_one_answer(store):
    where, fresh = store
    async with running(Session(parse(where))) as ui:
        await ui.until(
            lambda: ui.dashboard.store_view and len(ui.dashboard.ingests.shown) == len(EXPECTED)
        )

        def on_screen():
            rows = ui.dashboard.ingests.shown
            return {named(row.status.ref, row.status.id): str(row.state) for row in rows}

        def agrees():
            fresh.write(b"6")
            return on_screen() == EXPECTED

        await ui.until(agrees)
        printed = map(json.loads, verb(where, "active", "--verdict"))
        assert {named(row["ref"], row["id"]): row["verdict"] for row in printed} == EXPECTED
        lines = map(json.loads, verb(where, "abort", "--abandoned", "--dry-run"))
        selected = {line["ref"] for line in lines if line.get("ref")}
        assert selected == SELECTED
        assert selected <= {ref for ref, state in on_screen().items() if state == "abandoned"}
