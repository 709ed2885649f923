"""Import and export as their users run them: pipes, files, names, interruptions."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time

import pytest

from contentui.demo.registry import Registry
from contentui.demo.unpackable import make_unpackable

from .conftest import CLI
from .test_terminal import on_terminal

IMAGE = make_unpackable(1, [3_000_000, 40_000])
NAME = "example.com/team/web:v1"


@pytest.fixture
def archive(program, tmp_path):
    """An exported image, and an empty store again."""
    with Registry() as registry:
        pulled = registry.add(IMAGE, "team/web:v1")
        program.ok("--store", "first", "pull", pulled)
    program.ok("--store", "first", "export", pulled, "-o", "named.tar")
    program.ok("import", "named.tar", "--name", NAME)
    program.ok("export", NAME, "--output", "web.tar")
    program.root.rename(tmp_path / "before")
    return tmp_path / "web.tar"


def test_import_of_a_file_prints_name_and_digest(program, archive):
    assert program.ok("import", "web.tar") == f"{NAME} {IMAGE.digest}\n"
    assert program.ok("import", "-q", "web.tar") == f"{IMAGE.digest}\n"
    assert json.loads(program.ok("import", "--json", "web.tar")) == {
        "image": NAME,
        "digest": str(IMAGE.digest),
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "replaced": None,
    }
    for digest in IMAGE.blobs:
        program.ok("verify", str(digest))


def test_import_of_a_compressed_pipe(program, archive):
    data = gzip.compress(archive.read_bytes())
    assert program.ok("import", "-", stdin=data) == f"{NAME} {IMAGE.digest}\n"


def test_a_closed_standard_input_is_told(program):
    ran = program.shell("contentui import - <&-")
    assert ran.code == 2
    assert "standard input is closed" in ran.err


def test_export_to_a_pipe_is_the_file(program, archive):
    program.ok("import", "web.tar")
    done = subprocess.run(
        [*CLI, "export", NAME], cwd=program.folder, env=program.env, capture_output=True, check=True
    )
    assert done.stdout == archive.read_bytes()


def test_a_damaged_blob_leaves_no_file(program, archive, tmp_path):
    program.ok("import", "web.tar")
    program.damage_blob(str(next(iter(IMAGE.blobs))))
    archive.unlink()
    ran = program("export", NAME, "-o", "web.tar")
    assert (ran.code, ran.out) == (3, "")
    assert [p.name for p in tmp_path.iterdir() if "web" in p.name] == []
    assert program("export", NAME).code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "none.tar"], 5, "none.tar"),
        (["import", "web.tar", "--name", "up/Per"], 2, "invalid repository name"),
        (["import", "."], 2, "neither index.json nor manifest.json"),
        (["export", "none"], 5, "there is no image docker.io/library/none"),
        (["export", NAME, "--platform", "linux/s390x/a/b"], 2, "is not a platform"),
        (["export", "sha256:" + "0" * 64], 5, "0000"),
    ],
)
def test_what_goes_wrong_and_how_it_ends(program, archive, arguments, code, words):
    program.ok("import", "web.tar")
    ran = program(*arguments)
    assert (ran.code, ran.out) == (code, ""), ran
    assert words in ran.err


def test_an_archive_is_not_written_to_a_terminal(program, archive):
    program.ok("import", "web.tar")
    with on_terminal(program, "export", NAME) as terminal:
        assert terminal.end() == 2
    assert b"refusing to write an archive to a terminal" in terminal.seen


def test_a_nameless_image_is_told(program, archive, tmp_path):
    data = archive.read_bytes()
    data = data.replace(b"io.containerd.image.name", b"io.containerd.image.nome")
    data = data.replace(b"manifest.json\0", b"manofest.json\0")
    (tmp_path / "x.tar").write_bytes(_summed(data))
    ran = program("import", "x.tar")
    assert (ran.code, ran.out) == (0, f"{IMAGE.digest}\n")
    assert "has no valid name: v1 in the archive" in ran.err
    assert program.ok("images", "-q") == ""


def _summed(data: bytes) -> bytes:
    """A tar archive whose altered headers have their sums again."""
    at = data.index(b"manofest.json\0")
    block = bytearray(data[at : at + 512])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512 :]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_can_be_done_again(program, archive, signum):
    data = archive.read_bytes()
    process = program.start("import", "-")
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not (program.root / "ingest").is_dir() or not os.listdir(program.root / "ingest"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signum)
    process.wait(20)
    err = process.stderr.read().decode()
    assert process.returncode == 128 + signum, err
    assert "import the archive again" in err
    assert "Traceback" not in err
    assert program.ok("import", "-", stdin=data) == f"{NAME} {IMAGE.digest}\n"
    assert program.ok("active", "-q") == ""
