"""A process that writes into a store, or checks and repairs it, until its standard input ends.

``fsck_child.py ROOT ROLE SEED``: each deed is acknowledged on stdout as a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time

from contentui.content.errors import Locked
from contentui.content.helpers import write_blob
from contentui.content.model import Descriptor, ingest_id
from contentui.stores.local import fsck
from contentui.stores.local.store import LocalStore

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def acknowledge(**record: object) -> None:
    """One write of less than PIPE_BUF: whole or not at all."""
    os.write(1, (json.dumps(record) + "\n").encode())


def content(name: str, size: int = 2000) -> bytes:
    return random.Random(name).randbytes(size)


def ingest(store: LocalStore, name: str) -> None:
    """A labelled blob piece by piece, labelled anew; one in three is deleted again."""
    data = content(name)
    with store.writer(f"ref-{name}", total=len(data)) as writer:
        for at in range(0, len(data), 500):
            writer.write(data[at : at + 500])
        info = writer.commit(labels={"name": name})
    store.update(info.digest, {"more": name}, ["labels.more"])
    if random.random() < 0.3:
        store.delete(info.digest)
    else:
        acknowledge(blob=info.digest, labels={"name": name, "more": name})


def put(store: LocalStore, name: str) -> None:
    """Many at once, and an image's name for the first."""
    infos = store.put_many([content(f"{name}-{n}", 100) for n in range(8)], labels={"put": name})
    store.images.put(f"example.com/{name}", Descriptor(MANIFEST, infos[0].digest, 100))
    for info in infos:
        acknowledge(blob=info.digest, labels={"put": name})


def leave(store: LocalStore, name: str) -> None:
    """An ingest that is begun, left, and resumed."""
    data = content(name)
    for end in (700, 1500, 2000):
        with store.writer(f"left-{name}") as writer:
            writer.write(data[writer.offset : end])
            assert writer.offset == end
            if end == len(data):
                acknowledge(blob=writer.commit().digest, labels={})


def heal(store: LocalStore, name: str) -> None:
    """An ingest whose first writer was killed long ago while it made it, begun anew."""
    root = store.name
    path = os.path.join(root, "ingest", ingest_id(f"healed-{name}"))
    os.makedirs(path, exist_ok=True)
    then = time.time() - 3600
    with open(os.path.join(path, "data"), "wb") as file:
        file.write(b"torn")
    os.utime(os.path.join(path, "data"), (then, then))
    os.utime(path, (then, then))
    time.sleep(random.random() * 0.02)  # a repair may come first, or in the midst of it
    data = content(name)
    with open(os.path.join(root, "..", f"source-{os.getpid()}"), "w+b") as source:
        source.write(data)
        source.seek(0)
        written = write_blob(store, f"healed-{name}", source, size=len(data), wait_s=20)
    acknowledge(blob=written.info.digest, labels={})


def repair(store: LocalStore, _name: str) -> None:
    findings = fsck.check(store)
    for finding in findings:
        acknowledge(found=finding.name, kind=finding.kind, problem=finding.problem)
    for outcome in fsck.repair(store, findings):
        acknowledge(repaired=outcome.finding.name, result=outcome.result, reason=outcome.reason)
    acknowledge(round=len(findings))


ROLES = {"ingest": ingest, "put": put, "leave": leave, "heal": heal, "repair": repair}


def main() -> None:
    root, role, seed = sys.argv[1:]
    store = LocalStore(root)
    count = 0
    while not select.select([0], [], [], 0)[0]:
        try:
            ROLES[role](store, f"{seed}-{count}")
        except Locked:
            if role != "heal":  # whoever repairs locks nothing but what is damaged
                raise
        count += 1


if __name__ == "__main__":
    main()
