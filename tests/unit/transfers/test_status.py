from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contentui.content.digest import Digest
from contentui.content.model import Descriptor
from contentui.stores.source import of_store
from contentui.transfers.model import Part, Phase, Transfer
from contentui.transfers.status import (
    TransferStatusReader,
    TransferStatusWriter,
    status_directory,
)

if TYPE_CHECKING:
    from pathlib import Path

D = Digest.of(b"layer")
PART = Part(
    Descriptor("application/x", D, 100), f"layer-{D}", Phase.RETRYING, 40, 10, "retrying", "h:1"
)
TRANSFER = Transfer("pull", "quay.io/a/b:v1", os.getpid(), 5, (PART,), "", "")

CHILD = """
import sys
from contentui.transfers.status import TransferStatusWriter
from contentui.transfers.model import Transfer
with TransferStatusWriter(sys.argv[1]) as write:
    write(Transfer("pull", "child", 1, 2))
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_transfer_is_read_whole_and_gone_with_its_end(tmp_path: Path) -> None:
    reader = TransferStatusReader(str(tmp_path / "b"))
    assert reader.transfers() == []
    with TransferStatusWriter(str(tmp_path / "b")) as write:
        write(TRANSFER)
        assert reader.transfers() == [TRANSFER]
        done = TRANSFER._replace(parts=(PART._replace(phase=Phase.DONE, offset=100),))
        write(done)  # another phase is written at once
        assert reader.transfers() == [done]
    assert reader.transfers() == []
    assert os.listdir(tmp_path / "b") == []


@pytest.mark.parametrize(("message", "error"), [("waiting for pid 312", ""), ("", "no")])
def test_a_change_of_the_whole_is_written_at_once(tmp_path: Path, message: str, error: str) -> None:
    begun = Transfer("pull", "a/b:v1", os.getpid(), 1)
    reader = TransferStatusReader(str(tmp_path))
    part = Part(Descriptor("", Digest.of(b""), 9), "layer", Phase.WAITING)
    with TransferStatusWriter(str(tmp_path)) as write:
        for phase in [*Phase] * 20:  # so many changes that the next one of a part must wait
            write(begun._replace(parts=(part._replace(phase=phase),)))
        changed = begun._replace(
            parts=(part._replace(phase=Phase.DONE),), message=message, error=error
        )
        write(changed)
        assert reader.transfers() == [changed]


def test_the_status_of_a_killed_process_is_ignored_and_removed_by_the_next(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    reader = TransferStatusReader(str(tmp_path))
    assert [each.image for each in reader.transfers()] == ["child"]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert reader.transfers() == []
    assert len(os.listdir(tmp_path)) == 2
    with TransferStatusWriter(str(tmp_path)):
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"{", b'{"parts": 3}', b"[" * 100_000, b"\xff"],
)
def test_nonsense_is_no_transfer(tmp_path: Path, text: bytes) -> None:
    with TransferStatusWriter(str(tmp_path)) as write:
        write(TRANSFER)
        name = next(name for name in os.listdir(tmp_path) if name.endswith(".json"))
        (tmp_path / name).write_bytes(text)
        assert TransferStatusReader(str(tmp_path)).transfers() == []


def test_a_status_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with TransferStatusWriter(str(tmp_path / "file" / "below")) as write:
        write(TRANSFER)


def test_where_status_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert status_directory(of_store("/srv/store")) == "/srv/store/.contentui/transfers"
    one = status_directory(of_store("unix:///run/containerd/containerd.sock?namespace=a"))
    assert one.startswith("/run/user/1/contentui/transfers/")
    assert one == status_directory(of_store("unix:///run/containerd/containerd.sock"))
