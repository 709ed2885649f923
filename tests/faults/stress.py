"""Random operations of many processes on one store, killed and stopped at random, and a checker.

``python stress.py [--seconds N] [--processes N] [--seed N] [--beside PATH] ROOT``. Each process
notes each operation before it begins and after it ends. After every few seconds all are let end,
and the store is compared with what the notes allow (`stress_model`). ``--beside``: every second
process runs the contentui of that directory, an older version.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fcntl
import json
import mmap
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from typing import Any

import stress_model
import stress_worker
from stress_model import DONE, UNKNOWN, Impossible, Operation, State
from stress_worker import BLOBS, IMAGES, LABELLED, REFS, work

from contentui.content.digest import Digest
from contentui.stores.local.store import LocalStore

WORKER = stress_worker.__file__
STUCK_S = 45.0
"""By when a process must have ended that was asked to; waiting for a lock takes up to 30 s."""


class Stress:
    """The processes, and what is known about the store between two rounds."""

    def __init__(self, root: str, processes: int, seed: int, beside: str = "") -> None:
        self.root = root
        self._beside = beside
        self.dice = random.Random(seed)
        self.processes = processes
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._log = root + ".log"
        with open(root + ".end", "w+b") as file:
            file.write(b"\0")
            file.flush()
            self._end = mmap.mmap(file.fileno(), 1)
        self._workers: dict[int, str] = {}
        self._old: dict[int, subprocess.Popen[bytes]] = {}
        self._killed: dict[str, int] = {}
        self._number = 0
        self._blobs: dict[str, set[State]] = {digest: {None} for digest in BLOBS}
        self._images: dict[str, set[State]] = {name: {None} for name in IMAGES}

    def round(self, seconds: float) -> None:
        """Let them work for a while, hurt them, and check."""
        self._end[0] = 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._log)
        self._killed.clear()
        until = time.monotonic() + seconds
        for _ in range(self.processes):
            self._start()
        stopped: dict[int, float] = {}
        while time.monotonic() < until:
            time.sleep(self.dice.random() * 0.02)
            self._wake(stopped)
            self._hurt(stopped)
        self._end[0] = 1
        for pid in self._workers:
            os.kill(pid, signal.SIGCONT)
        self._wait()
        self._check()

    def _start(self) -> None:
        self._number += 1
        name, seed = f"p{self._number}", self.dice.random()
        if self._beside and self._number % 2:
            arguments = [self.root, self._log, f"old-{name}", str(seed), self.root + ".end"]
            environment = {**os.environ, "PYTHONPATH": self._beside}
            process = subprocess.Popen([sys.executable, WORKER, *arguments], env=environment)
            self._old[process.pid] = process
            self._workers[process.pid] = f"old-{name}"
            return
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(self.root, self._log, name, seed, self._end, rm=not self._beside)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        self._workers[pid] = name

    def _wake(self, stopped: dict[int, float]) -> None:
        now = time.monotonic()
        for pid, until in list(stopped.items()):
            if now > until:
                del stopped[pid]
                if pid in self._workers:
                    os.kill(pid, signal.SIGCONT)

    def _hurt(self, stopped: dict[int, float]) -> None:
        """Kill or stop a process, preferably one in an SQLite transaction."""
        if self.dice.random() < 0.5:
            return
        among = self._in_transaction()
        pid = self.dice.choice(among or list(self._workers))
        if self.dice.random() < 0.4:
            os.kill(pid, signal.SIGKILL)
            self._reaped(pid, os.waitpid(pid, 0)[1])
            self._killed[self._workers.pop(pid)] = time.monotonic_ns()
            self.counts["killed in a transaction" if among else "killed"] += 1
            self._start()
        else:
            os.kill(pid, signal.SIGSTOP)
            # Longer than others wait for a stopped holder, once in a while.
            stopped[pid] = time.monotonic() + self.dice.choice([0.01, 0.05, 0.3, 3.0])
            self.counts["stopped in a transaction" if among else "stopped"] += 1

    def _in_transaction(self) -> list[int]:
        if not any(name.endswith("-journal") for name in os.listdir(self.root + "/.contentui")):
            return []
        return [pid for pid in self._workers if _has_journal(pid)]

    def _wait(self) -> None:
        until = time.monotonic() + STUCK_S
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._reaped(pid, status)
                name = self._workers.pop(pid)
                if status:
                    self.wrong.append(f"{name} ended with {status}")
                    self._killed[name] = time.monotonic_ns()
            elif time.monotonic() > until:
                self.wrong.append(f"stuck: {sorted(self._workers.values())}")
                for stuck in self._workers:
                    os.kill(stuck, signal.SIGKILL)
                until += STUCK_S
            else:
                time.sleep(0.005)

    def _reaped(self, pid: int, status: int) -> None:
        """`subprocess` must not wait for it too."""
        if process := self._old.pop(pid, None):
            process.returncode = os.waitstatus_to_exitcode(status)

    # -- what must be so now

    def _check(self) -> None:
        operations, failures = self._read_log()
        self.wrong += failures
        self.counts["operations"] += sum(map(len, operations.values()))
        self.counts["checks"] += 1
        with LocalStore(self.root) as store:
            infos = {info.digest: info for info in store.walk()}
            images = {image.name: image.target.digest for image in store.images.list()}
            statuses = {status.ref or status.id: status for status in store.statuses()}
            if held := store.holders([status.id for status in statuses.values()]):
                self.wrong.append(f"still locked: {held}")
        for digest, data in BLOBS.items():
            info = infos.get(Digest(digest))
            now = None if info is None else _labels(info.labels)
            if now is not None and self._bytes(digest) != data:
                self.wrong.append(f"blob {digest[:19]} has other bytes")
            self._blobs[digest] = self._allowed(digest, self._blobs[digest], operations, now)
        for name in IMAGES:
            target = images.get(name)
            there = None if target is None else (str(target),)
            self._images[name] = self._allowed(name, self._images[name], operations, there)
        for ref, data in REFS.items():
            self._check_ingest(ref, data, statuses.get(ref), operations.get(ref, []))
        self._check_databases()

    def _allowed(
        self, key: str, first: set[State], operations: dict[str, list[Operation]], now: State
    ) -> set[State]:
        try:
            possible = stress_model.final_states(first, operations.get(key, []))
        except Impossible as error:
            self.wrong.append(f"{key[:19]}: {error}")
        else:
            if now not in possible:
                self.wrong.append(f"{key[:19]} is {now}, where {possible} is possible")
        return {now}

    def _check_ingest(
        self, ref: str, data: bytes, status: Any, operations: list[Operation]
    ) -> None:
        """Bytes that were closed are there unless something may have removed them since."""
        have = b""
        if status is not None:
            with contextlib.suppress(OSError), open(self._data(status.id), "rb") as file:
                have = file.read()
        if not data.startswith(have):
            self.wrong.append(f"ingest {ref} has foreign bytes")
        for closed in operations:
            if closed.kind == "close" and closed.result == DONE:
                others = [one for one in operations if one.kind == "drop"]
                if any(one.end > closed.begin for one in others):
                    continue
                if len(have) < int(closed.argument):
                    self.wrong.append(
                        f"ingest {ref} has {len(have)} bytes, {closed.argument} closed"
                    )
        self.counts["half-made ingests"] += bool(status is not None and status.damage)

    def _check_databases(self) -> None:
        fd = os.open(self.root + "/.contentui/naming", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.wrong.append("the naming lock is held, but not by a running process")
        finally:
            os.close(fd)
        for name in ("labels.db", "images.db"):
            path = f"{self.root}/.contentui/{name}"
            if os.path.exists(path):
                with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
                    for pragma in ("integrity_check", "foreign_key_check"):
                        rows = connection.execute(f"PRAGMA {pragma}").fetchall()
                        if rows not in ([], [("ok",)]):
                            self.wrong.append(f"{name}: {rows[:3]}")
        with LocalStore(self.root) as store:
            info = store.put(b"still usable", labels={"a": "b"})
            if info.labels != {"a": "b"}:
                self.wrong.append(f"a new blob has the labels {info.labels}")
            store.delete(info.digest)

    def _data(self, ident: str) -> str:
        return f"{self.root}/ingest/{ident}/data"

    def _bytes(self, digest: str) -> bytes:
        with open(f"{self.root}/blobs/sha256/{digest[7:]}", "rb") as file:
            return file.read()

    def _read_log(self) -> tuple[dict[str, list[Operation]], list[str]]:
        """The operations by what they dealt with."""
        begun: dict[str, list[Any]] = {}
        found: dict[str, list[Operation]] = collections.defaultdict(list)
        failures = []
        with open(self._log, "rb") as file:
            lines = file.read().splitlines()
        for line in lines:
            what, name, at, *rest = json.loads(line)
            if what == "begin":
                begun[name] = [at, *rest]
            elif what == "wrong":
                failures.append(f"{name}: {rest[0]}")
            else:
                begin, deeds = begun.pop(name)
                self.counts[rest[1]] += 1
                for n, (kind, key, argument) in enumerate(deeds):
                    result = _result(rest[0], n)
                    found[key].append(Operation(f"{name}.{n}", kind, argument, begin, at, result))
        for name, (begin, deeds) in begun.items():
            end = self._killed.get(name.rpartition("-")[0], time.monotonic_ns())
            for n, (kind, key, argument) in enumerate(deeds):
                found[key].append(Operation(f"{name}.{n}", kind, argument, begin, end, UNKNOWN))
        return found, failures


def _result(results: Any, number: int) -> Any:
    """Of several deeds each has its result."""
    result = results[number] if isinstance(results, list) else results
    return tuple(result["state"]) if isinstance(result, dict) else result


def _labels(labels: Any) -> State:
    if labels is None:
        return (UNKNOWN,)
    return labels.get(LABELLED, ""), labels.get("mark", "")


def _has_journal(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(".db-journal"):
                    return True
    return False


def run(root: str, seconds: float, processes: int, seed: int, beside: str = "") -> Stress:
    """Rounds of a few seconds each; `Stress.wrong` says what was wrong."""
    stress = Stress(root, processes, seed, beside)
    with LocalStore(root) as store:
        store.put(b"the first")
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(stress.wrong) < 50:
        stress.round(min(2.5, max(until - time.monotonic(), 0.5)))
    return stress


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--beside", default="", metavar="PATH")
    args = parser.parse_args()
    print("seed", args.seed)
    stress = run(args.root, args.seconds, args.processes, args.seed, args.beside)
    print(json.dumps(stress.counts, indent=1))
    print("\n".join(stress.wrong) or "nothing wrong")
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
