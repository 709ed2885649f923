"""What a store can do is read from its declared roles, and never guessed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = ("store", "reader", "writer", "images", "role")
"""How a variable that holds a store, or a part of one, ends its name."""
EXCEPTIONS = {
    ("stores/directory.py", "isinstance"),  # fsck: which of the stores is the directory itself
    ("remotes/credentials.py", "isinstance"),  # Docker's credsStore, a text
}


def guesses(path: Path) -> set[tuple[str, str]]:
    """The functions by which a file asks an object of the contract what it has."""
    name = path.relative_to(ROOT / "contentui").as_posix()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            found.add((name, "__getattr__"))
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        asked = ast.unparse(node.args[0]).rpartition(".")[2].lower()
        if node.func.id in {"getattr", "hasattr", "isinstance"} and asked.endswith(CONTRACT):
            found.add((name, node.func.id))
    return found


def test_the_check_sees_a_guess(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "contentui").mkdir()
    file = tmp_path / "contentui" / "x.py"
    file.write_text("hasattr(self._store, 'a') or isinstance(reader, B) or getattr(error, 'c')")
    assert guesses(file) == {("x.py", "hasattr"), ("x.py", "isinstance")}


@pytest.mark.parametrize("path", sorted((ROOT / "contentui").rglob("*.py")), ids=lambda p: p.name)
def test_no_file_guesses_what_a_store_has(path):
    assert guesses(path) - EXCEPTIONS == set()
