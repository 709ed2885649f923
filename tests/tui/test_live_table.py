import pytest
from rich.cells import cell_len
from table_rows import HOSTILE, NOW, SECOND, blob, ingest
from textual.app import App
from textual.screen import ModalScreen
from textual.widgets import Input

from contentui.monitor.states import IngestState
from contentui.present.columns import BLOB_COLUMNS, INGEST_COLUMNS
from contentui.tui.live_table import LiveTable


class CountingTable(LiveTable):
    """Remembers which lines were drawn."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.drawn = []

    def render_line(self, y):
        self.drawn.append(y)
        return super().render_line(y)


class TableApp(App):
    def __init__(self, columns=INGEST_COLUMNS):
        super().__init__()
        self.table = CountingTable(columns, empty_text="nothing [/nope] here\nrun this")
        self.told = []

    def compose(self):
        yield self.table
        yield Input()

    def on_mount(self):
        self.table.focus()

    def on_live_table_cursor_moved(self, message):
        self.told.append(("cursor", message.key))

    def on_live_table_marks_changed(self, message):
        self.told.append(("marks", message.marks, message.vanished))

    def on_live_table_header_clicked(self, message):
        self.told.append(("header", message.column))

    def on_live_table_chosen(self, message):
        self.told.append(("chosen", message.key))


def rows_of(count):
    return [ingest(f"ref-{n:05}", offset=n) for n in range(count)]


def texts(table):
    return [table.render_line(y).text for y in range(table.size.height)]


def line_with(table, word):
    return next(y for y, text in enumerate(texts(table)) if word in text)


async def drawn_after(pilot, act):
    table = pilot.app.table
    await pilot.pause()
    table.drawn.clear()
    act()
    await pilot.pause()
    return sorted(set(table.drawn))


async def test_the_cursor_stays_with_its_item_and_its_line_when_the_order_changes():
    app = TableApp()
    async with app.run_test(size=(100, 16)) as pilot:
        rows = rows_of(100)
        app.table.show(rows, NOW)
        app.table.cursor_key = rows[50].key
        before = line_with(app.table, "ref-00050")
        app.table.show(list(reversed(rows)), NOW)
        await pilot.pause()
        assert app.table.cursor_key == rows[50].key
        assert app.table.cursor_row is rows[50]
        assert line_with(app.table, "ref-00050") == before
        assert "›ref-00050" in texts(app.table)[before]


async def test_a_view_from_the_top_shows_what_comes_in():
    app = TableApp()
    async with app.run_test(size=(100, 13)) as pilot:
        rows = rows_of(50)
        app.table.show(rows[20:], NOW)
        app.table.visit()
        app.table.show(rows[15:], NOW)
        await pilot.pause()
        assert app.table.cursor_key == rows[20].key
        assert app.table.visible_keys()[0] == rows[15].key
        app.table.show(rows, NOW)  # now the item would leave the screen: follow it
        assert app.table.cursor_key == rows[20].key
        assert rows[20].key in app.table.visible_keys()


async def test_a_table_that_nobody_visited_keeps_its_cursor_on_top():
    app = TableApp()
    async with app.run_test(size=(100, 13)) as pilot:
        other = LiveTable(INGEST_COLUMNS)
        await app.mount(other)
        rows = rows_of(50)
        other.show(rows[20:], NOW)
        other.show(rows, NOW)
        assert other.cursor_key == rows[0].key
        other.focus()
        await pilot.pause()
        other.show(rows[::-1], NOW)
        assert other.cursor_key == rows[0].key


async def test_a_vanished_item_leaves_the_cursor_to_its_neighbour():
    app = TableApp()
    async with app.run_test(size=(100, 16)) as pilot:
        rows = rows_of(5)
        app.table.show(rows, NOW)
        app.table.cursor_key = rows[2].key
        app.table.show([rows[4], rows[3], rows[1], rows[0]], NOW)
        assert app.table.cursor_key == rows[3].key  # the one below, wherever it went
        app.table.show([rows[0], rows[1]], NOW)
        assert app.table.cursor_key in {rows[0].key, rows[1].key}
        app.table.show([], NOW)
        assert app.table.cursor_key is None
        assert app.table.cursor_row is None
        app.table.show(rows, NOW)
        await pilot.pause()
        assert app.told[-1] == ("cursor", rows[0].key)


async def test_marks_are_keys_and_a_vanished_one_is_told():
    app = TableApp()
    async with app.run_test(size=(100, 16)) as pilot:
        rows = rows_of(5)
        app.table.show(rows, NOW)
        app.table.toggle_mark(rows[1].key)
        app.table.toggle_mark(rows[3].key)
        app.table.show(list(reversed(rows)), NOW)
        assert app.table.marked_rows() == [rows[3], rows[1]]
        assert texts(app.table)[line_with(app.table, "ref-00003")].startswith("▌")
        app.table.show(rows[:3], NOW, exists=lambda key: True)
        assert len(app.table.marks) == 2  # filtered away is not gone
        app.table.show(rows[:2], NOW, exists=lambda key: key != rows[3].key)
        await pilot.pause()
        assert app.told[-1] == ("marks", frozenset({rows[1].key}), frozenset({rows[3].key}))


async def test_mark_all_toggles_and_marking_moves_on():
    app = TableApp()
    async with app.run_test(size=(100, 16)):
        rows = rows_of(4)
        app.table.show(rows, NOW)
        app.table.toggle_mark()
        assert app.table.marks == {rows[0].key}
        assert app.table.cursor_key == rows[1].key
        app.table.mark_all()
        assert len(app.table.marks) == 4
        app.table.mark_all()
        assert app.table.marks == set()


async def test_only_lines_that_differ_are_drawn():
    app = TableApp()
    async with app.run_test(size=(100, 24)) as pilot:
        table, rows = app.table, [ingest(f"r{n}", age=100_000) for n in range(200)]
        table.show(rows, NOW)
        assert await drawn_after(pilot, lambda: table.show(list(rows), NOW)) == []
        changed = list(rows)
        changed[4] = ingest("r4", offset=55, age=100_000)
        changed[150] = ingest("r150", offset=55)  # out of sight
        assert await drawn_after(pilot, lambda: table.show(changed, NOW)) == [5]
        same_text = list(changed)
        same_text[7] = ingest("r7", age=100_000)  # another object that looks the same
        assert await drawn_after(pilot, lambda: table.show(same_text, NOW)) == []
        assert await drawn_after(pilot, lambda: table.action_move(1)) == [1, 2]
        assert await drawn_after(pilot, lambda: table.toggle_mark(rows[9].key)) == [10]


async def test_the_clock_repaints_only_what_it_changes():
    app = TableApp()
    async with app.run_test(size=(100, 24)) as pilot:
        table = app.table
        rows = [ingest("young", silent=5, age=5), ingest("old", silent=7200, age=7200)]
        table.show(rows, NOW)
        assert await drawn_after(pilot, lambda: table.touch(NOW + SECOND // 2)) == []
        assert await drawn_after(pilot, lambda: table.touch(NOW + SECOND)) == [1]


async def test_nothing_is_painted_under_a_modal_and_all_is_afterwards():
    app = TableApp()
    async with app.run_test(size=(100, 24)) as pilot:
        table, rows = app.table, rows_of(30)
        table.show(rows, NOW)
        await app.push_screen(ModalScreen())
        changed = [ingest(row.status.ref, offset=99) for row in rows]
        assert await drawn_after(pilot, lambda: table.show(changed, NOW)) == []
        app.pop_screen()
        await pilot.pause()
        assert 5 in await drawn_after(pilot, lambda: table.touch(NOW))
        assert "99%" in texts(table)[5]


async def test_keys_move_and_choose():
    app = TableApp()
    async with app.run_test(size=(100, 13)) as pilot:
        rows = rows_of(100)
        app.table.show(rows, NOW)
        height = app.table.size.height - 1
        for key, place in [
            ("down", 1), ("down", 2), ("up", 1), ("up", 0), ("up", 0), ("pagedown", height - 1),
            ("end", 99), ("down", 99), ("pageup", 100 - height), ("home", 0),
        ]:  # fmt: skip
            await pilot.press(key)
            assert app.table.cursor_key == rows[place].key, key
            assert app.table.cursor_key in app.table.visible_keys()
        await pilot.press("enter")
        assert app.told[-1] == ("chosen", rows[0].key)


async def test_the_header_takes_clicks_and_shows_the_order():
    app = TableApp()
    async with app.run_test(size=(120, 13)) as pilot:
        app.table.show(rows_of(3), NOW)
        app.table.sort_by("rate", True)
        header = texts(app.table)[0]
        assert "↓RATE" in header
        for title, key in [("REF", "ref"), ("OFFSET", "offset"), ("STATE", "state")]:
            await pilot.click(app.table, offset=(header.index(title) + 1, 0))
            assert app.told[-1] == ("header", key)
        for column in INGEST_COLUMNS:
            app.table.sort_by(column.key, False)
            assert cell_len(texts(app.table)[0]) == 120
            assert (
                f"↑{column.title}" in texts(app.table)[0]
                or f"{column.title}↑" in texts(app.table)[0]
            )


async def test_the_mouse_selects_marks_and_scrolls_with_the_cursor():
    app = TableApp()
    async with app.run_test(size=(100, 13)) as pilot:
        rows = rows_of(100)
        app.table.show(rows, NOW)
        await pilot.click(app.table, offset=(10, 3))
        assert app.table.cursor_key == rows[2].key
        await pilot.click(app.table, offset=(0, 4))
        assert app.table.marks == {rows[3].key}
        await pilot.click(app.table, offset=(10, 5), times=2)
        assert app.told[-1] == ("chosen", rows[4].key)
        for _ in range(4):
            app.table._wheel(3)
        assert app.table.visible_keys()[0] == rows[12].key
        assert app.table.cursor_key in app.table.visible_keys()


@pytest.mark.parametrize("columns", [INGEST_COLUMNS, BLOB_COLUMNS])
async def test_no_line_is_ever_wider_or_narrower_than_the_table(columns):
    app = TableApp(columns)
    async with app.run_test(size=(60, 30)) as pilot:
        if columns is INGEST_COLUMNS:
            rows = [
                ingest(ref, 10**n, 10**18, rate=10.0**n, age=10**n) for n, ref in enumerate(HOSTILE)
            ]
        else:
            rows = [blob(n, 10**n, age=10**n) for n in range(12)]
        for width in (*range(1, 60, 7), *range(60, 201, 5)):
            await pilot.resize_terminal(width, 30)
            app.table.show(list(rows), NOW)
            for y in range(app.table.size.height):
                strip = app.table.render_line(y)
                assert sum(cell_len(s.text) for s in strip) == app.table.size.width
                assert all(s.style is not None for s in strip)


async def test_hostile_names_reach_no_terminal():
    app = TableApp()
    async with app.run_test(size=(160, 30)) as pilot:
        app.table.show([ingest(ref) for ref in HOSTILE], NOW)
        await pilot.pause()
        shown = "".join(texts(app.table))
        for bad in "\x1b\x07\x9b\x85\u202e\u2066\n\r\t\u200b\ufeff\u200d\udcff":
            assert bad not in shown
        assert "[/nope] [bold red]markup[/]" in shown
        assert "evil\\x1b]0;title" in shown


async def test_empty_says_why_and_leaves_nothing_behind():
    app = TableApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.table.show([], NOW)
        assert "nothing [/nope] here" in "".join(texts(app.table))
        app.table.show(rows_of(2), NOW)
        drawn = await drawn_after(pilot, lambda: None)
        assert "nothing" not in "".join(texts(app.table))
        app.table.show([], NOW)
        middle = line_with(app.table, "nothing")
        drawn = await drawn_after(pilot, lambda: app.table.show(rows_of(2), NOW))
        assert {1, 2, middle, middle + 1} <= set(drawn)


async def test_the_cursor_is_seen_without_focus_and_without_colours():
    app = TableApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.table.show([ingest("a", 90), ingest("b")], NOW)
        await pilot.pause()
        focused = app.table.render_line(1)._segments[2].style
        app.screen.query_one(Input).focus()
        await pilot.pause()
        blurred = app.table.render_line(1)._segments[2].style
        plain = app.table.render_line(2)._segments[2].style
        assert len({focused.bgcolor, blurred.bgcolor, plain.bgcolor}) == 3
        app.theme = "ansi-dark"
        app.table.focus()
        await pilot.pause()
        strip = app.table.render_line(1)
        assert strip._segments[2].style.reverse
        bar = next(segment for segment in strip if "█" in segment.text)
        assert not bar.style.reverse  # or it would show what is missing
        assert "›" in texts(app.table)[1]


async def test_a_scroll_indicator_comes_only_when_needed():
    app = TableApp()
    async with app.run_test(size=(100, 13)):
        app.table.show(rows_of(3), NOW)
        assert "▐" not in "".join(texts(app.table))
        app.table.show(rows_of(1000), NOW)
        assert texts(app.table)[1].endswith("▐")
        app.table.action_edge(1)
        assert texts(app.table)[-1].endswith("▐")
        assert not texts(app.table)[1].endswith("▐")


async def test_each_verdict_is_a_word_and_a_shape():
    app = TableApp()
    async with app.run_test(size=(80, 24)):
        app.table.show([ingest(v.name, state=v) for v in IngestState], NOW)
        shown = "\n".join(texts(app.table))
        for word in (
            "▸ moving",
            "✓ complete",
            "◌ stalled",
            "✕ abandoned",
            "! poisoned",
            "⊗ damaged",
        ):
            assert word in shown


async def test_a_second_later_only_lines_with_a_duration_are_drawn():
    rows = [
        ingest("moving"),
        ingest("stalled", state=IngestState.STALLED, silent=40, age=7200),
        ingest("old", age=7200, silent=7200),
    ]
    app = TableApp()
    async with app.run_test(size=(120, 10)) as pilot:
        app.table.show(rows, NOW)
        await pilot.pause()
        app.table.drawn.clear()
        app.table.touch(NOW + SECOND // 2)
        await pilot.pause()
        assert app.table.drawn == []
        app.table.touch(NOW + SECOND)
        await pilot.pause()
        drawn = set(app.table.drawn)
        assert drawn == {line_with(app.table, "moving"), line_with(app.table, "stalled")}
