import pytest
from rich.cells import cell_len
from table_rows import HOSTILE, NOW, SECOND, blob, ingest
from textual.app import App

from contentui.content.digest import Digest
from contentui.content.model import Holder, Liveness
from contentui.index.model import Referrer
from contentui.monitor.states import IngestState
from contentui.present.detail import detail_fields
from contentui.tui.detail import DetailPane, Field, lay_out

REASON = "Stalled: a live writer holds it. Wait, or abort it."
STALLED = ingest(
    "layer-" + "x" * 200, 1_900_412_928, 3_912_044_032, state=IngestState.STALLED, reason=REASON,
    age=2460, silent=2280, holder=Holder(2231, 0, "/usr/bin/evil\x1b[2J --x", NOW - 60 * SECOND),
)  # fmt: skip


def test_an_ingest_is_told_whole():
    told = dict(detail_fields(STALLED, NOW, [1.0, 2.0]))
    assert told["ref"] == "layer-" + "x" * 200
    assert told["offset"] == "1,900,412,928 of 3,912,044,032 bytes (48.6%)"
    assert told["updated"].startswith("38m ago, 20")
    assert told["holder"].startswith("pid 2231 (/usr/bin/evil\\x1b[2J --x), since 1m")
    assert told["on disk"] == f"ingest/{STALLED.status.id}/"
    assert told["history"] == "▄█"


def test_what_is_unknown_is_said():
    told = dict(detail_fields(ingest("r", 5, 0, liveness=Liveness.UNKNOWN), NOW))
    assert told["holder"].startswith("unknown: that can't be seen from here; root ")
    assert "undeclared" in told["offset"]
    assert dict(detail_fields(ingest("r", liveness=Liveness.FREE), NOW))["holder"] == "none"
    told = dict(detail_fields(ingest("", damage="no ref\nfile"), NOW))
    assert told["argument"].startswith("id:")
    assert told["damage"] == "no ref\\nfile"


def test_a_blob_is_told_whole():
    by = Digest.of(b"m")
    row = blob(
        1, 34_300_000, referrers=(Referrer("image", "redis\x1b"), Referrer("manifest", "index", by))
    )
    lines = detail_fields(row, NOW)
    told = dict(lines)
    assert told["size"] == "34,300,000 bytes (34.3 MB)"
    assert ("used by", "image redis\\x1b") in lines
    assert ("", f"manifest index ({by})") in lines
    assert "may be needed" in dict(detail_fields(blob(1, referrers=None), NOW))["used by"]
    many = blob(1, referrers=(Referrer("image", "x"),) * 5000)
    assert ("", "and 4,900 more") in detail_fields(many, NOW)


@pytest.mark.parametrize("width", [20, 38, 60, 78, 120, 200])
def test_fields_are_wrapped_and_never_cut(width):
    fields = [Field(label, value) for label, value in detail_fields(STALLED, NOW, [1.0] * 60)]
    lines = list(lay_out(fields, width))
    assert all(sum(cell_len(text) for text, _ in line) <= width + 2 for line in lines)
    kept = "".join(text for line in lines for text, word in line if word != "label")
    for _, value in detail_fields(STALLED, NOW, [1.0] * 60):
        assert value.replace(" ", "") in kept.replace(" ", "")


def test_short_fields_share_a_line():
    lines = list(lay_out([Field("a", "1"), Field("b", "2"), Field("c", "x" * 90)], 78))
    assert len(lines) == 3
    assert len(lines[0]) == 4


class DetailApp(App):
    def compose(self):
        yield DetailPane()


async def test_the_pane_shows_hostile_rows_and_scrolls():
    app = DetailApp()
    async with app.run_test(size=(80, 6)) as pilot:
        pane = app.query_one(DetailPane)
        for ref in HOSTILE:
            pane.show_ingest(ingest(ref), [], NOW)
            await pilot.pause()
            for y in range(6):
                strip = pane.render_line(y)
                assert cell_len(strip.text) == pane.size.width
                assert not any(c in strip.text for c in "\x1b\x07\x9b\u202e\n")
        pane.show_ingest(STALLED, [1.0], NOW)
        await pilot.pause()
        assert REASON in pane.render_line(0).text
        assert pane.max_scroll_y > 0
        assert "layer-x" in pane.plain
        pane.show_blob(blob(2), NOW)
        await pilot.pause()
        assert str(blob(2).info.digest)[:60] in pane.render_line(0).text
        pane.show_nothing("[/nope]\nnothing")
        assert pane.plain == "[/nope]\nnothing"
