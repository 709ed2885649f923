"""A file system whose writeback fails for a while, in a mount namespace of its own (needs root).

``python writeback.py BASE``: an ext4 in a sparse image on a tmpfs that is smaller than the image.
When the tmpfs is full, what the page cache took can't be written out: fsync reports it once, and
reading still gives the bytes that the disk doesn't have. Prints one JSON line a scenario and ends
with 0 when everything that was acknowledged is there after the file system was mounted anew, byte
for byte; with 77, and the reason, when this machine doesn't allow it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

SKIPPED = 77
MIB = 1 << 20
TMPFS = 128 * MIB
IMAGE = 512 * MIB
SIZE = 4 * MIB
LABELS = {"of": "this one"}


def content(name: str) -> bytes:
    return random.Random(name).randbytes(SIZE)


WRITE_AND_DIE = """
import os, sys
from contentui.stores.local.store import LocalStore
writer = LocalStore(sys.argv[1]).writer(sys.argv[2])
with open(sys.argv[3], "rb") as source:
    writer.write(source.read())
os._exit(0)
"""


class Disk:
    """The file system, and the room behind it."""

    def __init__(self, base: str) -> None:
        self._memory, self.mounted = f"{base}/memory", f"{base}/mounted"
        self.root = self.mounted + "/store"
        self._image, self._ballast = self._memory + "/image", self._memory + "/ballast"
        for path in (self._memory, self.mounted):
            os.makedirs(path)
        run("mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "none", self._memory)
        with open(self._image, "wb") as image:
            image.truncate(IMAGE)
        options = "^has_journal,^metadata_csum,^uninit_bg,^flex_bg,^resize_inode"
        made = ("-q", "-F", "-m", "0", "-N", "512", "-E", "lazy_itable_init=0,nodiscard")
        run("mkfs.ext4", *made, "-O", options, self._image)
        self.mount()

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=continue", self._image, self.mounted)

    def anew(self) -> None:
        """Forget every page: what is read from now on is what the disk has."""
        subprocess.run(["sync"], check=False)
        run("umount", self.mounted)
        self.mount()

    def fill(self, room: int) -> None:
        """Leave ``room`` bytes behind the file system."""
        subprocess.run(["sync", "-f", self.mounted], check=False, capture_output=True)
        found = os.statvfs(self._memory)
        size = found.f_bavail * found.f_frsize - room
        with open(self._ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def free(self) -> None:
        os.unlink(self._ballast)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        skip(f"{command[0]}: {done.stderr.strip()[-120:]}")


def skip(reason: str) -> NoReturn:
    print(reason)
    sys.exit(SKIPPED)


def program(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "contentui", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.strip()


class Scenarios:
    """Each: name, room in bytes, and what to do twice; what was acknowledged is kept."""

    def __init__(self, disk: Disk, sources: str) -> None:
        self.disk = disk
        self.sources = sources
        self.blobs: dict[Digest, tuple[bytes, Any]] = {}
        self.ingests: dict[str, bytes] = {}

    def source(self, name: str) -> str:
        path = f"{self.sources}/{name}"
        with open(path, "wb") as file:
            file.write(content(name))
        return path

    def blob(self, data: bytes, labels: Any) -> None:
        self.blobs[Digest.of(data)] = (data, labels)

    def by_program(self, name: str, labels: Sequence[str] = ()) -> str:
        options = [word for label in labels for word in ("--label", label)]
        code, said = program(
            "ingest", name, "--from", self.source(name), *options, "--store", self.disk.root
        )
        if code == 0:
            self.blob(content(name), dict(label.split("=") for label in labels))
        assert "Traceback" not in said, said
        return said or "done"

    def expected(self, name: str) -> str:
        data = content(name)
        arguments = ("--expected-digest", str(Digest.of(data)), "--from", self.source(name))
        code, said = program("ingest", name, *arguments, "--store", self.disk.root)
        if code == 0:
            self.blob(data, {})
        return said or "done"

    def in_process(self, name: str, store: LocalStore) -> str:
        """Small writes by one store object that lives on."""
        data = content(name)
        return self._tried(lambda: self._write(store, name, data))

    def _write(self, store: LocalStore, name: str, data: bytes) -> None:
        with store.writer(name) as writer:
            for at in range(writer.offset, len(data), 300_000):
                writer.write(data[at : at + 300_000])
            writer.commit(len(data), Digest.of(data), LABELS)
        self.blob(data, LABELS)

    def put(self, name: str, store: LocalStore) -> str:
        data = content(name)
        return self._tried(lambda: self.blob(data, store.put(data, labels=LABELS).labels))

    def put_many(self, name: str, store: LocalStore) -> str:
        items = [content(f"{name} {n}")[: MIB // 2] for n in range(8)]

        def work() -> None:
            store.put_many(items)
            for item in items:
                self.blob(item, {})

        return self._tried(work)

    def closed(self, name: str, store: LocalStore) -> str:
        data = content(name)

        def work() -> None:
            with store.writer(name, total=2 * SIZE) as writer:
                writer.write(data[writer.offset :])
            self.ingests[name] = data

        return self._tried(work)

    def died_before_sync(self, name: str) -> str:
        """A writer ends without closing; its pages then fail to be written, unreported."""
        path = self.source(name)
        subprocess.run(
            [sys.executable, "-c", WRITE_AND_DIE, self.disk.root, name, path], check=True
        )
        subprocess.run(["sync", "-f", self.disk.mounted], check=False, capture_output=True)
        return "killed"

    def died_after_sync(self, name: str) -> str:
        """A writer hears of the failed sync, and is killed before it can drop the bytes."""
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=ftruncate"]
        command = [sys.executable, "-m", "contentui", "ingest", name, "--from", self.source(name)]
        done = subprocess.run(
            [*strace, "-e", "inject=ftruncate:signal=KILL", *command, "--store", self.disk.root],
            check=False,
            capture_output=True,
            text=True,
        )
        return "killed" if done.returncode in (-9, 137) else done.stderr.strip()

    def after_a_death(self, name: str, die: Any) -> None:
        self.disk.fill(MIB)
        first = die(name)
        self.disk.free()
        then = self.by_program(name)
        print(json.dumps({"scenario": name, "first": first, "then": then}))

    @staticmethod
    def _tried(work: Any) -> str:
        try:
            work()
        except ContentError as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    def twice(self, name: str, room: int, work: Any) -> bool:
        """Whether the first try failed."""
        self.disk.fill(room)
        first = work()
        self.disk.free()
        second = work()
        print(json.dumps({"scenario": name, "room": room, "first": first, "then": second}))
        return bool(first != "done")

    def missing(self) -> list[str]:
        """What was acknowledged and isn't there."""
        wrong = []
        with LocalStore(self.disk.root) as store:
            for digest, (data, labels) in self.blobs.items():
                with contextlib.suppress(ContentError), store.reader(digest) as reader:
                    if reader.read_at(SIZE + 1, 0) == data:
                        if store.info(digest).labels != labels:
                            wrong.append(f"{digest.short()}: labels {store.info(digest).labels}")
                        continue
                wrong.append(f"{digest.short()}: not the bytes that were acknowledged")
            for ref, data in self.ingests.items():
                with store.writer(ref) as writer:
                    if writer.offset != len(data) or writer.digest() != Digest.of(data):
                        wrong.append(f"ingest {ref}: {writer.offset} bytes, {writer.digest()}")
        return wrong


def all_ways(tests: Scenarios, store: LocalStore, room: int) -> int:
    """How many first tries failed."""
    ways = {
        "ingest": tests.by_program,
        "ingest labelled": partial(tests.by_program, labels=("a=b",)),
        "ingest expected": tests.expected,
        "write": partial(tests.in_process, store=store),
        "put": partial(tests.put, store=store),
        "put_many": partial(tests.put_many, store=store),
        "close": partial(tests.closed, store=store),
    }
    return sum(
        tests.twice(way, room, partial(work, f"{way.replace(' ', '-')}-{room}"))
        for way, work in ways.items()
    )


def main(base: str) -> int:
    if os.geteuid() != 0:
        skip("needs root")
    os.makedirs(base + "/sources")
    disk = Disk(base)
    tests = Scenarios(disk, base + "/sources")
    failed = 0
    with LocalStore(disk.root) as store:
        store.put(b"kept", labels=LABELS)
        tests.blob(b"kept", LABELS)
        for room in (0, MIB, 3 * MIB):
            failed += all_ways(tests, store, room)
    tests.after_a_death("died-before-sync", tests.died_before_sync)
    if shutil.which("strace"):
        tests.after_a_death("died-after-sync", tests.died_after_sync)
    disk.anew()
    wrong = tests.missing()
    print(json.dumps({"failed first": failed, "acknowledged": len(tests.blobs), "wrong": wrong}))
    return 1 if wrong or not failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
