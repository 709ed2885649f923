"""The verbs that look: their columns, their words for pipes, their JSON."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.content.model import ingest_id

HELLO = Digest.of(b"hello\n")


def test_list_prints_columns_digests_and_json(program):
    program.ok("ingest", "a", "--label", "team=web", stdin=b"hello\n")
    header, row = program("list").lines
    assert header.split() == ["DIGEST", "SIZE", "AGE", "LABELS"]
    assert row.split()[:3] == [HELLO, "6", "B"]
    assert row.endswith("team=web")
    assert program.ok("list", "-q") == f"{HELLO}\n"
    record = json.loads(program.ok("list", "--json"))
    fields = {"digest", "size_bytes", "committed_at", "updated_at", "labels", "namespaces"}
    assert set(record) == fields
    assert record["digest"] == HELLO
    assert record["size_bytes"] == 6
    assert record["labels"] == {"team": "web"}
    assert record["committed_at"].endswith("Z")


def test_list_matches_with_the_filter_language(program):
    program.ok("ingest", "a", "--label", "team=web", stdin=b"1")
    program.ok("ingest", "b", "--label", "team=db", stdin=b"2")
    assert program.ok("list", "-q", "--match", "labels.team==db") == f"{Digest.of(b'2')}\n"
    both = program("list", "-q", "--match", "labels.team==db", "--match", "labels.team==web")
    assert len(both.lines) == 2
    bad = program("list", "--match", "^x")
    assert bad.code == 2
    assert "parse error" in bad.err


def test_labels_that_can_not_be_read_are_unknown(program):
    blob = program.root / "blobs" / "sha256"
    blob.mkdir(parents=True)
    (blob / HELLO.encoded).write_bytes(b"hello\n")
    assert program("list").lines[1].endswith("unknown")
    assert json.loads(program.ok("list", "--json"))["labels"] is None
    assert "unknown" in program.ok("info", HELLO)


def test_info_shows_everything(program):
    program.ok("ingest", "a", "--label", "k=v", stdin=b"hello\n")
    text = program.ok("info", HELLO)
    assert f"digest     {HELLO}\n" in text
    assert "size       6 bytes\n" in text
    assert "labels     k=v\n" in text
    assert json.loads(program.ok("info", HELLO, "--json"))["size_bytes"] == 6


def test_active_tells_what_is_idle_complete_damaged_and_held(program):
    program.leave_ingest("half", b"12345", total=10, age_s=180)
    program.leave_ingest("whole", b"12345", total=5)
    program.leave_ingest("torn", b"1", age_s=100)
    program.damage_ingest("torn")
    store = program.store()
    with store.writer("mine") as writer:
        writer.write(b"123")
        lines = program("active").lines
        held = json.loads(program.ok("active", "--json", "--match", "ref==mine"))
    assert lines[0].split() == ["REF", "OFFSET", "TOTAL", "AGE", "STATE"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["half"].endswith("idle 3m")
    assert "5 B   10 B" in rows["half"]
    assert rows["whole"].endswith("complete")
    assert "damaged: 'startedat' is garbled" in rows["torn"]
    assert rows["mine"].endswith(f"held by pid {os.getpid()}")
    assert "  ?  " in rows["mine"]
    assert held["held"] is True
    assert held["holder"]["pid"] == os.getpid()
    assert held["total_bytes"] is None


def test_active_json_has_the_documented_fields(program):
    program.leave_ingest("half", b"12345", total=10)
    record = json.loads(program.ok("active", "--json"))
    assert record == {
        "ref": "half",
        "id": ingest_id("half"),
        "namespace": None,
        "offset_bytes": 5,
        "total_bytes": 10,
        "started_at": record["started_at"],
        "updated_at": record["updated_at"],
        "expected": None,
        "damage": None,
        "refused": None,
        "held": False,
        "holder": None,
    }


def test_refs_for_pipes_are_one_word_each(program):
    for ref in ("plain", "two words", "quo'te", "new\nline", "back\\slash", "-dash", "id:fake"):
        program.leave_ingest(ref, b"1")
    lines = program("active", "-q").lines
    assert len(lines) == 7
    ids = {f"id:{ingest_id(r)}" for r in ("two words", "quo'te", "new\nline", "back\\slash")}
    assert ids < set(lines)
    assert f"id:{ingest_id('-dash')}" in lines
    assert f"id:{ingest_id('id:fake')}" in lines
    assert "plain" in lines


def test_hostile_refs_reach_no_terminal(program):
    program.leave_ingest("red\x1b[31m\nnext", b"1")
    out = program.ok("active")
    assert "\x1b" not in out
    assert "red\\x1b[31m\\nnext" in out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in program.ok("active", "--json")
    named = f"id:{ingest_id('red' + chr(27) + '[31m' + chr(10) + 'next')}"
    assert "\x1b" not in program.ok("status", named)


def test_refs_that_are_no_text_travel_as_base64(program):
    ref = b"raw-\xff\xfe"
    program.leave_ingest(ref.decode("utf-8", "surrogateescape"), b"1")
    record = json.loads(program.ok("active", "--json"))
    assert record["ref"] is None
    assert base64.b64decode(record["ref_b64"]) == ref
    assert program("status", ref).code == 0  # typed as its bytes
    assert program.ok("active", "-q").startswith("id:")


def test_status_by_ref_and_by_id(program):
    program.leave_ingest("half", b"12345", total=10)
    by_ref = program.ok("status", "half")
    assert "offset    5 of 10 bytes (50.0%)" in by_ref
    assert program.ok("status", f"id:{ingest_id('half')}").splitlines()[0] == "ref       half"
    assert json.loads(program.ok("status", "half", "--json"))["offset_bytes"] == 5


def test_path_names_the_file(program):
    program.ok("ingest", "a", stdin=b"hello\n")
    path = program.ok("path", "-q", HELLO).rstrip("\n")
    assert path == f"{program.root}/blobs/sha256/{HELLO.encoded}"
    assert Path(path).read_bytes() == b"hello\n"
    for store in (".content", "./.content/", "sub/../.content"):
        (program.folder / "sub").mkdir(exist_ok=True)
        assert program.ok("--store", store, "path", "-q", HELLO) == f"{path}\n"
    assert program.ok("path", HELLO) == f"{HELLO}  {path}\n"
    assert json.loads(program.ok("path", "--json", HELLO)) == {"digest": HELLO, "path": path}
    assert program("path", Digest.of(b"no")).code == 5


def test_labels_are_set_removed_and_replaced(program):
    program.ok("ingest", "a", stdin=b"hello\n")
    assert program.ok("label", HELLO, "b=2", "a/x.y=1") == "a/x.y=1\nb=2\n"
    assert program.ok("label", HELLO, "b=") == "a/x.y=1\n"
    assert program.ok("label", HELLO) == "a/x.y=1\n"
    assert program.ok("label", HELLO, "--replace", "c=3") == "c=3\n"
    assert json.loads(program.ok("label", HELLO, "--json"))["labels"] == {"c": "3"}
    assert program("label", HELLO, "--replace").code == 2
    assert program("label", HELLO, "nonsense").code == 2
    assert program.ok("label", HELLO) == "c=3\n"


def test_get_writes_the_bytes_a_part_or_a_file(program):
    data = bytes(range(256)) * 8192
    digest = program.ok("ingest", "a", stdin=data).strip()
    script = f"contentui get {digest} | sha256sum"
    assert program.shell(script).out.split()[0] == Digest.of(data).encoded
    assert program.ok("get", digest, "--offset", "65", "--size", "3") == "ABC"
    program.ok("get", digest, "-o", "copy")
    assert (program.folder / "copy").read_bytes() == data
    assert program("get", digest, "--offset", "10GB").code == 2
    assert program("get", Digest.of(b"none")).code == 5


def test_get_of_altered_bytes_says_so_and_leaves_no_file(program):
    program.ok("ingest", "a", stdin=b"hello\n")
    program.damage_blob(HELLO)
    ran = program("get", HELLO)
    assert ran.code == 3
    assert "is damaged" in ran.err
    (program.folder / "copy").write_bytes(b"before")
    assert program("get", HELLO, "-o", "copy").code == 3
    assert (program.folder / "copy").read_bytes() == b"before"
    assert not list(program.folder.glob(".copy*"))


def test_what_can_not_be_read_is_not_altered(program):
    """``verify -q`` feeds ``delete``: a disk's passing error must not cost a good blob."""
    program.ok("ingest", "a", stdin=b"hello\n")
    program.ok("ingest", "b", stdin=b"good")
    path = program.ok("path", "-q", HELLO).strip()
    fault = f"strace -qqq -o /dev/null -P {path} -e inject=pread64,preadv:error=EIO contentui"
    if program.shell(f"command -v strace && {fault} --version").code:
        pytest.skip("strace is missing or not allowed")
    ran = program.shell(f"{fault} verify")
    assert ran.code == 1
    assert sorted(line.split()[1] for line in ran.lines) == ["ok", "unreadable"]
    ran = program.shell(f"{fault} verify -q")
    assert (ran.code, ran.out) == (1, "")
    assert HELLO in ran.err
    assert '"ok":null' in program.shell(f"{fault} verify --json").out


def test_verify_finds_what_is_altered(program):
    program.ok("ingest", "a", stdin=b"hello\n")
    good = program.ok("ingest", "b", stdin=b"good").strip()
    assert sorted(program.ok("verify").splitlines()) == sorted([f"{HELLO}  ok", f"{good}  ok"])
    program.damage_blob(HELLO)
    ran = program("verify")
    assert ran.code == 3
    assert f"{HELLO}  altered" in ran.lines
    assert "1 of 2 blobs" in ran.err
    assert program("verify", "-q").out == f"{HELLO}\n"
    record = json.loads(program("verify", "--json", HELLO).out)
    assert record["ok"] is False
    assert "hash to" in record["problem"]
    assert program("verify", good).code == 0
    assert program("verify", Digest.of(b"none")).code == 5
    pipe = program.shell("contentui verify -q | xargs -r contentui delete; contentui list -q")
    assert pipe.lines == [HELLO, good]


def test_watch_tells_what_comes_changes_and_goes(program):
    program.leave_ingest("old", b"1")
    watch = program.start("active", "--watch", "--json", "--interval", "100ms")
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert (first["change"], first["ref"], first["offset_bytes"]) == ("appeared", "old", 1)
    store = program.store()
    with store.writer("old") as writer:
        writer.write(b"2345")
        changed = json.loads(watch.stdout.readline())
        while changed["offset_bytes"] == 1:  # taking the lock is a change, too
            changed = json.loads(watch.stdout.readline())
    assert changed["change"] == "changed"
    assert changed["offset_bytes"] == 5
    store.abort("old")
    while (gone := json.loads(watch.stdout.readline()))["change"] != "gone":
        pass
    assert gone["ref"] == "old"
    watch.send_signal(2)
    _, err = watch.communicate(timeout=10)
    assert watch.returncode == 0
    assert err == b""


@pytest.mark.parametrize("size", [5, 300_000])
def test_watch_tells_what_was_committed_with_its_final_size(program, size):
    store = program.store()
    writer = store.writer("mine", total=size)
    watch = program.start("active", "--watch", "--json", "--interval", "100ms")
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["change"] == "appeared"
    data = b"x" * size
    with writer:
        writer.write(data)
        writer.commit(size, Digest.of(data))
    while (end := json.loads(watch.stdout.readline()))["change"] == "changed":
        pass
    assert (end["change"], end["ref"], end["size_bytes"]) == ("committed", "mine", size)
    assert end["digest"] == Digest.of(data)
    watch.send_signal(2)
    watch.communicate(timeout=10)


def test_watch_tells_each_end_of_very_many(program):
    store = program.store()
    for number in range(250):
        with store.writer(f"many-{number}") as writer:
            writer.write(b"1")
    watch = program.start("active", "--watch", "--interval", "100ms")
    assert watch.stdout is not None
    for _ in range(250):
        assert b" appeared " in watch.stdout.readline()
    for number in range(250):
        store.abort(f"many-{number}")
    ends = [watch.stdout.readline() for _ in range(250)]
    assert all(b" gone " in line and b" at 1 B" in line for line in ends)
    watch.send_signal(2)
    watch.communicate(timeout=10)


def test_verdicts_after_a_second_look(program):
    program.leave_ingest("old", b"1", total=9, age_s=100)
    header, row = program("active", "--verdict").lines
    assert "STATE" in header
    assert "abandoned" in row
    record = json.loads(program.ok("active", "--verdict", "--json"))
    assert record["verdict"] == "abandoned"
    assert "no writer holds it" in record["reason"]
