"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from contentui.content.errors import ContentError

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser, _MutuallyExclusiveGroup

    from contentui.content.digest import Digest

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
"""How each shell completes a file's name; shtab's names, without its import."""
FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}


def completes(action: Action, how: dict[str, str]) -> None:
    """Set the kind of an argument for completion scripts."""
    action.complete = how  # type: ignore[attr-defined]  # where shtab looks for it


def digest(text: str) -> Digest:
    """A digest; argparse reports anything else as an error."""
    from contentui.content.digest import Digest

    try:
        return Digest.parse(text)
    except ContentError as error:
        raise ArgumentTypeError(f"{error.message}: {error.advice}") from None


def ref(text: str) -> str:
    """A ref, or the `IngestId` behind ``id:HEX``."""
    from contentui.content.model import parse_ref_argument

    if not text:
        raise ArgumentTypeError("a ref can't be empty")
    return parse_ref_argument(text)


def size(text: str) -> int:
    """Bytes in ``4096``, ``10MB`` (decimal) or ``10MiB`` (binary)."""
    import re

    match = re.fullmatch(r"(\d+)\s*(?:([kmgt])(i?)b?|b)?", text.lower())
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a size: write it as 4096, 10MB or 10MiB")
    number, unit, binary = match.groups()
    base: int = 1024 if binary else 1000
    factor: int = base ** _UNITS[unit or ""]
    return int(number) * factor


def duration(text: str) -> float:
    """Seconds in ``10m``, ``90s``, ``1h30m``."""
    from contentui.text import parse_duration

    try:
        return parse_duration(text)
    except ContentError as error:
        raise ArgumentTypeError(f"{error.message}: {error.advice}") from None


def interval(text: str) -> float:
    """A `duration` of at least a twentieth of a second, for what repeats."""
    seconds = duration(text)
    if not 0.05 <= seconds <= 86400:
        raise ArgumentTypeError("an interval lies between 50ms and 1d")
    return seconds


def wait(text: str) -> float:
    """A `duration` for the longest wait: from a tenth of a second to a day."""
    seconds = duration(text)
    if not 0.1 <= seconds <= 86400:
        raise ArgumentTypeError("a time limit lies between 100ms and 1d")
    return seconds


def count(text: str) -> int:
    """A number from 0 to 1000."""
    if not (text.isascii() and text.isdigit() and int(text[:5]) <= 1000):
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1000")
    return int(text)


def label(text: str) -> tuple[str, str]:
    """``KEY=VALUE`` as a pair."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"{text!r} is not a label: write it as KEY=VALUE")
    return key, value


def add_format(parser: ArgumentParser, *, quiet: str = "") -> _MutuallyExclusiveGroup:
    """``--json``, and ``-q`` where it means something; they exclude each other."""
    group = parser.add_mutually_exclusive_group()
    if quiet:
        group.add_argument("-q", "--quiet", action="store_true", help=quiet)
    group.add_argument("--json", action="store_true", help="JSON lines (fields: docs/json.md)")
    return group


def add_filters(parser: ArgumentParser, example: str) -> None:
    """``--match``, in containerd's filter language."""
    parser.add_argument(
        "--match",
        metavar="FILTER",
        action="append",
        default=[],
        help=f"only those that match, e.g. {example!r}; given twice: either",
    )


def add_wide(parser: ArgumentParser) -> None:
    """``--wide``: lines longer than the terminal."""
    parser.add_argument(
        "-w", "--wide", action="store_true", help="shorten nothing to fit the terminal"
    )
