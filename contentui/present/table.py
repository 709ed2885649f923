"""Aligned columns, fitted to the terminal when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.present.cells import cell_len, elide_middle, pad

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GAP = "  "
_LEAST = 12
"""Columns that a shortened cell keeps at least: enough for a digest's algorithm and some hex."""


def with_column(
    header: Sequence[str], rows: Sequence[Sequence[str]], title: str, values: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows with one more column before the others."""
    wider = [(value, *row) for value, row in zip(values, rows, strict=True)]
    return (title, *header), wider


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    flexible: Sequence[int] = (0,),
    width: int | None = None,
) -> Iterator[str]:
    """The lines of a table, its header first.

    Args:
        header: the columns' titles.
        rows: cells that are already safe for a terminal.
        right: indexes of the columns that are aligned right.
        flexible: indexes of the columns that may be shortened, the first one first.
        width: columns of the terminal; None: nothing is shortened.
    """
    columns = list(zip(header, *rows, strict=True))
    plain = all("".join(column).isascii() for column in columns)
    widths = [max(map(len if plain else cell_len, column)) for column in columns]
    if width is not None:
        _fit(widths, flexible, width)
    elif plain:  # nothing to shorten, nothing wide: Python's own formatting, for long listings
        sides = (">" if column in right else "<" for column in range(len(widths)))
        form = _GAP.join(f"{{:{side}{size}}}" for side, size in zip(sides, widths, strict=True))
        for row in (header, *rows):
            yield form.format(*row).rstrip()
        return
    for row in (header, *rows):
        yield _GAP.join(_padded(row, widths, right)).rstrip()


def _fit(widths: list[int], flexible: Sequence[int], width: int) -> None:
    for column in flexible:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
        if excess > 0:
            widths[column] = max(min(_LEAST, widths[column]), widths[column] - excess)


def _padded(row: Sequence[str], widths: list[int], right: Sequence[int]) -> Iterator[str]:
    for column, (text, width) in enumerate(zip(row, widths, strict=True)):
        yield pad(elide_middle(text, width), width, column in right)
