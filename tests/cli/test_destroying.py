"""``abort``, ``truncate`` and ``delete``: at once, by selection, refused, forced, noted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.demo.content import make_image

ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


@pytest.fixture
def two_blobs(program):
    program.ok("ingest", "a", "--label", "team=web", stdin=b"1")
    program.ok("ingest", "b", stdin=b"2")
    return program


@pytest.fixture
def image(program):
    """An image in the store: its digests, index first."""
    image = make_image(3, (1000, 2000))
    store = program.store()
    for data, labels in image.documents:
        store.put(data, labels=labels)
    from contentui.demo.content import layer_chunks

    for layer in image.layers:
        store.put(b"".join(layer_chunks(layer.seed, layer.size, layer.compression)))
    store.close()
    return image


def test_named_ones_go_at_once_and_errors_do_not_stop_the_rest(program):
    program.leave_ingest("a", b"1")
    program.leave_ingest("c", b"1")
    ran = program("abort", "a", "nope", "c")
    assert ran.lines == ["a", "c"]
    assert ran.code == 5
    assert "no ingest nope" in ran.err
    assert program.ok("active", "-q") == ""


def test_delete_goes_on_after_what_is_not_there(two_blobs):
    missing = Digest.of(b"none")
    ran = two_blobs("delete", ONE, missing, TWO)
    assert sorted(ran.lines) == sorted([ONE, TWO])
    assert ran.code == 5
    assert missing in ran.err


def test_options_may_stand_between_names(program):
    program.leave_ingest("a", b"1")
    program.leave_ingest("b", b"1")
    assert program.ok("abort", "a", "--force", "b") == "a\nb\n"


def test_a_name_that_looks_like_an_option(program):
    program.leave_ingest("-x", b"1")
    program.leave_ingest("--force", b"1")
    assert program("abort", "-x").code == 2
    assert program.ok("abort", "--", "-x", "--force").count("id:") == 2
    assert program.ok("active", "-q") == ""


def test_a_dry_run_prints_the_plan_and_does_nothing(program):
    program.leave_ingest("a", b"12345", total=10)
    text = program.ok("abort", "a", "--dry-run")
    assert "Abort 1 ingest in .content: 5 B lost" in text
    assert "the next attempt starts from zero" in text
    record = json.loads(program.ok("abort", "a", "--dry-run", "--json"))
    assert record["lost_bytes"] == 5
    assert program.ok("active", "-q") == "a\n"


def test_a_live_writer_needs_force(program):
    store = program.store()
    with store.writer("mine") as writer:
        writer.write(b"123")
        ran = program("abort", "mine")
        assert ran.code == 4
        assert "held by a live writer: pid" in ran.err
        assert program("truncate", "mine", "--force").code == 4
        assert store.status("mine").offset == 3
        assert program.ok("abort", "mine", "--force") == "mine\n"
    assert program.ok("active", "-q") == ""


def test_truncate_keeps_the_ingest(program):
    program.leave_ingest("a", b"12345")
    assert program.ok("truncate", "a") == "a\n"
    assert "0 bytes" in program.ok("status", "a")
    assert program("truncate", "nope").code == 5
    assert program("truncate").code == 2


def test_damaged_ingests_go_by_their_id(program):
    program.leave_ingest("torn", b"1")
    named = program.damage_ingest("torn")
    assert program.ok("active", "-q").strip() in {named, "torn"}
    program.ok("abort", named)
    assert program.ok("active", "-q") == ""


def test_abandoned_and_stalled_ones_are_selected_by_silence(program):
    program.leave_ingest("fresh", b"1", total=9)
    program.leave_ingest("old", b"1", total=9, age_s=700)
    program.leave_ingest("older", b"1", total=9, age_s=7000)
    program.leave_ingest("whole", b"1", total=1, age_s=7000)
    plan = program.ok("abort", "--abandoned", "--dry-run")
    assert "Abort 2 ingests" in plan
    assert program.ok("abort", "--stalled-for", "1h", "--match", "ref~=^old", "--yes") == "older\n"
    assert program.ok("abort", "--abandoned", "--yes") == "old\n"
    assert sorted(program("active", "-q").lines) == ["fresh", "whole"]


def test_a_time_in_the_future_is_no_silence(program):
    program.leave_ingest("ahead", b"1", total=9, age_s=-5000)
    ran = program("abort", "--stalled-for", "1s", "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing matches" in ran.err


def test_a_silent_held_one_is_refused_without_force(program):
    store = program.store()
    with store.writer("mine") as writer:
        writer.write(b"1")
        from contentui.demo.faults import make_old

        make_old(str(program.root), "mine", 4000)
        assert program("abort", "--abandoned", "--yes").out == ""
        ran = program("abort", "--stalled-for", "10m", "--yes")
        assert ran.code == 4
        assert program.ok("abort", "--stalled-for", "10m", "--yes", "--force") == "mine\n"


@pytest.mark.parametrize(
    "selection",
    [
        [],
        ["--match", ""],
        ["--match", "ref"],
        ["--match", 'ref~=".*"'],
        ["--match", "ref~=^"],
        ["--match", "ref~=^a", "--match", ""],
        ["--match", "ref~="],
        ["--match", "ref==x", "--match", "ref!=x"],
        ["--stalled-for", "0"],
        ["--stalled-for", "soon"],
        ["a", "--abandoned"],
        [""],
    ],
)
def test_no_selection_and_one_of_everything_are_usage_errors(program, selection):
    program.leave_ingest("a", b"1", age_s=700)
    ran = program("abort", *selection, "--yes")
    assert ran.code == 2, ran
    assert program.ok("active", "-q") == "a\n"


@pytest.mark.parametrize(
    "selection",
    [
        [],
        ["--match", ""],
        ["--match", "digest"],
        ["--match", "digest~=^sha256"],
        ["--match", "labels.a", "--match", "labels.a!=b"],
    ],
)
def test_the_same_for_delete(two_blobs, selection):
    assert two_blobs("delete", *selection, "--yes").code == 2
    assert len(two_blobs("list", "-q").lines) == 2


def test_all_but_one_is_a_selection(two_blobs):
    ran = two_blobs("delete", "--match", f"digest!={ONE}", "--yes")
    assert ran.lines == [TWO]
    assert two_blobs.ok("delete", "--match", "labels.team==web", "--yes") == f"{ONE}\n"


def test_a_selection_asks_and_nobody_can_answer_here(two_blobs):
    ran = two_blobs("delete", "--match", "labels.team==web")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert len(two_blobs("list", "-q").lines) == 2


def test_what_a_manifest_needs_stays(program, image):
    layer = image.layers[0].digest
    ran = program("delete", layer)
    assert ran.code == 1
    assert "it is needed by" in ran.err
    index, manifest, config, *_ = image.digests
    assert program("delete", manifest).code == 1
    assert program.ok("delete", layer, "--force") == f"{layer}\n"
    assert program("delete", index, manifest, config).code == 0


def test_an_emptying_pipeline_frees_what_it_deletes(program, image):
    assert len(program("list", "-q").lines) == 5
    ran = program.shell("contentui list -q | xargs contentui delete")
    assert ran.code == 0, ran
    assert sorted(ran.lines) == sorted(image.digests)
    assert program.ok("list", "-q") == ""


def test_unknown_needs_ask_for_force(program):
    blob = program.root / "blobs" / "sha256"
    blob.mkdir(parents=True)
    (blob / ONE.encoded).write_bytes(b"1")
    ran = program("delete", ONE)
    assert ran.code == 1
    assert "possibly needed" in ran.err
    assert program.ok("delete", ONE, "--force") == f"{ONE}\n"


def test_read_only_refuses(two_blobs):
    two_blobs.leave_ingest("a", b"1")
    for args in (["abort", "a"], ["truncate", "a"], ["delete", ONE], ["label", ONE, "x=y"]):
        ran = two_blobs("--read-only", *args)
        assert ran.code == 1, ran
        assert "read-only" in ran.err
    assert two_blobs("ingest", "new", "--read-only", stdin=b"3").code == 1
    assert len(two_blobs("list", "-q").lines) == 2


def test_the_journal_tells_what_was_done(program):
    program.leave_ingest("a", b"12345")
    program.ok("abort", "a")
    header, row = program("journal").lines
    assert header.split() == ["WHEN", "(UTC)", "WHO", "WHAT", "NAME", "RESULT", "REASON"]
    assert row.split()[-3:] == ["abort", "a", "done"]
    record = json.loads(program.ok("journal", "--json"))
    assert (record["verb"], record["id"]) == ("abort", ingest_id("a"))
    assert (program.folder / "state" / "contentui" / "journal.jsonl").exists()


def test_outcomes_as_json(two_blobs):
    ran = two_blobs("delete", ONE, "--json")
    record = json.loads(ran.out)
    assert (record["digest"], record["result"]) == (ONE, "done")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_gone_is_told_and_noted_when_a_signal_ends_it(program, signum):
    store = program.store()
    digests = [info.digest for info in store.put_many([b"%d" % n for n in range(1500)])]
    store.close()
    ran = program.start("delete", *digests)
    told = ran.stdout.readline().decode()
    ran.send_signal(signum)
    told = (told + ran.stdout.read().decode()).split()
    err = ran.stderr.read().decode()
    ran.wait(60)
    left = program.ok("list", "-q").split()
    noted = (program.folder / "state/contentui/journal.jsonl").read_text().splitlines()
    assert ran.returncode == 128 + signum
    assert 0 < len(left) < 1500
    done = {digest for digest in told if digest not in left}
    assert len(done) == 1500 - len(left)
    assert done <= {json.loads(line)["digest"] for line in noted}
    assert "more of 1500 were not touched" in err


def _has_open(pid: int, name: str) -> bool:
    """Whether the process has a file of this name open: it waits for the lock on it."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if Path(os.readlink(fd)).name == name:
                return True
    return False


def test_a_deletion_that_waits_does_nothing_after_a_signal(program):
    digest = program.ok("ingest", "a", "--label", "k=v", stdin=b"1").strip()
    with open(program.root / ".contentui/naming") as naming:
        fcntl.flock(naming, fcntl.LOCK_EX)
        ran = program.start("delete", digest)
        deadline = time.monotonic() + 30
        while not _has_open(ran.pid, "naming"):
            assert time.monotonic() < deadline
        ran.send_signal(signal.SIGTERM)
        _, err = ran.communicate(timeout=60)
    assert ran.returncode == 128 + signal.SIGTERM
    assert b"it was interrupted" in err
    assert program.ok("list", "-q") == f"{digest}\n"
