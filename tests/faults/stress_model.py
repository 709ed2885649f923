"""Which states of a store are allowed after operations that overlapped, were killed, or failed.

A check for linearizability by search: each operation takes effect at one moment between its
begin and its end, or, when it was killed or failed for want of means, perhaps not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

State = tuple[str, ...] | None
"""Of a blob: who gave it its labels, and its mark; of an image: what it points at; None: absent."""

UNKNOWN = "unknown"
"""The result of an operation that was killed, or failed without saying what it left."""
ABSENT = "absent"
"""The result NotFound."""
DONE = "done"
UNLABELLED = ("", "")
"""What a read of a blob gives that is deleted meanwhile: found, and its labels gone by then."""
READS = ("read", "list")
"""Of one blob, and of all: a listing reads labels first, and names then."""
_MOST = 200_000


class Operation(NamedTuple):
    """``result``: `DONE`, `ABSENT`, `UNKNOWN`, or for a read the state that was seen."""

    name: str
    kind: str
    argument: str
    begin: int
    end: int
    result: Any


def applied(operation: Operation, state: State) -> tuple[State, Any]:
    """The state after an operation, and what it then reports."""
    kind, argument = operation.kind, operation.argument
    if kind == "store":
        return (state if state is not None else (argument, "")), DONE
    if kind == "name":
        return (argument,), DONE
    if kind in READS:
        return state, ABSENT if state is None else state
    if state is None:
        return None, ABSENT
    if kind == "delete":
        return None, DONE
    if kind == "label":
        return (argument, ""), DONE
    assert kind == "mark", kind
    return (state[0], argument), DONE


class Impossible(Exception):
    """No order of the operations explains what was seen."""


def final_states(first: Iterable[State], operations: list[Operation]) -> set[State]:
    """Every state that may be found after all operations have ended.

    Raises:
        Impossible: names the first operation whose result no order explains.
    """
    events = sorted(
        [(operation.begin, 1, operation) for operation in operations]
        + [(operation.end, 0, operation) for operation in operations],
        key=lambda event: (event[0], -event[1]),
    )
    # A configuration: the state, and the open operations that have taken effect already.
    found: set[tuple[State, frozenset[str]]] = {(state, frozenset()) for state in first}
    open_: dict[str, Operation] = {}
    died = {one.argument for one in operations if one.kind == "store" and one.result == UNKNOWN}
    for _, begins, operation in events:
        if begins:
            open_[operation.name] = operation
            continue
        if operation.kind in READS and operation.result == UNKNOWN:
            del open_[operation.name]
            continue
        found = _closed(_explored(found, open_, died), operation)
        if not found:
            raise Impossible(f"{operation} is not explained by any order")
        del open_[operation.name]
    return {state for state, _ in found}


def _torn(operation: Operation, state: State, died: set[str]) -> bool:
    """Whether a read may have met two moments: a blob that goes, or the row of one that died."""
    if operation.kind not in READS or not isinstance(operation.result, tuple):
        return False
    if state is None:
        return operation.result == UNLABELLED
    return operation.kind == "list" and operation.result[0] in died


def _explored(
    found: set[tuple[State, frozenset[str]]], open_: dict[str, Operation], died: set[str]
) -> set[tuple[State, frozenset[str]]]:
    """All configurations that open operations can lead to."""
    todo, seen = list(found), set(found)
    while todo:
        state, done = todo.pop()
        for name, operation in open_.items():
            if name in done:
                continue
            after, result = applied(operation, state)
            if operation.result not in (UNKNOWN, result) and not _torn(operation, state, died):
                continue
            new = (after, done | {name})
            if new not in seen:
                seen.add(new)
                todo.append(new)
        assert len(seen) < _MOST, "too many possible orders"
    return seen


def _closed(
    found: set[tuple[State, frozenset[str]]], operation: Operation
) -> set[tuple[State, frozenset[str]]]:
    """Those in which an operation that ends has taken effect, if it must have."""
    name = operation.name
    return {
        (state, done - {name})
        for state, done in found
        if name in done or operation.result == UNKNOWN
    }
