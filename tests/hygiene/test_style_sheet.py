"""The style sheet of the dashboard names widgets, ids and classes that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TUI = Path(__file__).parents[2] / "contentui/tui"
SHEET = re.sub(r"/\*.*?\*/|\{.*?\}", " ", (TUI / "app.tcss").read_text(), flags=re.DOTALL)
CODE = "\n".join(path.read_text() for path in TUI.rglob("*.py"))
TEXTUAL = {"Screen", "Button", "Input", "Static"}


def names(pattern: str) -> list[str]:
    return sorted(set(re.findall(pattern, SHEET)))


@pytest.mark.parametrize("name", names(r"(?<![\w#.:-])[A-Z]\w+"))
def test_a_widget_of_the_style_sheet_exists(name):
    assert name in TEXTUAL or re.search(rf"^class {name}\(", CODE, re.MULTILINE)


@pytest.mark.parametrize("name", names(r"(?<=[#.])[a-z][\w-]*"))
def test_an_id_or_class_of_the_style_sheet_is_used(name):
    # Component classes are made from the names of styles: ``live-table--bad``.
    assert f'"{name}"' in CODE or f'"{name.rpartition("--")[2]}"' in CODE, name


def test_every_screen_over_the_dashboard_shows_the_dashboard_behind_it():
    [overlays] = re.findall(r"[^}]*\bPlanScreen, [^{]*", SHEET)
    screens = re.findall(r"^class (\w+)\(ModalScreen\b", CODE, re.MULTILINE)
    assert screens
    assert [name for name in screens if name not in overlays] == []
