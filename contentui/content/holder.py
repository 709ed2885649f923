"""Which process holds a ref."""

from __future__ import annotations

from typing import NamedTuple


class Process(NamedTuple):
    """A running process."""

    pid: int
    """0 if unknown."""
    command: str
    """Its name or command line, hostile text; empty when unknown."""


class Holder(NamedTuple):
    """The process whose writer holds a ref; behind a daemon, what is known about that process."""

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
    daemon: Process | None = None
    """The daemon through which the ref is held; ``pid`` and ``command`` are unknown then."""
    clients: tuple[Process, ...] = ()
    """The processes that are connected to ``daemon``, without this one: one of them holds the ref,
    or asked the daemon to. Empty: unknown."""
