"""``ingest``: success, resumption, refusals, waiting, signals."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import NotFound

from .test_terminal import on_terminal

HELLO = Digest.of(b"hello\n")
MIB = 1024 * 1024


def test_from_a_pipe_and_from_a_file(program):
    assert program.ok("ingest", "a", stdin=b"hello\n") == f"{HELLO}\n"
    (program.folder / "file").write_bytes(b"from a file")
    digest = Digest.of(b"from a file")
    assert program.ok("ingest", "b", "--from", "file") == f"{digest}\n"
    assert program.ok("get", digest) == "from a file"


def test_the_digest_names_it_when_no_ref_does(program):
    assert program.ok("ingest", "--expected-digest", HELLO, stdin=b"hello\n") == f"{HELLO}\n"
    ran = program("ingest", stdin=b"x")
    assert ran.code == 2
    assert "needs a name" in ran.err


def test_what_exists_is_success(program):
    program.ok("ingest", "a", stdin=b"hello\n")
    assert program.ok("ingest", "b", stdin=b"hello\n") == f"{HELLO}\n"
    record = json.loads(
        program.ok("ingest", "c", "--expected-digest", HELLO, "--json", stdin=b"never read")
    )
    assert (record["outcome"], record["digest"]) == ("existed", HELLO)


def test_labels_and_json(program):
    record = json.loads(
        program.ok("ingest", "a", "--label", "k=v", "--label", "l=w=x", "--json", stdin=b"hello\n")
    )
    assert record["labels"] == {"k": "v", "l": "w=x"}
    assert (record["outcome"], record["resumed_from_bytes"]) == ("created", 0)
    assert program("ingest", "a", "--label", "nonsense", stdin=b"").code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--expected-size", "7"], "6 bytes, not 7"),
        (["--expected-digest", Digest.of(b"else")], "unexpected commit digest"),
    ],
)
def test_what_differs_is_refused(program, options, words):
    (program.folder / "file").write_bytes(b"hello\n")
    ran = program("ingest", "a", "--from", "file", *options)
    assert ran.code == 1
    assert words in ran.err
    assert program.ok("list", "-q") == "" if program.root.exists() else True


def test_sizes_are_read_as_people_write_them(program):
    assert program.ok("ingest", "a", "--expected-size", "1kB", stdin=b"x" * 1000)
    assert program.ok("ingest", "b", "--expected-size", "1KiB", stdin=b"x" * 1024)
    assert program("ingest", "c", "--expected-size", "some", stdin=b"x").code == 2


def test_it_goes_on_where_a_session_stopped(program):
    data = b"0123456789" * 1000
    program.leave_ingest("half", data[:4000])
    (program.folder / "file").write_bytes(data)
    # What was stored says total 0, and the file declares one: both are kept bytes of this file.
    record = json.loads(program.ok("ingest", "half", "--from", "file", "--json"))
    assert record["digest"] == Digest.of(data)
    assert program.ok("active", "-q") == ""


def test_two_sources_are_never_joined(program):
    program.leave_ingest("half", b"something else", total=10_000)
    (program.folder / "file").write_bytes(b"0123456789" * 1000)
    record = json.loads(program.ok("ingest", "half", "--from", "file", "--json"))
    assert record["resumed_from_bytes"] == 0
    assert record["digest"] == Digest.of(b"0123456789" * 1000)


def test_a_locked_ref_names_its_holder(program):
    store = program.store()
    with store.writer("mine"):
        ran = program("ingest", "mine", stdin=b"hello\n")
        assert ran.code == 4
        assert "locked by pid" in ran.err
        assert "pytest" in ran.err or "python" in ran.err
        start = time.monotonic()
        assert program("ingest", "mine", "--wait=300ms", stdin=b"hello\n").code == 4
        assert time.monotonic() - start > 0.3


def test_waiting_for_ever_ends_with_the_holder(program):
    store = program.store()
    writer = store.writer("mine")
    waiting = program.start("ingest", "--wait", "mine")  # REF is no time for --wait
    assert waiting.stdin is not None
    waiting.stdin.write(b"hello\n")
    waiting.stdin.close()
    with pytest.raises(Exception, match="timed out"):
        waiting.wait(0.5)
    writer.close()
    assert waiting.wait(20) == 0
    assert waiting.stdout.read().decode() == f"{HELLO}\n"
    waiting.stderr.close()
    waiting.stdout.close()


def _interrupted(program, *options, signum, data=b"x" * MIB):
    """An ingest from a pipe that stays open, ended by a signal once its bytes are there."""
    child = program.start("ingest", "big", *options)
    child.stdin.write(data)
    child.stdin.flush()
    store = program.store()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if store.status("big").offset >= len(data) // 2:
                break
        except NotFound:
            pass
        time.sleep(0.02)
    child.send_signal(signum)
    out, err = child.communicate(timeout=20)
    return child.returncode, out, err.decode(), store.status("big")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_ingest_and_says_how_to_go_on(program, signum, code):
    got, out, err, status = _interrupted(program, signum=signum)
    assert got == code
    assert out == b""
    assert "Traceback" not in err
    assert "interrupted: the ingest big is kept at" in err
    assert f"{status.offset:,} bytes" in err
    assert "contentui ingest big --from FILE" in err
    assert program.store().holders([status.id]) == {}
    data = b"x" * MIB + b"more"
    (program.folder / "file").write_bytes(data)
    record = json.loads(program.ok("ingest", "big", "--from", "file", "--json"))
    assert record["digest"] == Digest.of(data)


def test_progress_as_json_and_plain_lines(program):
    (program.folder / "file").write_bytes(b"x" * MIB)
    json_run = program("ingest", "a", "--from", "file", "--progress=json")
    assert json_run.code == 0
    record = json.loads(json_run.err.splitlines()[0])
    assert record["progress"] == "a"
    assert record["total_bytes"] == MIB
    assert {"offset_bytes", "rate_bytes_per_s", "eta_s"} < set(record)
    plain = program("ingest", "b", "--from", "file", "--progress=plain", "--label", "a=b")
    assert plain.err.startswith("b: ")
    assert program("ingest", "c", "--from", "file").err == ""


@pytest.mark.parametrize(
    "path", ["/proc/version", "/proc/kallsyms", "/sys/kernel/mm/transparent_hugepage/enabled"]
)
def test_a_file_whose_size_is_reported_wrong_is_read_to_its_end(program, path):
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {path}")
    data = Path(path).read_bytes()
    assert os.stat(path).st_size != len(data)
    assert program.ok("ingest", "a", "--from", path) == f"{Digest.of(data)}\n"
    size = ("--expected-size", str(len(data)))
    program.ok("delete", Digest.of(data))
    assert program.ok("ingest", "a", "--from", path, *size) == f"{Digest.of(data)}\n"
    assert program("ingest", "b", "--from", path, "--expected-size", "4096000000").code == 1


def test_a_pipe_that_is_named_as_a_file_is_read_to_its_end(program):
    data = b"x" * (3 * MIB)
    (program.folder / "data").write_bytes(data)
    ran = program.shell("mkfifo pipe; cat data > pipe & contentui ingest a --from pipe")
    assert (ran.code, ran.out) == (0, f"{Digest.of(data)}\n")
    ran = program.shell("contentui ingest b --from <(cat data; echo)")
    assert (ran.code, ran.out) == (0, f"{Digest.of(data + bytes([10]))}\n")


def test_quiet_is_the_digest_and_nothing_else(program):
    (program.folder / "file").write_bytes(b"hello\n")
    for options, others in (((), True), (("-q",), False), (("--quiet",), False)):
        with on_terminal(program, "ingest", "a", "--from", "file", *options) as terminal:
            assert terminal.end() == 0
        assert terminal.seen.endswith(f"{HELLO}\r\n".encode())
        assert (terminal.seen != f"{HELLO}\r\n".encode()) is others
    assert program("ingest", "a", "-q", "--json", stdin=b"").code == 2


def test_sources_that_are_none(program):
    assert program("ingest", "a", "--from", "nowhere").code == 5
    assert "nowhere: No such file" in program("ingest", "a", "--from", "nowhere").err
    assert program("ingest", "a", "--from", ".").code == 1
    assert program("ingest", "", stdin=b"").code == 2
    assert not program.root.exists()


def test_an_interrupted_wait_claims_nothing(program):
    store = program.store()
    with store.writer("mine"):
        waiting = program.start("ingest", "mine", "--wait")
        waiting.stdin.write(b"x")
        waiting.stdin.flush()
        with pytest.raises(Exception, match="timed out"):
            waiting.wait(0.7)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert b"interrupted while pid" in err
    assert b"kept" not in err


def test_a_second_ctrl_c_does_not_spoil_the_first(program):
    with (program.folder / "file").open("wb") as file:
        file.truncate(200 * MIB)
    child = program.start("ingest", "big", "--from", "file")
    store = program.store()
    while not (program.root / "ingest").exists() or not store.statuses():
        time.sleep(0.01)
    while child.poll() is None:
        child.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, err = child.communicate()
    assert child.returncode == 130
    assert b"Traceback" not in err
    assert b"is kept at" in err
    assert store.holders([store.status("big").id]) == {}


def test_a_folder_of_other_things_does_not_become_a_store(program):
    (program.folder / "home").mkdir()
    (program.folder / "home/thesis.txt").touch()
    ran = program("--store", "home", "ingest", "a", stdin=b"1")
    assert ran.code == 5
    assert "not a content store" in ran.err
    assert [path.name for path in (program.folder / "home").iterdir()] == ["thesis.txt"]


def test_a_source_that_grows_is_named(program):
    source = program.folder / "source"
    source.write_bytes(bytes(64 * MIB))
    ended = threading.Event()

    def grow() -> None:
        with source.open("ab") as file:
            while not ended.wait(0.001):
                file.write(bytes(4096))
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        ran = program("ingest", "grows", "--from", "source")
    finally:
        ended.set()
        thread.join()
    assert ran.code == 1
    assert "source changed while it was read: it had " in ran.err
    assert "ingest it again when nothing writes to it" in ran.err
    ran = program("ingest", "grows", "--from", "source")
    assert ran.code == 0


def test_an_error_of_the_source_names_it(program):
    ran = program("ingest", "memory", "--from", "/proc/self/mem")
    assert ran.code == 1
    assert "/proc/self/mem" in ran.err


def test_the_command_that_goes_on_can_be_pasted():
    """Whatever is in a ref: bash reads back what was typed."""
    import shutil
    import subprocess

    from contentui.present.shell import shell_line

    words = ["ingest", "a\udcff b\nc", "it's", "\\x41'\t", "plain", "\u00e9\x1b[31m"]
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = f"printf '%s\\0' {shell_line(words)}"
    done = subprocess.run([bash, "-c", os.fsencode(script)], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
    assert shell_line(words).isprintable()
