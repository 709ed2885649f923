"""The documented command for trying out: a containerd on our store, and nothing left afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from interop_live import await_true, unavailable
from on_ours import answers
from registries import all_blobs, archive_of

from contentui.demo.unpackable import make_unpackable

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/containerd-on-ours.sh"
IMAGE = make_unpackable(5, [10_000])


@pytest.fixture
def env(short_tmp: Path) -> dict[str, str]:
    for tool in ("containerd", "ctr"):
        if shutil.which(tool) is None:
            unavailable(f"{tool} is not installed (apt install containerd)")
    if os.geteuid() != 0:
        unavailable("containerd needs root")
    here = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PLACE": str(short_tmp / "try"),
    }


def trying(env: dict[str, str], script: str, given: bytes = b"") -> bytes:
    argv = ["sh", str(SCRIPT), "sh", "-euc", script]
    done = subprocess.run(argv, env=env, input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout


def test_it_imports_into_our_store_and_leaves_nothing(env: dict[str, str]) -> None:
    listed = trying(
        env,
        'ctr images import --snapshotter native - >/dev/null; ls "$PLACE/store/blobs/sha256"; '
        "ctr images check -q; ctr plugins ls | grep io.containerd.content.v1",
        archive_of(IMAGE, "localhost/tried:1"),
    ).decode()
    for digest in all_blobs(IMAGE):
        assert digest.removeprefix("sha256:") in listed
    assert "localhost/tried:1" in listed
    assert "contentui" in listed
    assert not Path(env["PLACE"]).exists()


def test_it_passes_on_how_the_command_ended(env: dict[str, str]) -> None:
    done = subprocess.run(["sh", str(SCRIPT), "false"], env=env, check=False, timeout=60)
    assert done.returncode == 1
    assert not Path(env["PLACE"]).exists()


def test_it_cleans_up_when_it_is_ended(env: dict[str, str]) -> None:
    place = Path(env["PLACE"])
    running = subprocess.Popen(["sh", str(SCRIPT), "sleep", "60"], env=env, start_new_session=True)
    await_true(lambda: answers(place / "containerd.sock"))
    os.killpg(running.pid, signal.SIGTERM)  # as a terminal that closes does to all of them
    assert running.wait(20) in (143, -signal.SIGTERM)
    assert not place.exists()


def test_it_does_not_start_over_another_one(env: dict[str, str]) -> None:
    place = Path(env["PLACE"])
    place.mkdir()
    done = subprocess.run(
        ["sh", str(SCRIPT), "true"], env=env, capture_output=True, text=True, check=False
    )
    place.rmdir()  # nothing was put there
    assert done.returncode == 1
    assert "exists: stop what runs there" in done.stderr


def test_it_is_the_documented_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    documented = (ROOT / "docs/containerd.md").read_text()
    assert f"sh {SCRIPT.relative_to(ROOT)} $(ARGS)" in makefile
    assert "sudo make containerd" in documented
    assert str(SCRIPT.relative_to(ROOT)) in documented
