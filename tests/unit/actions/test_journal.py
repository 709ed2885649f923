"""The journal keeps what happened, whatever else is in its file."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import threading

import pytest

from contentui.actions.journal import Journal, default_path
from contentui.actions.model import Outcome, Result, Step, Verb
from contentui.content.digest import Digest
from contentui.content.model import Holder, Info, Status, ingest_id
from contentui.index.model import Referrer

AT = 1_700_000_000_000_000_000


def ingest_step(ref="r", **more):
    target = Status(ref, 5, 0, AT, AT, None, ingest_id(ref))
    return Step(Verb.ABORT, target, 5, **more)


def done(ref="r", **more):
    return Outcome(ingest_step(ref, **more), Result.DONE)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "deep" / "journal.jsonl")


@pytest.fixture
def journal(path):
    return Journal(path)


def test_a_line_says_everything(journal):
    holder = Holder(7, AT, "curl \udcff", AT)
    journal.write("src", done(holder=holder), AT)
    assert journal.problem == ""
    (line,) = journal.tail(5)
    at = "2023-11-14T22:13:20.000000000Z"
    assert line.pop("user")
    assert line == {
        "at": at,
        "uid": os.getuid(),
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "source": "src",
        "verb": "abort",
        "name": "r",
        "ref": "r",
        "id": ingest_id("r"),
        "namespace": None,
        "before": {
            "offset_bytes": 5,
            "total_bytes": None,
            "started_at": at,
            "updated_at": at,
            "expected": None,
            "refused": None,
            "damage": "",
        },
        "holder": {
            "pid": 7,
            "command": None,
            "command_b64": base64.b64encode(b"curl \xff").decode(),
            "started_at": at,
            "since": at,
            "foreign": False,
            "daemon": None,
            "clients": None,
        },
        "needs": [],
        "needs_total": 0,
        "result": "done",
        "reason": "",
    }


def test_a_blob_and_who_needed_it(journal):
    digest = Digest.of(b"x")
    needs = tuple(Referrer("image", f"i{number}", digest) for number in range(500))
    step = Step(Verb.DELETE, Info(digest, 9, AT, 0, None), 9, referrers=needs)
    journal.write("src", Outcome(step, Result.REFUSED, "needed"), AT)
    (line,) = journal.tail(1)
    assert line["digest"] == line["name"] == digest
    assert line["before"]["size_bytes"] == 9
    assert line["needs_total"] == 500
    assert len(line["needs"]) == 100
    assert line["needs"][0] == {"by": "image", "name": "i0", "digest": digest}
    assert (line["result"], line["reason"]) == ("refused", "needed")


def test_unknown_needs_are_null(journal):
    journal.write("src", done(referrers=None), AT)
    assert journal.tail(1)[0]["needs"] is None


@pytest.mark.parametrize(
    "ref", ["a\nb", "\x1b[2J", "\u202e", '"', "\udcff\udcfe", "\x00", "x" * 65536]
)
def test_hostile_refs_are_one_plain_line_and_come_back(journal, path, ref):
    journal.write("src\udcff", done(ref), AT)
    with open(path, "rb") as file:
        data = file.read()
    assert data.count(b"\n") == 1
    assert data.isascii()
    assert b"\x1b" not in data
    (line,) = journal.tail(1)
    if "ref_b64" in line:
        assert base64.b64decode(line["ref_b64"]) == ref.encode("utf-8", "surrogateescape")
    else:
        assert line["ref"] == ref


def test_it_is_private(journal, path):
    journal.write("src", done(), AT)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_a_torn_line_costs_itself_only(journal, path):
    journal.write("src", done("a"), AT)
    with open(path, "ab") as file:
        file.write(b'{"torn": "li')
    journal.write("src", done("b"), AT)
    with open(path, "ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"deep":' + b"[" * 50_000 + b"\n")
    journal.write("src", done("c"), AT)
    assert [line["name"] for line in journal.tail(10)] == ["a", "b", "c"]


def test_tail_of_nothing(journal):
    assert journal.tail(5) == []
    assert journal.problem == ""


def test_tail_is_bounded(journal, path):
    for number in range(3000):
        journal.write("src", done(f"{number}"), AT)
    assert [line["name"] for line in journal.tail(3)] == ["2997", "2998", "2999"]
    assert [line["name"] for line in journal.tail(3000)][::2999] == ["0", "2999"]
    assert journal.tail(0) == []
    with open(path, "ab") as file:
        file.write(b"x" * (5 * 1024 * 1024))
    assert journal.tail(3) == []


def test_a_full_disk_is_a_problem_and_no_error():
    journal = Journal("/dev/full")
    journal.write("src", done(), AT)
    assert journal.problem == "the journal /dev/full can't be written: No space left on device"


def test_the_null_device_keeps_nothing():
    journal = Journal("/dev/null")
    journal.write("src", done(), AT)
    assert (journal.problem, journal.tail(1)) == ("", [])


def test_a_problem_passes(journal, path):
    os.mkdir(os.path.dirname(path))
    os.mkdir(path)
    journal.write("src", done(), AT)
    assert "Is a directory" in journal.problem
    os.rmdir(path)
    journal.write("src", done(), AT)
    assert journal.problem == ""


def test_symbolic_links_are_not_followed(journal, path, tmp_path):
    os.mkdir(os.path.dirname(path))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, path)
    journal.write("src", done(), AT)
    assert journal.problem.endswith("it is a symbolic link")
    assert victim.read_text() == "precious"
    assert journal.tail(1) == []
    assert journal.problem.endswith("it is a symbolic link")


def test_a_fifo_blocks_nobody(journal, path):
    os.mkdir(os.path.dirname(path))
    os.mkfifo(path)
    journal.write("src", done(), AT)
    assert "no regular file" in journal.problem
    assert journal.tail(1) == []


def test_a_socket_is_no_journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        journal = Journal("s")
        journal.write("src", done(), AT)
        assert journal.problem


def test_a_folder_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    journal = Journal(str(tmp_path / "file" / "journal"))
    journal.write("src", done(), AT)
    assert "Not a directory" in journal.problem


def test_a_full_journal_is_put_aside(path):
    journal = Journal(path, max_size=2000)
    for number in range(20):
        journal.write("src", done(f"{number}"), AT)
    assert sorted(os.listdir(os.path.dirname(path))) == ["journal.jsonl", "journal.jsonl.1"]
    assert os.path.getsize(path) < 3000
    names = [line["name"] for line in journal.tail(6)]
    assert names == ["14", "15", "16", "17", "18", "19"]


def test_many_writers_share_it(path):
    def write(name):
        journal = Journal(path, max_size=10_000_000)
        for _ in range(100):
            journal.write("src", done(name), AT)

    threads = [threading.Thread(target=write, args=(f"{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(path, encoding="ascii") as file:
        names = [json.loads(line)["name"] for line in file if line.strip()]
    assert sorted(names) == sorted(f"{number}" for number in range(4) for _ in range(100))


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_path() == "/state/contentui/journal.jsonl"
    assert Journal().path == default_path()
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_path() == str(tmp_path / ".local/state/contentui/journal.jsonl")
