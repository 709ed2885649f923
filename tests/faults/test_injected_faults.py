"""Each system call of each operation fails once: nothing acknowledged is lost, nothing is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import fault_cases
import injected
import pytest
from durable import Durability
from fault_cases import Bench
from operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY = 17
"""How many cases one is taken of where there is no time for all; prime to the number of kinds."""
SHOWN = 12


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """In memory if possible: the model decides what is durable, not the disk."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(dir=above)
    with injected.installed(), fault_cases.small_pieces():
        made = Bench(path)
        yield made
        made.close()
    shutil.rmtree(path, ignore_errors=True)


def wrong_of(bench: Bench, operation: Operation, every: int) -> tuple[int, list[str]]:
    """How many cases there were, and what was wrong after which."""
    plain = fault_cases.run_plain(bench, operation)
    cases, wrong = 0, []
    # Each operation begins elsewhere, so that the same call meets other errors.
    start = OPERATIONS.index(operation) % every
    for number, fault in enumerate(fault_cases.faults(plain, operation)[start::every]):
        # Who repeats the operation first changes from call to call and from kind to kind.
        here_first = (number + fault.place.number) % 2 == 0
        cases += 1
        found = fault_cases.run_case(bench, operation, plain, fault, here_first=here_first)
        order = "here first" if here_first else "there first"
        wrong += [f"{fault}, {order}: {what}" for what in found]
    return cases, wrong


def report(wrong: list[str]) -> str:
    more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return "\n" + "\n".join(wrong[:SHOWN]) + more


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_some_faults(bench: Bench, operation: Operation) -> None:
    cases, wrong = wrong_of(bench, operation, EVERY)
    assert cases
    assert not wrong, report(wrong)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_all_faults(bench: Bench, operation: Operation) -> None:
    cases, wrong = wrong_of(bench, operation, 1)
    print(f"{operation.name}: {cases} cases")
    assert not wrong, report(wrong)


@pytest.mark.parametrize("name", ["put", "ingest short", "close", "delete"])
def test_a_missing_sync_is_noticed(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = next(one for one in OPERATIONS if one.name == name)
    fault_cases.run_plain(bench, operation)
    monkeypatch.setattr(Durability, "synced", lambda *_: None)
    with pytest.raises(AssertionError, match="not synced"):
        fault_cases.run_plain(bench, operation)


def test_a_failed_sync_loses_what_was_not_synced_before(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    model, found = Durability(), path.stat()
    model.wrote(found, 0, 5)
    model.synced(found)
    model.wrote(found, 5, 5)
    model.sync_failed(found)
    model.synced(found)
    there = Durability(model.state())
    assert there.of_file(str(path), str(tmp_path)) == ["5 bytes of file were lost by a failed sync"]
    there.wrote(found, 5, 5)
    there.synced(found)
    assert there.of_file(str(path), str(tmp_path)) == []
