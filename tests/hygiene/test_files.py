"""Rules for every source file that no other tool checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "contentui"
SOURCES = sorted(set(PACKAGE.rglob("*.py")) - set(PACKAGE.rglob("*_pb2.py")))
MOST_LINES = 600


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    documented = ast.get_docstring(ast.parse(text))
    assert documented, "the first line is a docstring"
    assert text.startswith('"""')
    assert documented.splitlines()[0].endswith((".", ":"))
