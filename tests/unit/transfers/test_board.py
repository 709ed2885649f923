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
from contentui.transfers.board import Board, Notice, board_of
from contentui.transfers.model import Part, Phase, Transfer

if TYPE_CHECKING:
    from pathlib import Path

D = Digest.of(b"layer")
PART = Part(
    Descriptor("application/x", D, 100), f"layer-{D}", Phase.RETRYING, 40, 10, "retrying", "h:1"
)
TRANSFER = Transfer("pull", "quay.io/a/b:v1", os.getpid(), 5, (PART,), "", "")

CHILD = """
import sys
from contentui.transfers.board import Notice
from contentui.transfers.model import Transfer
with Notice(sys.argv[1]) as tell:
    tell(Transfer("pull", "child", 1, 2))
    print("told", flush=True)
    sys.stdin.read()
"""


def test_a_transfer_is_told_whole_and_gone_with_its_end(tmp_path: Path) -> None:
    board = Board(str(tmp_path / "b"))
    assert board.transfers() == []
    with Notice(str(tmp_path / "b")) as tell:
        tell(TRANSFER)
        assert board.transfers() == [TRANSFER]
        done = TRANSFER._replace(parts=(PART._replace(phase=Phase.DONE, offset=100),))
        tell(done)  # another phase is told at once
        assert board.transfers() == [done]
    assert board.transfers() == []
    assert os.listdir(tmp_path / "b") == []


@pytest.mark.parametrize(("words", "error"), [("waiting for pid 312", ""), ("", "no")])
def test_news_of_the_whole_is_told_at_once(tmp_path: Path, words: str, error: str) -> None:
    begun = Transfer("pull", "a/b:v1", os.getpid(), 1)
    board = Board(str(tmp_path))
    part = Part(Descriptor("", Digest.of(b""), 9), "layer", Phase.WAITING)
    with Notice(str(tmp_path)) as tell:
        for phase in [*Phase] * 20:  # so many changes that the next one of a part must wait
            tell(begun._replace(parts=(part._replace(phase=phase),)))
        told = begun._replace(parts=(part._replace(phase=Phase.DONE),), words=words, error=error)
        tell(told)
        assert board.transfers() == [told]


def test_a_killed_process_tells_nothing_and_is_swept_by_the_next(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"told\n"
    board = Board(str(tmp_path))
    assert [each.image for each in board.transfers()] == ["child"]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert board.transfers() == []
    assert len(os.listdir(tmp_path)) == 2
    with Notice(str(tmp_path)):
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"{", b'{"parts": 3}', b"[" * 100_000, b"\xff"],
)
def test_nonsense_is_no_transfer(tmp_path: Path, text: bytes) -> None:
    with Notice(str(tmp_path)) as tell:
        tell(TRANSFER)
        name = next(name for name in os.listdir(tmp_path) if name.endswith(".json"))
        (tmp_path / name).write_bytes(text)
        assert Board(str(tmp_path)).transfers() == []


def test_a_board_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Notice(str(tmp_path / "file" / "below")) as tell:
        tell(TRANSFER)


def test_where_boards_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert board_of(of_store("/srv/store")) == "/srv/store/.contentui/transfers"
    one = board_of(of_store("unix:///run/containerd/containerd.sock?namespace=a"))
    assert one.startswith("/run/user/1/contentui/transfers/")
    assert one == board_of(of_store("unix:///run/containerd/containerd.sock"))
