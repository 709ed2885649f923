"""``images --remove``: plan, question, refusal without a terminal, journal; on both store kinds."""

from __future__ import annotations

import json

import pytest

from contentui.cli import destroying
from contentui.cli.context import Context
from contentui.content.model import Descriptor
from contentui.stores.memory import MemoryStore


@pytest.fixture
def named(program):
    """A program whose store has the name ``app:1``; and the blob that it stands for."""
    store = program.store()
    info = store.put(b"content")
    store.images.put("app:1", Descriptor("text/plain", info.digest, info.size))
    store.close()
    return program, info


def test_a_dry_run_prints_the_plan(named):
    program, _ = named
    ran = program("images", "--remove", "app:1", "--dry-run")
    assert ran.lines[0] == "Untag 1 image name in .content: 0 B lost"
    assert "Removes the name and no blob. Nothing else here refers to 1 blob (7 B)" in ran.out
    assert program.ok("images", "-q") == "app:1\n"
    assert program.ok("journal", "--json") == ""


def test_it_is_recorded(named):
    program, info = named
    record = json.loads(program.ok("images", "--remove", "app:1", "--json"))
    assert (record["verb"], record["result"]) == ("untag", "done")
    entry = json.loads(program.ok("journal", "--json"))
    assert (entry["verb"], entry["name"], entry["digest"]) == ("untag", "app:1", info.digest)
    assert (entry["unreferenced"], entry["unreferenced_bytes"]) == ([info.digest], 7)
    assert "untag" in program.ok("journal")
    assert program.ok("list", "-q") == f"{info.digest}\n"


def test_names_that_are_missing_do_not_stop_the_rest(named):
    program, _ = named
    ran = program("images", "--remove", "none", "--remove", "app:1")
    assert (ran.code, ran.lines) == (5, ["app:1"])
    assert "docker.io/library/none" in ran.err


class Collected(MemoryStore):
    @property
    def traits(self):
        return super().traits._replace(garbage_collected=True)


@pytest.fixture
def collected(tmp_path, monkeypatch):
    """A store with a garbage collector, in this process; returns it and how to run the verb."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = Collected("daemon")
    info = store.put(b"content")
    store.images.put("app:1", Descriptor("text/plain", info.digest, info.size))
    monkeypatch.setattr(Context, "store", lambda _self: store)

    def run(*arguments):
        from contentui.cli.main import main

        return main(["images", "--remove", "app:1", *arguments])

    return store, run


def test_a_collected_store_asks(collected, monkeypatch, capsys):
    store, run = collected
    asked = []
    monkeypatch.setattr(
        destroying, "is_confirmed", lambda action, lines, effect: asked.append((action, *lines))
    )
    assert run() == 1
    assert asked[0][:2] == ("untag 1 image name", "Untag 1 image name in daemon: 7 B lost")
    assert "nothing was done" in capsys.readouterr().err
    assert [image.name for image in store.images.list()] == ["app:1"]


def test_a_collected_store_needs_yes_without_a_terminal(collected, capsys):
    store, run = collected
    assert run() == 2
    error = capsys.readouterr().err
    assert "untag 1 image name, 7 B lost: this needs a confirmation, and there is no" in error
    assert store.images.list()
    assert run("--yes") == 0
    assert store.images.list() == []
