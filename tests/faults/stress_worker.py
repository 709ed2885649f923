"""One of the processes of `stress`: random operations, each noted before and after."""

from __future__ import annotations

import io
import json
import mmap
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from stress_model import ABSENT, DONE, UNKNOWN

from contentui.content.digest import Digest
from contentui.content.errors import (
    AlreadyExists,
    Changed,
    ContentError,
    DataLoss,
    FailedPrecondition,
    Locked,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from contentui.content.model import Descriptor
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.helpers import verified_chunks, write_blob
else:
    try:
        from contentui.content.helpers import verified_chunks, write_blob
    except ModuleNotFoundError:  # `test_versions.py` runs this with an older contentui
        from contentui.content.transfer import verified_chunks, write_blob

LABELLED = "by"
SIZES = (30, 700, 20_000, 150_000)
CONTENTS = [random.Random(n).randbytes(SIZES[n % len(SIZES)]) for n in range(6)]
BLOBS = {str(Digest.of(data)): data for data in CONTENTS}
REFS = {f"{kind}-{n}": CONTENTS[n] for kind in ("ref", "forced") for n in (1, 2, 3)}
"""Ingests, each of one content; only those called ``forced`` are aborted by force."""
IMAGES = ("image:1", "image:2")
_PASSING = (Locked, Unavailable, ResourceExhausted)


class Worker:
    def __init__(self, root: str, log: str, name: str, seed: float, *, rm: bool) -> None:
        self.dice = random.Random(seed)
        self.root = root
        self.store = LocalStore(root)
        self.name = name
        self._number = 0
        self._choice = [
            *((self.put, 20), (self.put_many, 4), (self.ingest, 25), (self.close, 8)),
            *((self.delete, 16), (self.rm, 3 * rm), (self.label, 8), (self.mark, 6)),
            *((self.info, 8), (self.walk, 4), (self.read, 4), (self.statuses, 3)),
            *((self.abort, 4), (self.force, 3), (self.truncate, 3)),
            *((self.name_image, 4), (self.forget_image, 2), (self.image, 3)),
        ]
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, *words: Any) -> None:
        """One write: whole or not at all, and there whatever becomes of us."""
        if words[0] == "wrong" and self.name.startswith("old"):
            return  # what an older version refuses is its own affair
        os.write(self._log, json.dumps(words).encode() + b"\n")

    def operate(self, kind: str, deeds: list[tuple[str, str, str]], run: Callable[[], Any]) -> None:
        """Run it between two notes. ``deeds``: what it does, to what, with which argument."""
        name = self.operation
        self.note("begin", name, time.monotonic_ns(), deeds)
        try:
            result = run()
        except NotFound as error:
            result = ABSENT
            if kind in ("put", "ingest", "close"):
                result = UNKNOWN  # only after a forced abort
                if not deeds[-1][1].startswith("forced"):
                    self.note("wrong", name, 0, f"{kind} raised NotFound: {error}")
        except _PASSING:
            result = UNKNOWN
        except (DataLoss, FailedPrecondition) as error:
            result = UNKNOWN
            half_made = kind == "truncate" and isinstance(error, Changed)  # by one that was killed
            if not half_made and not deeds[-1][1].startswith("forced"):
                self.note("wrong", name, 0, f"{kind} raised {type(error).__name__}: {error}")
        except ContentError as error:
            result = UNKNOWN
            self.note("wrong", name, 0, f"{kind} raised {type(error).__name__}: {error}")
        self.note("end", name, time.monotonic_ns(), result, kind)

    @property
    def operation(self) -> str:
        return f"{self.name}-{self._number}"

    # -- the operations

    def step(self) -> None:
        self._number += 1
        if self.dice.random() < 0.02:
            self.store.close()
            self.store = LocalStore(self.root)
        ways, often = zip(*self._choice, strict=True)
        self.dice.choices(ways, often)[0]()

    def put(self) -> None:
        data = self.dice.choice(CONTENTS)
        digest, labels = str(Digest.of(data)), {LABELLED: self.operation}

        def run() -> str:
            self.store.put(data, labels=labels)
            return DONE

        self.operate("put", [("store", digest, self.operation)], run)

    def put_many(self) -> None:
        some = self.dice.sample(CONTENTS, 3)
        labels = {LABELLED: self.operation}

        def run() -> str:
            self.store.put_many(some, labels=labels)
            return DONE

        deeds = [("store", str(Digest.of(data)), self.operation) for data in some]
        self.operate("put", deeds, run)

    def ingest(self) -> None:
        """By one of three ways; what is there of the ref is resumed."""
        ref = self.dice.choice(list(REFS))
        data, labels = REFS[ref], {LABELLED: self.operation}
        digest = Digest.of(data)
        way = self.dice.randrange(3)

        def run() -> str:
            if way == 0:
                write_blob(self.store, ref, io.BytesIO(data), expected=digest, labels=labels)
            elif way == 1:
                write_blob(self.store, ref, io.BytesIO(data), size=len(data), labels=labels)
            else:
                self._in_pieces(ref, data, labels)
            return DONE

        # The ingest goes with it, whether it becomes the blob or the blob is there already.
        deeds = [("store", str(digest), self.operation), ("drop", ref, "")]
        self.operate("ingest", deeds, run)

    def _in_pieces(self, ref: str, data: bytes, labels: dict[str, str]) -> None:
        piece = max(len(data) // 5, 1)
        try:
            with self.store.writer(ref, total=len(data)) as writer:
                while writer.offset < len(data):
                    writer.write(data[writer.offset : writer.offset + piece])
                writer.commit(len(data), labels=labels)
        except AlreadyExists:
            return

    def close(self) -> None:
        ref = self.dice.choice(list(REFS))
        data = REFS[ref]
        end = self.dice.randrange(1, len(data))

        def run() -> str:
            with self.store.writer(ref, total=len(data)) as writer:
                writer.write(data[writer.offset : end])
            return DONE

        self.operate("close", [("close", ref, str(end))], run)

    def abort(self) -> None:
        self._drop("abort", "ref", lambda ref: self.store.abort(ref))

    def force(self) -> None:
        self._drop("forced abort", "forced", lambda ref: self.store.abort(ref, force=True))

    def truncate(self) -> None:
        self._drop("truncate", "ref", lambda ref: self.store.truncate(ref))

    def _drop(self, kind: str, refs: str, deed: Callable[[str], None]) -> None:
        ref = self.dice.choice([ref for ref in REFS if ref.startswith(refs)])

        def run() -> str:
            deed(ref)
            return DONE

        self.operate(kind, [("drop", ref, "")], run)

    def delete(self) -> None:
        digest = self.dice.choice(list(BLOBS))

        def run() -> str:
            self.store.delete(Digest(digest))
            return DONE

        self.operate("delete", [("delete", digest, "")], run)

    def rm(self) -> None:
        """What a person may do: the file goes, and its row stays."""
        digest = self.dice.choice(list(BLOBS))

        def run() -> str:
            try:
                os.unlink(f"{self.root}/blobs/sha256/{digest[7:]}")
            except FileNotFoundError:
                return ABSENT
            return DONE

        self.operate("rm", [("delete", digest, "")], run)

    def label(self) -> None:
        digest, name = self.dice.choice(list(BLOBS)), self.operation

        def run() -> str:
            self.store.update(Digest(digest), {LABELLED: name})
            return DONE

        self.operate("label", [("label", digest, name)], run)

    def mark(self) -> None:
        digest, name = self.dice.choice(list(BLOBS)), self.operation

        def run() -> str:
            self.store.update(Digest(digest), {"mark": name}, ["labels.mark"])
            return DONE

        self.operate("mark", [("mark", digest, name)], run)

    def info(self) -> None:
        digest = self.dice.choice(list(BLOBS))
        self.operate(
            "info", [("read", digest, "")], lambda: _seen(self.store.info(Digest(digest)).labels)
        )

    def walk(self) -> None:
        def run() -> list[Any]:
            found = {info.digest: info.labels for info in self.store.walk()}
            return [_seen(found[d]) if d in found else ABSENT for d in map(Digest, BLOBS)]

        self.operate("walk", [("list", digest, "") for digest in BLOBS], run)

    def read(self) -> None:
        digest = Digest(self.dice.choice(list(BLOBS)))

        def run() -> str:
            assert b"".join(verified_chunks(self.store, digest)) == BLOBS[digest]
            return UNKNOWN

        self.operate("read", [("read", digest, "")], run)

    def statuses(self) -> None:
        def run() -> str:
            for status in self.store.statuses():
                assert status.offset <= len(REFS.get(status.ref, b"")) or status.damage, status
            return UNKNOWN

        self.operate("statuses", [("read", "ref-1", "")], run)

    def name_image(self) -> None:
        name, digest = self.dice.choice(IMAGES), Digest(self.dice.choice(list(BLOBS)))

        def run() -> str:
            self.store.images.put(name, Descriptor("a/b", digest, len(BLOBS[digest])))
            return DONE

        self.operate("name an image", [("name", name, digest)], run)

    def forget_image(self) -> None:
        name = self.dice.choice(IMAGES)

        def run() -> str:
            self.store.images.delete(name)
            return DONE

        self.operate("forget an image", [("delete", name, "")], run)

    def image(self) -> None:
        name = self.dice.choice(IMAGES)

        def run() -> dict[str, Any]:
            return {"state": [self.store.images.get(name).target.digest]}

        self.operate("image", [("read", name, "")], run)


def _seen(labels: Any) -> Any:
    """Labels as a read's result; unknown ones are a result of their own."""
    if labels is None:
        return {"state": [UNKNOWN]}
    return {"state": [labels.get(LABELLED, ""), labels.get("mark", "")]}


def work(root: str, log: str, name: str, seed: float, end: mmap.mmap, *, rm: bool = True) -> None:
    """Operate until ``end`` is set; ``rm``: remove blobs' files by hand, too."""
    worker = Worker(root, log, name, seed, rm=rm)
    while not end[0]:
        worker.step()
    worker.store.close()


def main() -> None:
    root, log, name, seed, end = sys.argv[1:]
    with open(end, "r+b") as file:
        work(root, log, name, float(seed), mmap.mmap(file.fileno(), 1), rm=False)


if __name__ == "__main__":
    main()
