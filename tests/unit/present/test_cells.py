"""The width of text, which must be what Rich paints."""

from __future__ import annotations

import sys
from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len as rich_cell_len

from contentui.present.cells import cell_len
from contentui.text import visible


def test_every_character_is_as_wide_as_rich_paints_it():
    """Rich may know a newer Unicode than Python: what Python has not assigned is left out."""
    chars = (chr(code) for code in range(sys.maxunicode + 1))
    shown = [char for char in chars if category(char) != "Cn" and visible(char) == char]
    assert [char for char in shown if cell_len(char) != rich_cell_len(char)] == []


@given(st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=40))
def test_every_text_is_as_wide_as_rich_paints_it(text):
    text = visible(text)
    assert cell_len(text) == rich_cell_len(text)
