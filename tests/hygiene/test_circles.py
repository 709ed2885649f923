"""No module imports itself through others: each can be read, and imported, before its users."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "contentui").rglob("*.py")
}
TYPES_ONLY = [
    {
        "contentui.tui.app",
        "contentui.tui.operations",
        "contentui.tui.screens.dashboard",
        "contentui.tui.screens.open_detail",
    },
    {"contentui.stores.local.copier", "contentui.stores.local.data"},
]
"""Circles that only annotations close: an object and the part that it makes and passes itself."""


class _Imports(ast.NodeVisitor):
    """The modules of ours that a module imports, inside functions too."""

    def __init__(self, *, types: bool) -> None:
        self.types = types
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if self.types or "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            inner = f"{node.module}.{name.name}"
            self.found.add(inner if inner in MODULES else str(node.module))


def imports(path: Path, *, types: bool) -> set[str]:
    visitor = _Imports(types=types)
    visitor.visit(ast.parse(path.read_text()))
    return visitor.found & MODULES.keys()


def circle(graph: dict[str, set[str]]) -> set[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return set(error.args[1])
    return set()


@pytest.mark.parametrize("types", [False, True])
def test_no_module_imports_itself_through_others(types: bool) -> None:
    graph = {name: imports(path, types=types) - {name} for name, path in MODULES.items()}
    for known in TYPES_ONLY if types else ():
        for name in known & graph.keys():
            graph[name] -= known
    assert not circle(graph)


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a", "b", "c"}
