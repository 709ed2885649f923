"""One comparison of what is shown with what is true."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One comparison."""

    what: str
    shown: str
    true: str
    how: str
    """How the true value was computed."""
    right: bool
