"""Archives between us, containerd and skopeo: each reads what the others write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from interop_live import Live, await_true, unavailable
from registries import all_blobs, archive_of, archived_blobs

from bench.peers import Missing
from contentui.demo.registry import Registry
from contentui.demo.unpackable import make_unpackable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = make_unpackable(11, [2_500_000, 30_000])
NAME = "docker.io/library/demo:1"
BLOBS = all_blobs(IMAGE)


def run(*words: object, given: bytes = b"") -> bytes:
    done = subprocess.run([str(w) for w in words], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ours(store: object, *words: object, given: bytes = b"") -> bytes:
    return run(sys.executable, "-m", "contentui", "--store", store, *words, given=given)


def skopeo(*words: object) -> bytes:
    program = shutil.which("skopeo")
    if program is None:
        unavailable("skopeo is not installed (apt install skopeo)")
    return run(program, *words)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An archive that we wrote."""
    ours(tmp_path / "store", "import", "-", given=archive_of(IMAGE, NAME))
    ours(tmp_path / "store", "export", NAME, "-o", tmp_path / "ours.tar")
    return tmp_path / "ours.tar"


@pytest.fixture(scope="module")
def daemon(short_tmp: Path) -> Iterator[Live]:
    try:
        with Live(short_tmp / "arc", collect=True) as daemon:
            yield daemon
    except Missing as missing:
        unavailable(str(missing))


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_what_we_export(exported: Path, tmp_path: Path, kind: str) -> None:
    skopeo("copy", f"{kind}:{exported}", f"oci:{tmp_path / 'copy'}:x")
    blobs = {p.name for p in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    assert str(next(iter(IMAGE.blobs)))[7:] in blobs


def test_skopeo_finds_the_tag(exported: Path, tmp_path: Path) -> None:
    found = json.loads(skopeo("inspect", "--raw", f"oci-archive:{exported}:1"))
    assert found == json.loads(IMAGE.manifest)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_we_import_what_skopeo_writes(exported: Path, tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / "theirs.tar"
    skopeo("copy", f"oci-archive:{exported}", f"{kind}:{theirs}:{NAME}")
    for way in ((theirs,), ("-",)):
        given = theirs.read_bytes() if way == ("-",) else b""
        said = ours(tmp_path / f"s{len(given)}", "import", *way, given=given).decode()
        assert said.startswith(f"{NAME} sha256:")
    again = tmp_path / "again.tar"
    ours(tmp_path / "s0", "export", NAME, "-o", again)
    skopeo("copy", f"oci-archive:{again}", f"dir:{tmp_path / 'dir'}")


def test_we_import_a_layout_that_skopeo_writes(exported: Path, tmp_path: Path) -> None:
    skopeo("copy", f"oci-archive:{exported}", f"oci:{tmp_path / 'layout'}:{NAME}")
    said = ours(tmp_path / "s", "import", tmp_path / "layout").decode()
    assert said == f"{NAME} {IMAGE.digest}\n"


def test_containerd_takes_what_we_export(daemon: Live, exported: Path) -> None:
    daemon.output("images", "import", "--no-unpack", str(exported))
    assert f"{NAME} " in daemon.output("images", "ls").decode()
    check = daemon.output("images", "check", f"name=={NAME}").decode()
    assert "complete (3/3)" in check
    daemon.output("images", "rm", NAME)


def test_we_import_what_containerd_exports(daemon: Live, exported: Path, tmp_path: Path) -> None:
    daemon.output("images", "import", "--no-unpack", str(exported))
    theirs = tmp_path / "theirs.tar"
    daemon.output("images", "export", str(theirs), NAME)
    daemon.output("images", "rm", NAME)
    assert ours(tmp_path / "s", "import", theirs).decode() == f"{NAME} {IMAGE.digest}\n"
    assert ours(tmp_path / "s", "export", NAME, given=b"")
    assert archived_blobs(theirs.read_bytes()).keys() >= BLOBS.keys()


def _there(daemon: Live) -> set[str]:
    return set(daemon.output("content", "ls", "-q").decode().split())


def test_into_a_containerd_and_out_of_it(daemon: Live, exported: Path, tmp_path: Path) -> None:
    """What comes in stays as long as its name does, and no longer."""
    socket = f"unix://{daemon.socket}?namespace=default"
    said = ours(socket, "import", exported).decode()
    assert said == f"{NAME} {IMAGE.digest}\n"
    assert "complete (3/3)" in daemon.output("images", "check", f"name=={NAME}").decode()
    assert _there(daemon) >= BLOBS.keys()
    assert ours(socket, "export", NAME) == exported.read_bytes()
    told = ours(socket, "images", "--remove", NAME, "--dry-run").decode()
    assert "blobs (2.53 MB) of this image: the daemon's next garbage collection" in told
    assert ours(socket, "images", "--remove", NAME, "--yes").decode() == f"{NAME}\n"
    await_true(lambda: not _there(daemon) & BLOBS.keys())


def test_a_pull_into_a_containerd_stays_as_long_as_its_name(daemon: Live) -> None:
    socket = f"unix://{daemon.socket}?namespace=default"
    with Registry() as registry:
        name = registry.add(IMAGE, "team/web:v1")
        assert ours(socket, "pull", name).decode() == f"{IMAGE.digest}\n"
    assert "complete (3/3)" in daemon.output("images", "check", f"name=={name}").decode()
    assert _there(daemon) >= BLOBS.keys()
    daemon.output("images", "rm", "--sync", name)
    await_true(lambda: not _there(daemon) & BLOBS.keys())


def test_a_missing_daemon_is_reported(daemon: Live, exported: Path) -> None:
    socket = f"unix://{daemon.socket}?namespace=default"
    ours(socket, "import", exported)
    words = ["-m", "contentui", "--store", socket, "images", "--remove", NAME]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no terminal to ask on" in done.stderr
    assert _there(daemon) >= BLOBS.keys()
