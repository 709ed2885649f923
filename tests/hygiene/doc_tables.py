"""The tables of keys, verbs and exit codes in docs/, made from the code.

Run as a program, this module writes them (``make tables``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from contentui.cli import commands, exits
from contentui.tui.commands import COMMANDS, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCS = Path(__file__).parents[2] / "docs"

_KEY_NAMES = {"question_mark": "?", "slash": "/", "asterisk": "*", "escape": "esc", "upper_s": "S"}
_EXIT = re.compile(r"^  (\S+) {2}(.*)$", re.MULTILINE)


def keys_table() -> str:
    """Every key of the dashboard, as `contentui.tui.commands` binds them."""
    rows = [
        (GROUPS[command.group], _keys(command.keys), command.name, command.help)
        for command in COMMANDS
    ]
    return _table(("where", "key", "name", "what it does"), _without_repeats(rows))


def verbs_table() -> str:
    """Every command of the command line."""
    rows = [
        (title, f"`{name}`", command.described)
        for title, group in commands.GROUPS.items()
        for name, command in group.items()
    ]
    return _table(("on", "verb", "what it does"), _without_repeats(rows))


def exits_table() -> str:
    """The exit codes, as ``--help`` prints them."""
    rows = [(f"`{code}`", meaning) for code, meaning in _EXIT.findall(exits.TABLE)]
    return _table(("code", "meaning"), rows)


TABLES = {
    "keys": ("dashboard.md", keys_table),
    "verbs": ("cli.md", verbs_table),
    "exit codes": ("cli.md", exits_table),
}
"""The name of each table, its page, and the function that makes it."""


def find_table(name: str, text: str) -> re.Match[str]:
    """The lines of a table: those between its two comments. Raises SystemExit without them."""
    found = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"no page has the comments for the table of {name}")
    return found


def write_tables() -> None:
    """Replace every table in ``docs/`` by the one made from the code."""
    for name, (page, make) in TABLES.items():
        path = DOCS / page
        text = path.read_text()
        place = find_table(name, text)
        path.write_text(text[: place.start()] + make() + text[place.end() :])


def _keys(keys: str) -> str:
    names = dict.fromkeys(_KEY_NAMES.get(key, key) for key in keys.split(","))
    return " ".join(f"`{name}`" for name in names)


def _without_repeats(rows: Iterable[tuple[str, ...]]) -> Iterable[tuple[str, ...]]:
    before = ""
    for first, *rest in rows:
        yield (first if first != before else "", *rest)
        before = first


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    escaped = ([cell.replace("|", "&#124;") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


if __name__ == "__main__":
    write_tables()
