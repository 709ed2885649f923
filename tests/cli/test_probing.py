"""``verify --ingest``: what a person is told about an ingest's writer and bytes."""

from __future__ import annotations

import json
import os

import pytest

from contentui.content.digest import Digest
from contentui.content.model import ingest_id

WRONG, RIGHT = f"layer-{Digest.of(b'good')}", f"layer-{Digest.of(b'right')}"


@pytest.fixture
def ingests(program):
    program.leave_ingest("half", b"12345", total=10)
    program.leave_ingest(RIGHT, b"right", total=5)
    store = program.store()
    with store.writer(WRONG, total=4, expected=Digest.of(b"good")) as writer:
        writer.write(b"evil")
    store.close()
    return program


def test_a_poisoned_one_is_a_finding_and_shows_so_from_then_on(ingests):
    ran = ingests("verify", "--ingest", WRONG)
    assert ran.code == 3
    assert ran.lines[0] == WRONG
    assert f"wrong digest: {Digest.of(b'evil')}, not {Digest.of(b'good')}" in ran.out
    assert "abort it, then pull or ingest again" in ran.out
    assert "poisoned" in ingests.ok("active", "--match", f'ref=="{WRONG}"')


def test_free_ones_are_told_what_they_are(ingests):
    ran = ingests("verify", "--ingest", "half", "--ingest", RIGHT)
    assert ran.code == 0
    assert "5 B of 10 B are there" in ran.out
    assert "with the expected digest" in ran.out


def test_blobs_are_not_read_unless_they_are_named(ingests):
    digest = ingests.ok("ingest", "blob", stdin=b"blob").strip()
    assert digest not in ingests.ok("verify", "--ingest", "half")
    both = ingests("verify", digest, "--ingest", WRONG)
    assert f"{digest}  ok" in both.out
    assert both.code == 3


def test_json_and_quiet(ingests):
    refs = [word for ref in ("half", RIGHT, WRONG) for word in ("--ingest", ref)]
    records = [json.loads(line) for line in ingests("verify", "--json", *refs).lines]
    assert [record["finding"] for record in records] == ["partial", "right", "poisoned"]
    assert [record["digest"] for record in records][1:] == [Digest.of(b"right"), Digest.of(b"evil")]
    assert records[2]["refused"] == Digest.of(b"evil")
    assert [record["held"] for record in records] == [False, False, False]
    assert ingests("verify", "-q", *refs).lines == [WRONG]


def test_a_held_one_is_told_with_its_holder(program):
    store = program.store()
    with store.writer("mine") as writer:
        writer.write(b"123")
        ran = program("verify", "--ingest", "mine")
        record = json.loads(program("verify", "--ingest", "mine", "--json").out)
    assert ran.code == 4
    assert f"Held by a live writer: pid {os.getpid()}" in ran.out
    assert (record["held"], record["holder"]["pid"]) == (True, os.getpid())


def test_what_is_not_there_is_not_made(program):
    program.leave_ingest("half", b"12345")
    ran = program("verify", "--ingest", "nobody", "--ingest", "half")
    assert ran.code == 5
    assert "half" in ran.out
    assert program.ok("active", "-q") == "half\n"


def test_a_damaged_one_is_told(program):
    program.leave_ingest("torn", b"1")
    named = program.damage_ingest("torn")
    ran = program("verify", "--ingest", named)
    assert ran.code == 1
    assert "its files are damaged" in ran.out
    assert named == f"id:{ingest_id('torn')}"
