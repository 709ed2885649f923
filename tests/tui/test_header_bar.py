import math

import pytest
from rich.cells import cell_len
from table_rows import NOW, SECOND, blob, ingest
from textual.app import App

from contentui.content.model import Liveness, Usage
from contentui.monitor.model import Freshness, Health, StoreView
from contentui.monitor.states import IngestState
from contentui.tui.header import HeaderBar, fit_parts, header_parts

HISTORY = tuple(1e7 * (1 + math.sin(i / 9)) for i in range(300))


def store_view(counts=None, **more):
    values = {
        "seq": 1,
        "taken_ns": NOW,
        "source": "/run/containerd/containerd.sock namespace \x1b[31mk8s.io",
        "read_only_reason": "",
        "ingests": (ingest("a"),),
        "blobs": (),
        "counts": counts or {IngestState.MOVING: 5},
        "blob_bytes": 18_200_000_000,
        "rate": 22.6e6,
        "history": HISTORY,
        "health": Health(Freshness.LIVE),
        "usage": Usage(10**12, 5 * 10**11),
    }
    return StoreView(**(values | more))


def said(snap, width=200, paused=False, now_ns=NOW):
    return "  ".join(part.text for part in fit_parts(header_parts(snap, now_ns, paused), width))


def test_wide_says_everything():
    text = said(
        store_view({IngestState.MOVING: 5, IngestState.STALLED: 1}, read_only_reason="x"),
        paused=True,
    )
    for words in (
        "▸ live", "read-only", "◌ 1 stalled", "▸ 5 moving", "0 blobs · 18.2 GB", "500 GB free",
        "22.6 MB/s", "paused", "\\x1b[31mk8s.io",
    ):  # fmt: skip
        assert words in text
    assert "\x1b" not in text


def test_trouble_outlasts_everything_on_a_narrow_screen():
    counts = {IngestState.MOVING: 4, IngestState.STALLED: 2, IngestState.ABANDONED: 1}
    text = said(store_view(counts), 80)
    for words in ("2 stalled", "1 abandoned", "22.6 MB/s"):
        assert words in text
    counts |= {IngestState.DAMAGED: 3, IngestState.POISONED: 1}
    text = said(store_view(counts), 80)
    for words in ("2 stalled", "1 abandoned", "3 damaged", "1 poisoned"):
        assert words in text
    assert "3 damaged" in said(store_view(counts), 14)


def test_an_old_picture_and_a_full_disk_are_trouble_too():
    stale = store_view(health=Health(Freshness.STALE, "gone", NOW - 4 * SECOND))
    assert "✕ stale 4s" in said(stale, 30)
    assert "free" in said(store_view(usage=Usage(1000, 10)), 40)
    assert "▹ polling" in said(store_view(health=Health(Freshness.POLLING)))


@pytest.mark.parametrize("width", range(1, 220, 3))
def test_parts_fit(width):
    counts = dict.fromkeys(IngestState, 12_345)
    parts = fit_parts(header_parts(store_view(counts), NOW, True), width)
    if len(parts) > 1:
        assert sum(cell_len(part.text) + 2 for part in parts) <= width


class HeaderApp(App):
    def compose(self):
        yield HeaderBar()


async def test_the_line_is_as_wide_as_the_screen_and_keeps_its_graph():
    app = HeaderApp()
    async with app.run_test(size=(160, 10)) as pilot:
        header = app.query_one(HeaderBar)
        for width in (60, 80, 97, 120, 160, 200):
            await pilot.resize_terminal(width, 10)
            while header.size.width != width:
                await pilot.pause()
            header.show(store_view(), NOW, paused=True)
            strip = header.render_line(0)
            assert cell_len(strip.text) == width
            assert strip.text.rstrip().endswith("22.6 MB/s")
            assert all(segment.style is not None for segment in strip)
        assert "▆" in strip.text


def test_what_is_still_being_listed_is_no_total():
    blobs = tuple(blob(str(number)) for number in range(1001))
    assert "1,001 blobs · 18.2 GB" in said(store_view(blobs=blobs))
    assert "1,001+ blobs · 18.2 GB+" in said(store_view(blobs=blobs, is_loading=True))
    assert "… blobs  " in said(store_view(is_loading=True, blob_bytes=0))


def test_a_rate_that_is_not_known_yet_is_no_zero():
    assert said(store_view(rate=None)).endswith("…")


def test_bytes_that_move_without_a_moving_row_count_as_moving():
    assert "▸ moving" in said(store_view({IngestState.COMPLETE: 1}, rate=1000.0))
    assert "▸ 0 moving" in said(store_view({IngestState.COMPLETE: 1}, rate=0.0))


def test_what_cannot_be_known_is_told_once_in_the_header():
    unknown = ingest("a", liveness=Liveness.UNKNOWN)
    assert "? holders" in said(store_view(ingests=(unknown, unknown)))
    assert "? holders" not in said(store_view(ingests=(unknown, ingest("b"))))
    assert "? holders" not in said(store_view(ingests=()))
