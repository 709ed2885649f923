"""The characters with which everything is drawn: UTF-8's, or ASCII's where the locale has no more.

No other module contains a character that ASCII lacks, docstrings and comments aside.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Glyphs(NamedTuple):
    """One set. Each is one cell wide, unless its comment says otherwise."""

    utf8: bool
    cut: str
    """Stands for what was left out of a text."""
    pending: str
    """Stands for a value that is not known yet; up to three cells."""
    nothing: str
    """Stands for a value that does not exist."""
    dot: str
    """Between two parts of a line."""
    eighths: str
    """Bars of none to seven eighths of a cell."""
    full: str
    """A whole cell of a bar."""
    unknown_bar: str
    """Three cells that are repeated where a share is not known."""
    levels: str
    """The nine heights of a graph."""
    line_done: str
    line_rest: str
    moving: str
    complete: str
    quiet: str
    trickle: str
    stalled: str
    abandoned: str
    damaged: str
    paused: str
    """Up to two cells."""
    refused: str
    bullet: str
    member: str
    """Before the name of a row of a group."""
    group: str
    """Before the name of a group."""
    falling: str
    rising: str
    becomes: str
    """Between a state and the next; up to two cells."""
    mark: str
    cursor: str
    thumb: str


UTF8 = Glyphs(
    utf8=True, cut="…", pending="…", nothing="–", dot="·",
    eighths=" ▏▎▍▌▋▊▉", full="█", unknown_bar="╺╸ ", levels=" ▁▂▃▄▅▆▇█",
    line_done="━", line_rest="─",
    moving="▸", complete="✓", quiet="◦", trickle="▹", stalled="◌", abandoned="✕", damaged="⊗",
    paused="‖", refused="✗", bullet="•", member="│", group="▾", falling="↓", rising="↑",
    becomes="→", mark="▌", cursor="›", thumb="▐",
)  # fmt: skip
ASCII = Glyphs(
    utf8=False, cut="~", pending="...", nothing="-", dot="|",
    eighths="        ", full="#", unknown_bar="-- ", levels=" .:-=+*%#",
    line_done="#", line_rest="-",
    moving=">", complete="+", quiet=".", trickle=":", stalled="o", abandoned="x", damaged="#",
    paused="||", refused="x", bullet="*", member="|", group="v", falling="v", rising="^",
    becomes="->", mark="*", cursor=">", thumb="#",
)  # fmt: skip

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python sets LC_CTYPE to where the locale is C (PEP 538)."""


def locale_name(environ: Mapping[str, str], initial: Mapping[str, str]) -> str:
    """The locale for characters that the user set, as ``locale charmap`` finds it.

    ``initial``: the environment with which the process began.
    """
    name = environ.get("LC_ALL")
    if not name:
        name = environ.get("LC_CTYPE")
        if name in _COERCED and "LC_CTYPE" not in initial:
            name = ""
    return name or environ.get("LANG") or "C"


def names_utf8(locale: str) -> bool:
    """Whether a locale's name says that its characters are UTF-8."""
    charset = locale.partition("@")[0].rpartition(".")[2]
    return charset.lower().replace("-", "").replace("_", "") == "utf8"


def _initial_environ() -> dict[str, str]:
    """The environment before Python changed it; the present one where that can't be read."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return dict(os.environ)
    pairs = (os.fsdecode(entry).partition("=") for entry in entries)
    return {name: value for name, _, value in pairs}


def _is_utf8() -> bool:
    environ = os.environ
    coerced = not environ.get("LC_ALL") and environ.get("LC_CTYPE") in _COERCED
    if not names_utf8(locale_name(environ, _initial_environ() if coerced else environ)):
        return False
    encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "") == "utf8"


GLYPHS = UTF8 if _is_utf8() else ASCII
"""The set that this process uses."""


class _Drawn(dict[int, str]):
    """ASCII for any character that a widget draws, as wide as the character."""

    def __missing__(self, code: int) -> str:
        if code < 0x80:
            return chr(code)
        from unicodedata import category, east_asian_width

        char = chr(code)
        if category(char) in ("Mn", "Me", "Cf"):
            found = ""
        else:
            found = "??" if east_asian_width(char) in "WF" else "?"
        self[code] = found
        return found


def _drawn() -> _Drawn:
    """Borders, scroll bars and blocks of Textual's widgets, and our own."""
    table = _Drawn()
    for chars, ascii_char in (
        ("─━┄┅┈┉╌╍═╴╶╸╺╼╾▁▔▂▃⎯", "-"),
        ("│┃┆┇┊┋╎╏║▏▕▎▍╵╷╹╻╽╿", "|"),
        ("┌┐└┘├┤┬┴┼╭╮╯╰╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋", "+"),
        ("▄▅▆▇█▀▉▊▋▌▐■●▗▖▝▘▙▟▛▜", "#"),
        ("░▒▓", ":"),
        ("…", "~"),
        ("·•", "*"),
        ("▶▸▹❯›", ">"),
        ("◀◂‹", "<"),
        ("▼▾↓", "v"),
        ("▲▴↑", "^"),
        ("‘’", "'"),
        ("“”", '"'),
        ("–—", "-"),
        ("\u00a0", " "),
    ):
        table.update(dict.fromkeys(map(ord, chars), ascii_char))
    return table


_DRAWN = _drawn()


def ascii_cells(text: str) -> str:
    """Text of a terminal, escape sequences included, in ASCII and as wide as before."""
    return text if text.isascii() else text.translate(_DRAWN)
