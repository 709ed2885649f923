"""Which process holds a ref."""

from __future__ import annotations

from typing import NamedTuple

A_CLIENT = " (one of its clients)"
"""How a holder's command ends when the writer is a client of that process."""


class Holder(NamedTuple):
    """The process whose writer holds a ref."""

    pid: int
    """As the holder sees itself; 0 if unknown."""
    started_ns: int
    """When the process started; 0 when unknown."""
    command: str
    """Its command line, hostile text; empty when unknown."""
    since_ns: int
    """When it took the ref; 0 when unknown."""
    foreign: bool = False
    """The pid is one of another pid namespace (another container): don't look for it here."""

    @property
    def serves(self) -> bool:
        """Whether the process only serves the writer, its client: ending it would end them all."""
        return self.command.endswith(A_CLIENT)

    @property
    def service(self) -> str:
        """The name of the process that `serves` the writer."""
        return self.command.removesuffix(A_CLIENT)
