"""What is shown of a real containerd is true; `make truth` writes the comparisons as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from interop_live import unavailable

from bench.peers import Missing
from bench.truth import measure

if TYPE_CHECKING:
    from pathlib import Path

BUSY = 0.3
"""By which a rate or a time may differ here, where other tests take the processor meanwhile."""


@pytest.mark.timeout(300)
def test_what_is_shown_is_true(short_tmp: Path) -> None:
    try:
        rows = list(measure(short_tmp, BUSY))
    except Missing as missing:
        unavailable(str(missing))
    assert len(rows) > 20
    assert [row for row in rows if not row.right] == []
