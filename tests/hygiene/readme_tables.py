"""The README's tables, made from the code; run as a program it renews them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from contentui.cli import commands, exits
from contentui.tui.commands import COMMANDS, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

README = Path(__file__).parents[2] / "README.md"

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
    """The exit codes, as ``--help`` tells them."""
    rows = [(f"`{code}`", meaning) for code, meaning in _EXIT.findall(exits.TABLE)]
    return _table(("code", "meaning"), rows)


TABLES = {"keys": keys_table, "verbs": verbs_table, "exit codes": exits_table}


def between(name: str, text: str) -> re.Match[str] | None:
    """The place of a table in the README: the lines between its two marks."""
    return re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", text, re.DOTALL)


def renewed(text: str) -> str:
    """The README with every table as the code has it now."""
    for name, make in TABLES.items():
        place = between(name, text)
        if place is None:
            raise SystemExit(f"README.md has no place for the table of {name}")
        text = text[: place.start()] + make() + text[place.end() :]
    return text


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
    README.write_text(renewed(README.read_text()))
