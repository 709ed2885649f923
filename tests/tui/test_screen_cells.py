"""Only changed cells are written: checked on a small model of a terminal."""

import io
import random
import re

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from contentui.tui.screen_cells import PLAIN, ScreenCells, transition

WIDTH, HEIGHT = 20, 4
SEQUENCE = re.compile(r"\x1b\[([\d;]*)([Hm])")
STYLES = [
    Style(color="#ff0000", bgcolor="#101010"),
    Style(color="#ff0000", bgcolor="#202020", bold=True),
    Style(color="red", dim=True),
    Style(reverse=True),
    Style(),
]


class Terminal:
    """Cells with the SGR codes in force; a wide character has an empty cell after it."""

    def __init__(self):
        self.cells = {}
        self.x = self.y = 0
        self.codes = {"attributes": frozenset(), "38": "39", "48": "49"}

    def write(self, text):
        place = 0
        while place < len(text):
            if found := SEQUENCE.match(text, place):
                self.obey(found[1], found[2])
                place = found.end()
                continue
            char = text[place]
            place += 1
            width = get_character_cell_size(char)
            codes = tuple(self.codes.values())
            for column in range(width):
                self.cells[self.y, self.x + column] = ("" if column else char, codes)
            self.x += width

    def obey(self, arguments, kind):
        if kind == "H":
            self.y, self.x = (int(word) - 1 for word in arguments.split(";"))
            return
        words = arguments.split(";")
        while words:
            word = words.pop(0)
            if word in ("", "0"):
                self.codes = {"attributes": frozenset(), "38": "39", "48": "49"}
            elif word in ("38", "48"):
                count = 4 if words[0] == "2" else 2
                self.codes[word] = ";".join([word, *words[:count]])
                del words[:count]
            elif 30 <= int(word) <= 39 or 90 <= int(word) <= 97:
                self.codes["38"] = word
            elif 40 <= int(word) <= 49 or 100 <= int(word) <= 107:
                self.codes["48"] = word
            else:
                self.codes["attributes"] |= {word}


def console():
    return Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")


def random_strip(chance, chars="ab│▏é日 "):
    segments, room = [], WIDTH
    while room:
        text = ""
        for _ in range(chance.randint(1, 6)):
            char = chance.choice(chars)
            if (width := get_character_cell_size(char)) <= room:
                text += char
                room -= width
        if text:
            segments.append(Segment(text, chance.choice(STYLES)))
    return Strip(segments, WIDTH)


def layout(lines):
    return LayoutUpdate([[line] for line in lines], Region(0, 0, WIDTH, HEIGHT))


def test_the_terminal_shows_what_whole_lines_would_show():
    chance = random.Random(7)
    cells, shown = ScreenCells(), Terminal()
    lines = [random_strip(chance) for _ in range(HEIGHT)]
    for _ in range(300):
        lines[chance.randrange(HEIGHT)] = random_strip(chance)
        y, first = chance.randrange(HEIGHT), chance.randrange(WIDTH)
        if chance.random() < 0.5:
            update = layout(lines)
        else:
            update = ChopsUpdate(
                [{0: line} for line in lines], [(y, first, WIDTH)], [[WIDTH]] * HEIGHT
            )
        if changes := cells.changes(update, console()):
            shown.write(changes.render_segments(console()))
        shown.write(getattr(cells.changes(layout(lines), console()), "sequence", ""))
        expected = Terminal()
        fresh = ScreenCells().changes(layout(lines), console())
        expected.write(fresh.sequence)
        assert shown.cells == expected.cells


def test_an_equal_frame_writes_nothing():
    cells = ScreenCells()
    lines = [random_strip(random.Random(y)) for y in range(HEIGHT)]
    assert cells.changes(layout(lines), console()) is not None
    assert cells.changes(layout(lines), console()) is None
    cells.forget()
    assert cells.changes(layout(lines), console()) is not None


def test_one_changed_cell_writes_one_cell():
    style = Style(color="#aabbcc", bgcolor="#112233")
    cells = ScreenCells()
    cells.changes(layout([Strip([Segment("12:00:01".ljust(WIDTH), style)])] * HEIGHT), console())
    changed = cells.changes(layout([Strip([Segment("12:00:02".ljust(WIDTH), style)])]), console())
    assert changed.sequence == "\x1b[1;8H\x1b[38;2;170;187;204;48;2;17;34;51m2\x1b[m"


def test_a_colour_that_stays_is_not_set_again():
    cells = ScreenCells()
    same = {"color": "#aabbcc", "bgcolor": "#112233"}
    segments = [Segment("a", Style(**same)), Segment("b", Style(**same, bold=True))]
    changed = cells.changes(layout([Strip(segments)]), console())
    assert changed.sequence.count("38;2;") == 1
    assert transition(PLAIN, PLAIN) == ""


def test_colours_are_those_that_the_terminal_has():
    plain = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    assert plain._color_system is ColorSystem.STANDARD
    changed = ScreenCells().changes(layout([Strip([Segment("a", STYLES[0])])]), plain)
    assert "38;2" not in changed.sequence
