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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_glyphs_are_more_than_ascii(path):
    tree = ast.parse(path.read_text())
    documents = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # docstrings
    lines = path.read_text().splitlines()
    found = [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documents
        and any(not line.isascii() for line in lines[node.lineno - 1 : node.end_lineno])
        and not node.value.isascii()
    ]
    assert path.name == "glyphs.py" or found == []
