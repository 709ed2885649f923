"""One fault in one operation, the same operation again here and elsewhere, and the checks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import fault_checks
import injected
import operations
from durable import Durability
from fault_checks import Plain
from injected import Fault, Injector
from injected import Place as At
from operations import BY_NAME, LONG, Operation, Place

from contentui.content.digest import Digest
from contentui.content.errors import (
    ContentError,
)
from contentui.content.model import ingest_id
from contentui.stores.local import copier, data, locks
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_SMALL: dict[Any, dict[str, float]] = {
    copier: {"PIECE": 8192, "_COPY": 16384, "_SYNC_FROM": 32768, "_LEAD": 32768},
    data: {"_PIECE": 8192, "_WRITEBACK_FROM": 8192},
    locks: {"WAIT_S": 0.3, "STOPPED_S": 0.3, "_LOOK_S": 0.02},
}
"""Sizes of copying, so small that `operations.LONG` takes every way, and short waits."""


@contextlib.contextmanager
def small_pieces() -> Iterator[None]:
    """Let short content count as large, and waiting end soon."""
    with contextlib.ExitStack() as stack:
        for module, values in _SMALL.items():
            for name, value in values.items():
                stack.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value)
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-4)  # two threads that take turns at small pieces
        yield


def copy_store(source: str, target: str) -> None:
    """A copy with the same modes, times and hard links."""
    if not os.path.isdir(source):
        return
    os.mkdir(target)
    copied: dict[int, str] = {}
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                copy_store(entry.path, place)
            elif found.st_ino in copied:
                os.link(copied[found.st_ino], place)
            else:
                shutil.copyfile(entry.path, place)
                for name in os.listxattr(entry.path):
                    os.setxattr(place, name, os.getxattr(entry.path, name))
                os.chmod(place, stat.S_IMODE(found.st_mode))
                os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
                copied[found.st_ino] = place


class Bench:
    """A directory with prepared stores and a second process, for many cases."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.source = f"{base}/source"
        with open(self.source, "wb") as file:
            file.write(LONG)
        self._number = 0
        self._worker: subprocess.Popen[str] | None = None
        for kind in ("full", "unnamed", "bare", "missing"):
            operations.prepare(kind, f"{base}/{kind}")

    def fresh(self, kind: str) -> Place:
        self._number += 1
        root = f"{self.base}/case-{self._number}"
        copy_store(f"{self.base}/{kind}", root)
        return Place(root, self.source)

    def elsewhere(self, name: str, root: str, model: Durability) -> str:
        """Run an operation in another process; what it raised, or ``done``."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        request = {"name": name, "root": root, "source": self.source, "model": model.state()}
        self._worker.stdin.write(json.dumps(request) + "\n")
        self._worker.stdin.flush()
        reply = json.loads(self._worker.stdout.readline())
        model.__init__(reply["model"])  # type: ignore[misc]
        return str(reply["outcome"])

    def close(self) -> None:
        if self._worker is not None:
            self._worker.communicate()


def serve() -> None:
    """The other process: run what is asked for on standard input."""
    with injected.installed(), small_pieces():
        for line in sys.stdin:
            request = json.loads(line)
            model = Durability(request["model"])
            operation = BY_NAME[request["name"]]
            place = Place(request["root"], request["source"])
            with LocalStore(place.root) as store:
                error = attempt(operation, store, place, Injector(model))
            done = error is None or issubclass(error.kind, operation.already)
            outcome = "done" if done or error is None else error.text
            print(json.dumps({"outcome": outcome, "model": model.state()}), flush=True)


def describe(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"


class Raised(NamedTuple):
    """An exception without its frames, which would keep descriptors open."""

    kind: type[BaseException]
    text: str


def attempt(
    operation: Operation, store: LocalStore, place: Place, injector: Injector
) -> Raised | None:
    """Run the operation; what it raised."""
    with injected.active(injector):
        try:
            operation.run(store, place)
        except BaseException as error:
            return Raised(type(error), describe(error))
    return None


def run_plain(bench: Bench, operation: Operation) -> Plain:
    """The second of two runs: the first fills caches, which changes the calls."""
    _run_plain(bench, operation)
    return _run_plain(bench, operation)


def _run_plain(bench: Bench, operation: Operation) -> Plain:
    place = bench.fresh(operation.start)
    model = Durability()
    injector = Injector(model)
    with opened(operation, place) as (store, here):
        before = fault_checks.look(place.root)
        error = attempt(operation, store, here, injector)
        assert error is None, f"{operation.name} without any fault: {error}"
    after = fault_checks.look(place.root)
    wrong = fault_checks.unmet(operation, place.root, after, model)
    assert not wrong, f"{operation.name} without any fault: {wrong}"
    if operation.reads:
        assert after == before
    shutil.rmtree(place.root, ignore_errors=True)
    return Plain(before, after, injector.calls)


@contextlib.contextmanager
def opened(operation: Operation, place: Place) -> Iterator[tuple[LocalStore, Place]]:
    with LocalStore(place.root) as store:
        assert (
            store.traits.read_only_reason == ""
        )  # asked once a second: here, not at a call that counts
        release = operation.set_up(store, place) if operation.set_up else None
        try:
            yield store, place
        finally:
            if release is not None:
                with contextlib.suppress(ContentError):
                    release()


def faults(plain: Plain, operation: Operation) -> list[Fault]:
    """Everything that can happen to the operation."""
    found = []
    for helper, calls in plain.calls.items():
        for number, call in enumerate(calls):
            kinds: list[str] = list(injected.ERRNOS)
            if not helper:
                kinds += injected.INTERRUPTS
            if call in injected.LATE_CALLS:
                kinds += injected.LATE
            kinds += [f"other:{deed}" for deed in operation.others]
            found += [Fault(At(helper, number), kind, call) for kind in kinds]
    return found


def run_case(
    bench: Bench, operation: Operation, plain: Plain, fault: Fault, *, here_first: bool
) -> list[str]:
    """What is wrong after this fault; nothing when all promises are kept."""
    place = bench.fresh(operation.start)
    descriptors = set(os.listdir("/proc/self/fd"))
    model = Durability()
    wrong: list[str] = []
    with LocalStore(place.root) as another:
        injector = Injector(model, fault, lambda: by_another(another, operation, place, fault.kind))
        with opened(operation, place) as (store, here):
            error = attempt(operation, store, here, injector)
            fault = fault._replace(call=injector.fired or fault.call)
            if not injector.fired:
                if error is not None:
                    wrong.append(f"the fault didn't happen, yet: {error.text}")
            else:
                wrong += after_fault(operation, plain, place, fault, error, model)
            wrong += again(bench, operation, store, here, model, fault, here_first=here_first)
    wrong += final(operation, plain, place, fault, model)
    wrong += fault_checks.leaks(descriptors, fault)
    shutil.rmtree(place.root, ignore_errors=True)
    return wrong


def after_fault(
    operation: Operation,
    plain: Plain,
    place: Place,
    fault: Fault,
    error: Raised | None,
    model: Durability,
) -> list[str]:
    wrong = []
    if error is not None and not fault_checks.is_typed(operation, error.kind, fault):
        wrong.append(f"raised {error.text}")
    wrong += fault_checks.held(place.root)
    try:
        state = fault_checks.look(place.root)
    except Exception as failure:
        return [*wrong, f"then the store can't be read: {describe(failure)}"]
    if error is None and not fault.kind.startswith("other:"):
        wrong += [
            f"acknowledged, but {what}"
            for what in fault_checks.unmet(operation, place.root, state, model, leftovers=True)
        ]
    wrong += fault_checks.changes(operation, plain, state, fault)
    return wrong


def by_another(store: LocalStore, operation: Operation, place: Place, kind: str) -> None:
    """What another process does between two calls; it may find the store busy."""
    target = Digest.of(operation.target)
    deed = kind.removeprefix("other:")
    with contextlib.suppress(ContentError, FileNotFoundError):
        if deed == "delete":
            store.delete(target)
        elif deed == "rm":
            os.unlink(f"{place.root}/blobs/sha256/{target.encoded}")
        elif deed == "put":
            store.put(operation.target, labels={"by": "another"})
        else:
            store.abort(deed.removeprefix("abort "), force=True)


def again(
    bench: Bench,
    operation: Operation,
    store: LocalStore,
    place: Place,
    model: Durability,
    fault: Fault,
    *,
    here_first: bool,
) -> list[str]:
    """The same operation, without faults, here and in another process."""

    def here() -> None:
        error = attempt(operation, store, place, Injector(model))
        if error is not None and not issubclass(error.kind, operation.already):
            wrong.append(f"the same object then raised {error.text}")

    def there() -> None:
        outcome = bench.elsewhere(operation.name, place.root, model)
        if outcome != "done":
            wrong.append(f"another process then raised {outcome}")

    wrong: list[str] = []
    if operation.set_up is not None:  # only here is what was set up
        here()
        return wrong
    for step in (here, there) if here_first else (there, here):
        step()
    return wrong


def final(
    operation: Operation, plain: Plain, place: Place, fault: Fault, model: Durability
) -> list[str]:
    """After the repetition all is as after a run without faults."""
    state = fault_checks.look(place.root)
    by_others = fault.kind.startswith("other:")
    wrong = [
        f"in the end {what}"
        for what in fault_checks.unmet(
            operation, place.root, state, model, labels=not by_others, leftovers=by_others
        )
    ]
    if by_others:
        digest = Digest.of(operation.target)
        found = state.blobs.get(digest, (b"", None))[1]
        mine = plain.after.blobs[digest][1]
        if found not in (mine, {"by": "another"}, operation.labels):
            wrong.append(f"in the end the labels are {found}, not {mine}")
        # An ingest whose blob another one made meanwhile is kept (`Store.writer`).
        kept = {ingest_id(fact.ref) for fact in operation.facts if hasattr(fact, "ref")}
        return wrong + fault_checks.differences(plain.after, state, besides={digest, *kept})
    return wrong + fault_checks.differences(plain.after, state)


if __name__ == "__main__":
    serve()
