"""Pull, push and their parts as their users run them, against a registry of our own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from contentui.cli.progress import mode_for
from contentui.content.digest import Digest
from contentui.content.model import Descriptor
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import MANIFEST, make_unpackable
from contentui.present.cells import cell_len
from contentui.present.transfers import Rates, Terminal, render_transfer
from contentui.transfers.model import Part, Phase, Transfer

from .conftest import CLI
from .test_terminal import on_terminal

IMAGE = make_unpackable(1, [3_000_000, 40_000, 20_000])
LARGE = Digest.of(IMAGE.layers[0])


@pytest.fixture
def link():
    return Throttle()


@pytest.fixture
def registry(link):
    with Registry(link) as registry:
        yield registry


@pytest.fixture
def name(registry):
    return registry.add(IMAGE, "team/web:v1")


def test_a_pull_prints_the_digest_and_records_the_name(program, name):
    ran = program("pull", name)
    assert ran.code == 0, ran
    assert ran.out == f"{IMAGE.digest}\n"
    assert program.ok("images", "-q") == f"{name}\n"
    for digest in IMAGE.blobs:
        program.ok("verify", str(digest))


def test_a_second_pull_fetches_nothing(program, name):
    program.ok("pull", name)
    ran = program("pull", "--progress=json", name)
    phases = {json.loads(line).get("phase") for line in ran.err.splitlines()}
    assert phases <= {None, "waiting", "exists"}


def test_a_fetch_gives_no_name(program, name):
    assert program.ok("fetch", name) == f"{IMAGE.digest}\n"
    assert program.ok("images", "-q") == ""
    assert len(program("list", "-q").lines) == 5


def test_json_and_quiet(program, name):
    assert json.loads(program.ok("pull", "--json", name)) == {
        "image": name,
        "digest": str(IMAGE.digest),
        "media_type": "application/vnd.oci.image.manifest.v1+json",
    }
    ran = program("pull", "-q", name)
    assert (ran.out, ran.err) == (f"{IMAGE.digest}\n", "")


def test_the_store_of_the_environment(program, name, tmp_path):
    assert program("pull", name, CONTENTUI_STORE=str(tmp_path / "other")).code == 0
    assert (tmp_path / "other" / "blobs").is_dir()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull", "{}:none"], 5, "none"),
        (["pull", "http://{}"], 2, "is a URL"),
        (["pull", "Team/Web"], 2, "invalid repository name"),
        (["pull", "--user", "me:secret", "{}:v1"], 2, "takes only a name"),
        (["pull", "--user", "me", "{}:v1"], 1, "no password for me"),
        (["pull", "--tls-cert", "x", "{}:v1"], 2, "required together"),
        (["pull", "--platform", "a/b/c/d", "{}:v1"], 2, "is not a platform"),
        (["push", "{}:v9"], 5, "there is no image"),
        (["fetch-object", "{}", "v1", "type:x"], 2, "unknown hint"),
        (["fetch-object", "{}", "sha256:" + "0" * 64], 5, "0000"),
        (["push-object", "{}", "sha256:" + "0" * 64], 5, "0000"),
        (["images", "--remove", "none"], 5, "docker.io/library/none"),
    ],
)
def test_what_goes_wrong_and_how_it_ends(program, registry, name, arguments, code, words):
    program.ok("ingest", "a", stdin=b"1")
    repository = name.rpartition(":")[0]
    ran = program(*(word.format(repository) for word in arguments))
    assert ran.code == code, ran
    assert words in ran.err
    assert ran.out == ""


def test_a_registry_that_is_not_there(program):
    ran = program("pull", "--progress=none", "127.0.0.1:1/a:b")
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err


def wait_for(seen, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_arrived_and_names_the_command_to_resume(program, name, link, signum):
    link.stall_at[LARGE] = 2_500_000
    process = program.start("pull", name)
    wait_for(lambda: LARGE in link.stalled)
    process.send_signal(signum)
    began = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + signum, err
    assert (out, b"Traceback" in err) == (b"", False)
    assert f"resume with: contentui pull {name}" in err.decode()
    status = json.loads(program.ok("active", "--json"))
    assert (status["ref"], status["offset_bytes"] > 0) == (f"layer-{LARGE}", True)
    link.stalled.clear()
    ran = program("pull", "--progress=json", name)
    assert ran.code == 0
    records = [json.loads(line) for line in ran.err.splitlines()]
    resumed = {r.get("resumed_from_bytes") for r in records if r.get("digest") == str(LARGE)}
    assert status["offset_bytes"] in resumed
    assert program.ok("active", "-q") == ""


def test_a_kill_keeps_what_arrived(program, name, link):
    link.stall_at[LARGE] = 2_500_000
    process = program.start("pull", name)
    wait_for(lambda: LARGE in link.stalled)
    process.kill()
    process.communicate()
    link.stalled.clear()
    assert program.ok("pull", name) == f"{IMAGE.digest}\n"


def test_two_pulls_at_once(program, name, link):
    link.stall_at[LARGE] = 2_500_000
    first = program.start("pull", name)
    wait_for(lambda: LARGE in link.stalled)
    second = program.start("pull", "--progress=plain", name)
    seen = b""
    while f"waiting for pid {first.pid}".encode() not in seen:
        line = second.stderr.readline()
        assert line, seen
        seen += line
    link.stalled.clear()
    for process in (first, second):
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.decode()) == (0, f"{IMAGE.digest}\n"), err


def test_plain_lines_are_few(program, name, link):
    link.bytes_s = 1_500_000
    ran = program("pull", "--progress=plain", name)
    lines = [line for line in ran.err.splitlines() if LARGE.encoded[:12] in line]
    assert len(lines) == 1  # two seconds of work
    assert lines[-1].endswith("done  3.00 MB of 3.00 MB")


def test_the_pipeline_that_this_began_with(program, registry, name):
    repository = name.rpartition(":")[0]
    ran = program.shell(f"""
        set -e -o pipefail
        contentui fetch-object {repository} v1 mediatype:{MANIFEST} |
            python3 -c 'import json,sys
for layer in json.load(sys.stdin)["layers"]: print(layer["digest"])' |
            xargs -P10 -I@ sh -c \
                'contentui fetch-object {repository} @ | contentui ingest --expected-digest @ @'
    """)
    assert ran.code == 0, ran
    assert set(program("list", "-q").lines) == {str(Digest.of(layer)) for layer in IMAGE.layers}


def test_a_fetched_object_is_whole_through_cuts(program, name, link):
    link.cuts[LARGE] = [100_000, 1_000_000, 2_000_000]
    done = subprocess.run(
        [*CLI, "fetch-object", name.rpartition(":")[0], str(LARGE)],
        capture_output=True,
        env=program.env,
        cwd=program.folder,
        check=True,
        timeout=60,
    )
    assert Digest.of(done.stdout) == LARGE
    assert done.stderr.count(b"retrying") == 3


def test_no_password_is_in_the_arguments_of_a_process(program, name, link, tmp_path):
    """`--password-file` and the environment: what ps shows, and what is printed, tells nothing."""
    (tmp_path / "secret").write_text("s3cr3t\n")
    link.stall_at[LARGE] = 1_000_000
    process = program.start("pull", "--user", "me", "--password-file", "secret", name)
    wait_for(lambda: LARGE in link.stalled)
    assert b"s3cr3t" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert b"s3cr3t" not in out + err
    assert process.returncode == 130


def size_terminal(leader: int, lines: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def pictures(data: bytes) -> list[list[str]]:
    """The lines of each picture that was drawn."""
    found = data.decode().replace("\r\n", "\n").split("\x1b[J")
    lines = [each.split("\r")[-1].split("\n") for each in found]
    return [[line.removesuffix("\x1b[K") for line in each if "\x1b[K" in line] for each in lines]


@pytest.mark.parametrize(("lines", "columns"), [(24, 80), (5, 40), (2, 20)])
def test_a_picture_fits_its_window(program, registry, link, lines, columns):
    image = make_unpackable(5, [1_300_000] * 3 + [5_000] * 20)
    name = registry.add(image, "team/many:v1")
    link.bytes_s = 1_000_000
    with on_terminal(program, "pull", name, columns=columns) as terminal:
        size_terminal(terminal.leader, lines, columns)
        assert terminal.end() == 0
    drawn = [each for each in pictures(terminal.seen) if each]
    assert len(drawn) >= 4
    for each in drawn[2:]:
        assert len(each) < lines
        assert max(map(len, each)) < columns
    if lines > 5:
        assert "24/24 parts" in drawn[-1][0]
        assert " in " in drawn[-1][0]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "term", "mode"),
    [(Screen, "xterm", "bar"), (Screen, "dumb", "plain"), (io.StringIO, "xterm", "plain")],
)
def test_where_a_picture_is_drawn(monkeypatch, stream, term, mode):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", stream())
    assert mode_for(None, "plain") == mode
    assert mode_for("json", "plain") == "json"


def test_lines_hold_no_controls(program, name):
    with on_terminal(program, "pull", "--progress=plain", name) as terminal:
        assert terminal.end() == 0
    assert b"\x1b" not in terminal.seen


def state(phase: Phase, offset: int = 0, **more) -> Transfer:
    part = Part(Descriptor("", LARGE, 10_000_000), f"layer-{LARGE}", phase, offset, **more)
    return Transfer("pull", "a.b/c:d", 1, 0, (part,))


def test_what_was_there_before_has_no_rate():
    rates = Rates()
    for at, phase, offset in (
        (0, Phase.WAITING, 0),
        (1, Phase.DOWNLOADING, 8_000_000),
        (2, Phase.DOWNLOADING, 8_100_000),
        (3, Phase.RETRYING, 8_100_000),
        (4, Phase.DOWNLOADING, 8_100_000),
        (5, Phase.DOWNLOADING, 8_200_000),
    ):
        transfer = state(phase, offset)
        rates.see(transfer.parts, at)
    lines = render_transfer(transfer, rates, 5.0, Terminal(100, 24))
    assert "50.0 kB/s  36s left" in lines[0]
    assert "50.0 kB/s  36s left" in lines[1]


def test_silence_is_told_with_the_host_and_hostile_words_are_harmless():
    rates = Rates()
    transfer = state(Phase.DOWNLOADING, 5, host="h\x1b[31m:1")
    rates.see(transfer.parts, 1)
    lines = render_transfer(transfer, rates, 13.0, Terminal(120, 24))
    assert "nothing from h\\x1b[31m:1 for 12s" in lines[1]
    lines = render_transfer(transfer, rates, 13.0, Terminal(120, 24), over="stopped after 12s")
    assert lines[0].endswith("stopped after 12s")
    assert lines[1].endswith("stopped")


@pytest.mark.parametrize("columns", [10, 20, 40, 56, 57, 79, 80, 81, 200])
@pytest.mark.parametrize("height", [2, 3, 4, 24])
def test_any_window_holds_the_picture(columns, height):
    parts = tuple(
        Part(Descriptor("", Digest.of(str(n).encode()), n * 10**8), "layer-x", phase, n, 0, "w" * n)
        for n, phase in enumerate([*Phase] * 4)
    )
    transfer = Transfer("pull", "a.b/" + "c" * 90, 1, 0, parts)
    rates = Rates()
    rates.see(parts, 0)
    lines = render_transfer(transfer, rates, 1.0, Terminal(columns, height))
    assert 1 <= len(lines) < height
    assert max(map(cell_len, lines)) < max(columns, 11)


def test_a_picture_says_why_it_waits(program, name, link):
    link.stall_at[LARGE] = 2_000_000
    with on_terminal(program, "pull", name) as terminal:
        terminal.expect(b"nothing from 127.0.0.1:")
        link.stalled.clear()
        assert terminal.end() == 0
    assert str(IMAGE.digest).encode() in terminal.seen


def test_images_tell_their_sizes_and_what_removal_costs(program, registry, name):
    other = make_unpackable(2, [1_000])
    other_name = registry.add(other, "team/other:v1")
    program.ok("pull", name)
    program.ok("pull", other_name)
    records = [json.loads(line) for line in program("images", "--json").lines]
    sizes = {record["name"]: record["own_bytes"] for record in records}
    whole = sum(map(len, IMAGE.blobs.values())) + len(IMAGE.manifest)
    assert sizes[name] == whole
    told = program.ok("images", "--remove", name, "--dry-run")
    assert "Nothing else here refers to 5 blobs (3.06 MB) of this image" in told
    assert len(program("images", "-q").lines) == 2
    assert program.ok("images", "--remove", name) == f"{name}\n"
    assert program.ok("images", "-q") == f"{other_name}\n"
    program.ok("verify", str(LARGE))


def test_missing_parts_are_counted(program, name):
    program.ok("pull", name)
    program.ok("delete", "--force", str(LARGE))
    assert "1 part is missing" in program.ok("images")
    assert json.loads(program.ok("images", "--json"))["missing"] == 1
    program.ok("pull", name)
    assert json.loads(program.ok("images", "--json"))["missing"] == 0


def test_a_pull_into_a_service(program, name, tmp_path):
    """A socket of our own service stands for any `--store unix://`."""
    program.ok("ingest", "a", stdin=b"1")
    socket = f"/tmp/cui-pull-{os.getpid()}.sock"
    process = program.start("serve", "--listen", f"unix://{socket}")
    try:
        wait_for(lambda: Path(socket).exists())
        assert program.ok("--store", f"unix://{socket}", "pull", name) == f"{IMAGE.digest}\n"
        assert program.ok("--store", f"unix://{socket}", "images", "-q") == f"{name}\n"
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert len(program("list", "-q").lines) == 6
