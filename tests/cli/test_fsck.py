"""``fsck``: what it prints, its exit codes, the question before a repair, the journal."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.stores.local.fsck import Kind

from .test_terminal import on_terminal

ONE = Digest.of(b"1")
STRAY = "blobs/sha256/stray"


@pytest.fixture
def sound(program):
    """A program with a store in which there is nothing to find."""
    program.ok("ingest", "a", "--label", "team=web", stdin=b"1")
    assert program("fsck") == (0, "", "nothing found\n")
    return program


def spoil(program):
    """One finding of each kind that can be repaired without a crash; their names."""
    half = program.root / "ingest" / ingest_id("half")
    half.mkdir(parents=True)
    (half / "data").write_bytes(b"12345")
    put = program.root / ".contentui" / f"put-{'0a' * 16}"
    put.write_bytes(b"left")
    then = time.time() - 3600
    for path in (half / "data", half, put):
        os.utime(path, (then, then))
    (program.root / "blobs/sha256" / ONE.encoded).chmod(0o644)
    return {f"ingest/{half.name}", f".contentui/{put.name}", str(ONE)}


def test_findings_are_printed_and_end_with_3(sound):
    names = spoil(sound)
    ran = sound("fsck")
    assert ran.code == 3
    assert ran.lines[0].split() == ["KIND", "NAME", "PROBLEM", "REPAIR"]
    assert len(ran.lines) == 4
    assert all(any(name in line for line in ran.lines) for name in names)
    assert ran.err == "3 findings, 3 of which can be repaired here\n"
    assert set(sound("fsck", "-q").lines) == names
    records = [json.loads(line) for line in sound("fsck", "--json").lines]
    assert {record["name"] for record in records} == names
    assert {record["kind"] for record in records} == {"ingest-damaged", "leftover", "blob-mode"}
    assert all(record["problem"] and record["repair"] for record in records)


def test_a_check_and_a_dry_run_change_nothing(sound):
    names = spoil(sound)
    for words in (["fsck"], ["fsck", "--repair", "--dry-run"], ["fsck", "--repair", "-n", "-y"]):
        ran = sound(*words, "-q")
        assert (ran.code, set(ran.lines)) == (3, names)


def test_repair_needs_a_yes_where_nobody_can_answer(sound):
    names = spoil(sound)
    ran = sound("fsck", "--repair")
    assert ran.code == 2
    assert "--dry-run" in ran.err
    assert set(sound("fsck", "-q").lines) == names


def test_repair_with_yes_repairs_and_is_in_the_journal(sound):
    names = spoil(sound)
    ran = sound("fsck", "--repair", "--yes")
    assert (ran.code, set(ran.lines), ran.err) == (0, names, "")
    assert sound("fsck") == (0, "", "nothing found\n")
    records = [json.loads(line) for line in sound("journal", "--json").lines]
    assert {record["name"] for record in records} == names
    for record in records:
        assert (record["verb"], record["result"], record["reason"]) == ("repair", "done", "")
        assert record["source"] == ".content"
        assert record["problem"]
    assert "repair" in sound.ok("journal")
    assert sound.ok("get", ONE) == "1"


def test_what_cannot_be_repaired_remains_and_ends_with_3(sound):
    names = spoil(sound)
    (sound.root / STRAY).write_text("mine")
    ran = sound("fsck", "--repair", "--yes")
    assert (ran.code, set(ran.lines)) == (3, names)
    assert STRAY in ran.err
    assert "move it away" in ran.err
    assert sound("fsck", "-q") == (3, f"{STRAY}\n", "")
    ran = sound("fsck", "--repair", "--yes", "--json")  # and nobody is asked about nothing
    assert ran.code == 3
    assert json.loads(ran.out)["repair"] is None


def test_the_outcomes_as_json(sound):
    names = spoil(sound)
    (sound.root / STRAY).write_text("mine")
    records = [json.loads(line) for line in sound("fsck", "--repair", "-y", "--json").lines]
    assert {record["name"]: record["result"] for record in records} == {
        **dict.fromkeys(names, "done"),
        STRAY: "left",
    }


@pytest.mark.parametrize(
    ("answer", "code", "left"), [(b"y\n", 0, 0), (b"\n", 1, 3), (b"n\n", 1, 3)]
)
def test_on_a_terminal_the_plan_is_shown_and_a_question_asked(sound, answer, code, left):
    names = spoil(sound)
    with on_terminal(sound, "fsck", "--repair") as terminal:
        terminal.expect(b"Repair 3 findings? [y/N] ")
        assert all(name.encode() in terminal.seen for name in names)
        assert b"remove the ingest, with 5 bytes" in terminal.seen
        terminal.type(answer)
        assert terminal.end() == code
    assert len(sound("fsck", "-q").lines) == left


def test_what_changed_since_the_question_is_skipped(sound):
    spoil(sound)
    with on_terminal(sound, "fsck", "--repair") as terminal:
        terminal.expect(b"Repair 3 findings? [y/N] ")
        sound.ok("delete", ONE)
        sound.ok("ingest", "half", stdin=b"whole")
        terminal.type(b"y\n")
        assert terminal.end() == 0  # what is gone does not remain
    assert terminal.seen.count(b": skipped: ") == 2
    assert sound("list", "-q").out == f"{Digest.of(b'whole')}\n"


def test_verify_reads_the_blobs(sound):
    sound.damage_blob(ONE)
    (sound.root / "blobs/sha256" / ONE.encoded).chmod(0o444)
    assert sound("fsck").code == 0
    ran = sound("fsck", "--verify")
    assert ran.code == 3
    assert "blob-altered" in ran.out
    assert f"contentui delete {ONE}" in ran.out


@pytest.mark.parametrize("words", [["--dry-run"], ["-y"], ["-q", "--json"], ["extra"]])
def test_nonsense_is_a_usage_error(sound, words):
    assert sound("fsck", *words).code == 2


def test_a_read_only_store_is_checked_and_not_repaired(sound):
    names = spoil(sound)
    assert set(sound("--read-only", "fsck", "-q").lines) == names
    ran = sound("--read-only", "fsck", "--repair", "--yes")
    assert ran.code == 1
    assert "--read-only" in ran.err
    content = sound.folder / "node/io.containerd.content.v1.content"
    shutil.copytree(sound.root, content, copy_function=shutil.copy2)
    database = sound.folder / "node/io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir()
    database.touch()
    assert str(ONE) in sound("--store", "node", "fsck", "-q").lines
    ran = sound("--store", "node", "fsck", "--repair", "-y")
    assert ran.code == 1
    assert "contentui adopt" in ran.err


def test_no_store_is_not_found(program):
    assert program("fsck").code == 5
    assert list(program.folder.iterdir()) == []


def test_hostile_names_are_made_visible(sound):
    (sound.root / "blobs/sha256/\x1b]0;title\x07\n").write_text("mine")
    for words in (["fsck"], ["fsck", "-q"], ["fsck", "--json"], ["fsck", "--wide"]):
        ran = sound(*words)
        assert ran.code == 3
        assert "\x1b" not in ran.out + ran.err
        assert len(ran.lines) == 1 + (words[-1] in ("fsck", "--wide"))


def test_what_cannot_be_checked_ends_with_1_unless_something_is_found(sound):
    (sound.root / "ingest").rmdir()
    (sound.root / "ingest").write_text("a file")
    ran = sound("fsck")
    assert ran.code == 1
    assert "unchecked" in ran.out
    (sound.root / STRAY).write_text("mine")
    assert sound("fsck").code == 3


def test_the_documentation_knows_every_kind_and_field(sound):
    spoil(sound)
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "cli.md").read_text()
    for kind in Kind:
        assert f"\n| `{kind}` |" in text, kind
    text = (docs / "json.md").read_text()
    for words in (["fsck"], ["fsck", "--repair", "--yes"]):
        for line in sound(*words, "--json").lines:
            for field in json.loads(line):
                assert f"`{field}`" in text, field


def test_a_store_that_a_group_shares_is_sound(program):
    program.ok("init", "--shared", str(os.getgid()))
    program.ok("ingest", "a", "--label", "k=v", stdin=b"1")
    program.leave_ingest("half", b"12")
    assert program("fsck") == (0, "", "nothing found\n")
    (program.root / ".contentui/locks").chmod(0o600)
    assert program("fsck", "--repair", "--yes") == (0, ".contentui/locks\n", "")
    assert (program.root / ".contentui/locks").stat().st_mode & 0o777 == 0o660
