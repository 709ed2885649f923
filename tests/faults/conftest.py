"""A connection to the service of a test module's own ``server`` fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fuzz_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    made = Wire(server.target)
    yield made
    made.close()
