"""The lines of a transfer where standard error is no terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from contentui.cli.transfer_view import TransferView
from contentui.content.digest import Digest
from contentui.content.model import Descriptor
from contentui.transfers.model import FREE_CONNECTION, Part, Phase, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 100_000_000


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def part_of(number: int, phase: Phase, offset: int = 0, message: str = "") -> Part:
    digest = Digest.of(str(number).encode())
    return Part(Descriptor("x", digest, SIZE), f"layer-{digest}", phase, offset, message=message)


def show(view: TransferView, clock: Clock, seconds: float, *parts: Part) -> None:
    clock.now += seconds
    view(Transfer("pull", "r.lan/a:v1", 1, 1, parts))


def wait_of(left: int, attempt: int = 2, why: str = "connection reset, r.lan") -> str:
    return f"retrying in {left}s ({attempt}/6): {why}"


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capfd.readouterr().err.splitlines()


def test_a_line_for_each_layer_and_none_for_its_steps(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    view = TransferView("plain", clock)
    show(view, clock, 0, *(part_of(n, Phase.WAITING, message=FREE_CONNECTION) for n in range(201)))
    for number in range(201):
        for phase in (Phase.DOWNLOADING, Phase.VERIFYING, Phase.DONE):
            offset = 0 if phase is Phase.DOWNLOADING else SIZE
            show(view, clock, 0.01, part_of(number, phase, offset))
    found = lines()
    assert len(found) == 201
    assert all("done" in line for line in found)


def test_a_line_for_each_wait_and_no_countdown(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    view = TransferView("plain", clock)
    for attempt in (2, 3):
        for left in (4, 3, 2, 1):
            show(view, clock, 1, part_of(1, Phase.RETRYING, 5, wait_of(left, attempt)))
    show(view, clock, 1, part_of(1, Phase.DOWNLOADING, 10))
    show(view, clock, 1, part_of(1, Phase.RETRYING, 10, wait_of(1)))
    show(view, clock, 1, part_of(1, Phase.DONE, SIZE))
    found = lines()
    assert [line.split(": ", 1)[1][:44] for line in found[:3]] == [
        "retrying in 4s (2/6): connection reset, r.la",
        "retrying in 4s (3/6): connection reset, r.la",
        "retrying in 1s (2/6): connection reset, r.la",
    ]
    assert len(found) == 4


def test_a_long_layer_shows_that_it_moves(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    view = TransferView("plain", clock)
    for second in range(95):
        show(view, clock, 1, part_of(1, Phase.DOWNLOADING, second * 1_000_000))
    found = lines()
    assert len(found) == 3
    assert all("MB/s" in line for line in found)


def test_json_lines_have_no_countdown_either(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    view = TransferView("json", clock)
    for left in (4, 3, 2, 1):
        show(view, clock, 1, part_of(1, Phase.RETRYING, 5, wait_of(left)))
    for second in range(5):
        show(view, clock, 1, part_of(1, Phase.DOWNLOADING, 10 + second))
    found = [json.loads(line) for line in lines()]
    assert [each["phase"] for each in found] == ["retrying", *["downloading"] * 5]
