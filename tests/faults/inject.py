"""Faults by hand: ``python tests/faults/inject.py [--every N] [OPERATION [KIND NUMBER [helper]]]``.

Without a kind every fault of the operation, or of all operations, is tried, and what went wrong is
printed by call; with one, that case alone. ``--calls OPERATION`` lists the calls and their numbers.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import tempfile
import time

import fault_cases
import injected
from fault_cases import Bench
from injected import Fault, Place
from operations import BY_NAME, Operation


def sweep(bench: Bench, operation: Operation, every: int) -> int:
    try:
        plain = fault_cases.run_plain(bench, operation)
    except Exception as error:
        print(f"## {operation.name}: {fault_cases.describe(error)}")
        return 0
    began = time.monotonic()
    faults = fault_cases.faults(plain, operation)[::every]
    by_call = collections.defaultdict(list)
    for number, fault in enumerate(faults):
        for what in fault_cases.run_case(
            bench, operation, plain, fault, here_first=number % 2 == 0
        ):
            by_call[fault.call, what].append(fault)
    taken = time.monotonic() - began
    calls = sum(map(len, plain.calls.values()))
    print(f"## {operation.name}: {calls} calls, {len(faults)} cases in {taken:.1f} s")
    for (call, what), found in by_call.items():
        kinds = ", ".join(sorted({fault.kind for fault in found}))
        places = sorted({fault.place.number for fault in found})
        print(f"   {call}: {what} <- {len(found)}x {kinds} at {places[:8]}")
    return len(faults)


def one(bench: Bench, operation: Operation, fault: Fault) -> None:
    plain = fault_cases.run_plain(bench, operation)
    calls = plain.calls[fault.place.helper]
    if fault.place.number >= len(calls):
        raise SystemExit(f"{operation.name} has {len(calls)} such calls: see --calls")
    fault = fault._replace(call=calls[fault.place.number])
    for here_first in (True, False):
        print(f"{fault}, {'here' if here_first else 'another process'} first")
        wrong = fault_cases.run_case(bench, operation, plain, fault, here_first=here_first)
        print("\n".join(f"   {what}" for what in wrong or ["nothing wrong"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operation", nargs="?", choices=list(BY_NAME), metavar="OPERATION")
    parser.add_argument("kind", nargs="?", metavar="KIND", help="EIO, 'SIGINT after', other:delete")
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("thread", nargs="?", choices=["helper"])
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--calls", action="store_true")
    args = parser.parse_args()
    base = tempfile.mkdtemp(dir="/dev/shm")
    with injected.installed(), fault_cases.small_pieces():
        bench = Bench(base)
        wanted = [BY_NAME[args.operation]] if args.operation else list(BY_NAME.values())
        if args.calls:
            for helper, calls in fault_cases.run_plain(bench, wanted[0]).calls.items():
                for number, call in enumerate(calls):
                    print(f"{'helper ' if helper else ''}{number} {call}")
        elif args.kind:
            place = Place(args.thread == "helper", args.number)
            one(bench, wanted[0], Fault(place, args.kind))
        else:
            print(sum(sweep(bench, operation, args.every) for operation in wanted), "cases")
        bench.close()
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
