"""UTF-8 or ASCII, by the locale that the user set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.cells import cell_len

from contentui.glyphs import ASCII, UTF8, ascii_cells, locale_name, names_utf8


@pytest.mark.parametrize(
    ("environ", "utf8"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "en_US.ISO-8859-1", "LANG": "en_US.UTF-8"}, False),
        ({"LC_CTYPE": "de_DE.utf8", "LANG": "C"}, True),
        ({"LANG": "de_DE.UTF-8@euro"}, True),
        ({"LANG": "de_DE@euro"}, False),
        ({"LANG": "C", "LC_CTYPE": "UTF-8"}, True),
        ({"LANG": "en_US"}, False),
        ({}, False),
    ],
)
def test_the_locale_decides(environ: dict[str, str], utf8: bool) -> None:
    assert names_utf8(locale_name(environ, environ)) is utf8


def test_what_python_sets_itself_does_not_count() -> None:
    assert locale_name({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, {"LANG": "C"}) == "C"


@pytest.mark.parametrize(
    ("environ", "utf8"),
    [({"LANG": "C"}, "False"), ({}, "False"), ({"LC_ALL": "C"}, "False"),
     ({"LC_ALL": "C.UTF-8"}, "True"), ({"LANG": "C.UTF-8"}, "True"),
     ({"LANG": "C.UTF-8", "PYTHONIOENCODING": "iso-8859-1"}, "False")],
)  # fmt: skip
def test_a_process_decides_once(environ: dict[str, str], utf8: str) -> None:
    code = "from contentui.glyphs import GLYPHS; print(GLYPHS.utf8)"
    without = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=without | environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == utf8


def test_both_sets_have_the_same_names_and_ascii_is_ascii() -> None:
    for name, glyph, plain in zip(UTF8._fields[1:], UTF8[1:], ASCII[1:], strict=True):
        assert str(plain).isascii(), name
        most = {"pending": 3, "paused": 2, "becomes": 2}.get(name, cell_len(str(glyph)))
        assert cell_len(str(glyph)) <= len(str(plain)) <= most, name


def test_states_have_different_shapes() -> None:
    states = (ASCII.moving, ASCII.complete, ASCII.quiet, ASCII.trickle, ASCII.stalled,
              ASCII.abandoned, ASCII.damaged, "?", "!")  # fmt: skip
    assert len(set(states)) == len(states)


def test_what_widgets_draw_keeps_its_width() -> None:
    text = "╭─ Blobs ─╮ ▁▂█ \x1b[31m日本 é\u0301 🔎"
    assert ascii_cells(text).isascii()
    assert cell_len(ascii_cells(text)) == cell_len(text)
    assert ascii_cells("╭─╮│█") == "+-+|#"
    assert ascii_cells("plain \x1b[0m") == "plain \x1b[0m"
