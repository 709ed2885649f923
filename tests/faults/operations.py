"""What is done to a store under faults: each operation, what it acknowledges, what it may touch."""

from __future__ import annotations

import errno
import os
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import injected

from contentui.content.digest import Digest
from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    FailedPrecondition,
    NotFound,
    ReadOnly,
    Unavailable,
)
from contentui.content.helpers import list_digests, verified_chunks, write_blob
from contentui.content.model import Descriptor, ingest_id
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = b"a plain blob"
LABELLED = b"a labelled blob"
LABELS = {"keep": "me", "containerd.io/gc.ref.content.0": "x"}
SHORT = b"content that comes in one piece"
LONG = random.Random(1).randbytes(100_000)
KEPT = LONG[:30_000]
"""What the ingests of the prepared store hold."""
GHOST = b"a labelled blob whose file was removed with rm"
DISK = [os.strerror(code) for code in (errno.EIO, errno.ESTALE, errno.EACCES)]
OLD = {"of": "an earlier blob"}
MANY = [b"many 1", PLAIN, b"many 2", b"many 3", b"many 1"]


class Blob(NamedTuple):
    """A blob is there, durably, with these labels; None: whichever."""

    data: bytes
    labels: dict[str, str] | None = None
    algorithm: str = "sha256"

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data, self.algorithm)


class NoBlob(NamedTuple):
    data: bytes


class Ingest(NamedTuple):
    """An ingest holds exactly these bytes, durably."""

    ref: str
    data: bytes


class NoIngest(NamedTuple):
    ref: str


class Image(NamedTuple):
    name: str
    digest: Digest | None
    """None: there is no such image."""


Fact = Blob | NoBlob | Ingest | NoIngest | Image


class Place(NamedTuple):
    """Where an operation runs: the sources, and what its set-up made."""

    root: str
    source: str
    """A file with `LONG`."""
    held: Any = None


@dataclass(frozen=True)
class Operation:
    """``run`` may be repeated. ``already``: what a repetition may raise because it was done."""

    name: str
    run: Callable[[LocalStore, Place], object]
    facts: tuple[Fact, ...] = ()
    already: tuple[type[ContentError], ...] = ()
    start: str = "full"
    """Which prepared store: ``full``, ``missing``, ``bare``."""
    set_up: Callable[[LocalStore, Place], Any] | None = None
    others: tuple[str, ...] = ()
    """What other processes may do at each call."""
    target: bytes = b""
    """The content that those others deal with."""
    reads: bool = False
    """Changes nothing."""
    labels: dict[str, str] = field(default_factory=dict)
    """Those that the blob gets where none is there yet."""
    refusals: tuple[type[ContentError], ...] = ()
    """What may be raised besides the fault's own error."""
    drops: bool = False
    """Bytes of ingests go on demand."""


def _read_write(store: LocalStore, ref: str, data: bytes, **options: Any) -> None:
    labels = options.pop("labels", None)
    with store.writer(ref, **options) as writer:
        writer.write(data[writer.offset :])
        writer.commit(labels=labels)


def _existing_is_success(work: Callable[[], object]) -> None:
    try:
        work()
    except AlreadyExists:
        return


def ingest_short(store: LocalStore, place: Place) -> None:
    _existing_is_success(lambda: _read_write(store, "short", SHORT, total=len(SHORT)))


def ingest_labelled(store: LocalStore, place: Place) -> None:
    _existing_is_success(
        lambda: _read_write(
            store, "short", SHORT, expected=Digest.of(SHORT), labels={"new": "label"}
        )
    )


def ingest_file(store: LocalStore, place: Place) -> None:
    with open(place.source, "rb", buffering=0) as source:
        write_blob(store, "long", source, size=len(LONG), labels={"new": "label"})


def ingest_pipe(store: LocalStore, place: Place) -> None:
    ours, theirs = injected.real_pipe()

    def feed() -> None:
        try:
            with open(theirs, "wb", buffering=0, closefd=False) as pipe:
                pipe.write(LONG)
        except BrokenPipeError:
            pass
        finally:
            injected.real["close"](theirs)

    thread = threading.Thread(target=feed, name=injected.OWN_THREADS + " feeder")
    thread.start()
    try:
        with open(ours, "rb", buffering=0, closefd=False) as source:
            write_blob(store, "long", source)
    finally:
        injected.real["close"](ours)
        thread.join()


def resume(store: LocalStore, place: Place) -> None:
    with open(place.source, "rb", buffering=0) as source:
        write_blob(store, "partial", source, size=len(LONG))


def resume_labelled(store: LocalStore, place: Place) -> None:
    with open(place.source, "rb", buffering=0) as source:
        write_blob(store, "partial", source, expected=Digest.of(LONG), labels={"new": "label"})


def resume_in_pieces(store: LocalStore, place: Place) -> None:
    def work() -> None:
        with store.writer("partial") as writer:
            while writer.offset < len(LONG):
                writer.write(LONG[writer.offset : writer.offset + 20_000])
            writer.commit(len(LONG), Digest.of(LONG))

    _existing_is_success(work)


def close(store: LocalStore, place: Place) -> None:
    with store.writer("partial") as writer:
        writer.write(LONG[writer.offset : 60_000])


def close_new(store: LocalStore, place: Place) -> None:
    with store.writer("fresh", total=500, expected=Digest.of(b"never")) as writer:
        writer.write(SHORT[writer.offset :])


def refuse(store: LocalStore, place: Place) -> None:
    try:
        with store.writer("wrong", total=len(SHORT), expected=Digest.of(b"right")) as writer:
            writer.write(SHORT[writer.offset :])
            writer.commit()
    except FailedPrecondition as error:
        if "unexpected commit digest" not in str(error):
            raise
        if "could not be" in error.advice:  # then nothing is promised of the ingest
            raise Unavailable(error.advice) from error


def commit_existing(store: LocalStore, place: Place) -> None:
    _existing_is_success(lambda: _read_write(store, "again", LABELLED, labels={"new": "label"}))


def forced_abort(store: LocalStore, place: Place) -> None:
    store.abort("partial", force=True)


def hold(store: LocalStore, place: Place) -> Any:
    other = LocalStore(place.root)
    writer = other.writer("partial")
    writer.write(LONG[writer.offset : 40_000])

    def release() -> None:
        try:
            writer.close()
        finally:
            other.close()

    return release


def read(store: LocalStore, place: Place) -> None:
    assert b"".join(verified_chunks(store, Digest.of(LABELLED))) == LABELLED
    with store.reader(Digest.of(PLAIN)) as reader:
        assert reader.read_at(5, 2) == PLAIN[2:7]


def walk(store: LocalStore, place: Place) -> None:
    found = {info.digest: info for info in store.walk()}
    assert found[Digest.of(LABELLED)].labels in (LABELS, None)
    assert found[Digest.of(PLAIN)].labels in ({}, None)
    assert set(list_digests(store)) == set(found)


def info(store: LocalStore, place: Place) -> None:
    assert store.info(Digest.of(LABELLED)).labels in (LABELS, None)  # None: unknown
    assert store.info(Digest.of(PLAIN)).labels in ({}, None)


def statuses(store: LocalStore, place: Place) -> None:
    listed = store.statuses()
    ids = {ingest_id(ref) for ref in ("partial", "idle", "poisoned")}
    assert {status.id for status in listed} == ids, f"listed: {listed}"
    for status in listed:
        # What can't be read is shown with the reason; what fails for want of means is no damage.
        assert not status.damage or any(why in status.damage for why in DISK), status
        if not status.damage and status.ref == "partial":
            assert (status.offset, status.total) == (len(KEPT), len(LONG)), status
    status = store.status("partial")
    assert status.damage or (status.offset, status.total) == (len(KEPT), len(LONG)), status
    assert None not in store.refresh(listed), "an ingest is reported as gone"


def holders(store: LocalStore, place: Place) -> None:
    found = store.holders([ingest_id("partial"), ingest_id("idle")])
    assert found is None or ingest_id("idle") not in found
    if found is not None:
        assert ingest_id("partial") in found, "a held ref is reported as free"


def probe(store: LocalStore, place: Place) -> None:
    assert store.probe("idle", if_match=store.status("idle")).digest == Digest.of(KEPT)


def list_images(store: LocalStore, place: Place) -> None:
    assert [image.name for image in store.images.list()] == ["kept:1", "old:1"]
    assert store.images.get("kept:1").target.digest == Digest.of(PLAIN)


def descriptor(data: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data), len(data))


def update_all(store: LocalStore, place: Place) -> None:
    store.update(Digest.of(LABELLED), {"only": "this"})


def update_one(store: LocalStore, place: Place) -> None:
    store.update(Digest.of(PLAIN), {"one": "1"}, ["labels.one"])


def open_anew(store: LocalStore, place: Place) -> None:
    with LocalStore(place.root) as another:
        assert another.info(Digest.of(PLAIN)).size == len(PLAIN)
        another.put(SHORT, labels={"new": "label"})


SOURCE = {"new": "label"}
BY_OTHERS = ("delete", "rm", "put")

OPERATIONS = [
    Operation("put", lambda s, p: s.put(SHORT), (Blob(SHORT, {}),), others=BY_OTHERS, target=SHORT),
    Operation(
        "put labelled",
        lambda s, p: s.put(SHORT, labels=SOURCE),
        (Blob(SHORT, SOURCE),),
        labels=SOURCE,
        others=BY_OTHERS,
        target=SHORT,
    ),
    Operation(
        "put existing",
        lambda s, p: s.put(LABELLED, labels=SOURCE),
        (Blob(LABELLED, LABELS),),
        labels=SOURCE,
        others=BY_OTHERS,
        target=LABELLED,
    ),
    Operation("put ghost", lambda s, p: s.put(GHOST), (Blob(GHOST, {}),)),
    Operation(
        "put ghost labelled", lambda s, p: s.put(GHOST, labels=SOURCE), (Blob(GHOST, SOURCE),)
    ),
    Operation(
        "put sha512",
        lambda s, p: s.put(SHORT, expected=Digest.of(SHORT, "sha512"), labels=SOURCE),
        (Blob(SHORT, SOURCE, "sha512"),),
    ),
    Operation(
        "put many",
        lambda s, p: s.put_many(MANY, labels=SOURCE),
        (*(Blob(data, SOURCE) for data in MANY if data != PLAIN), Blob(PLAIN, {})),
        labels=SOURCE,
        others=BY_OTHERS,
        target=MANY[0],
    ),
    Operation("put in a new store", lambda s, p: s.put(SHORT), (Blob(SHORT, {}),), start="missing"),
    Operation(
        "put labelled in a new store",
        lambda s, p: s.put(SHORT, labels=SOURCE),
        (Blob(SHORT, SOURCE),),
        start="missing",
    ),
    Operation(
        "ingest in a new store",
        ingest_labelled,
        (Blob(SHORT, SOURCE), NoIngest("short")),
        start="missing",
    ),
    # The owner of the directory must be known; if it is unknown, the directory is read-only.
    Operation("open anew", open_anew, (Blob(SHORT, SOURCE),), refusals=(ReadOnly,)),
    Operation(
        "ingest short",
        ingest_short,
        (Blob(SHORT, {}), NoIngest("short")),
        others=(*BY_OTHERS, "abort short"),
        target=SHORT,
    ),
    Operation(
        "ingest labelled",
        ingest_labelled,
        (Blob(SHORT, SOURCE), NoIngest("short")),
        labels=SOURCE,
        others=(*BY_OTHERS, "abort short"),
        target=SHORT,
    ),
    Operation(
        "ingest ghost",
        lambda s, p: _existing_is_success(lambda: _read_write(s, "ghost", GHOST)),
        (Blob(GHOST, {}), NoIngest("ghost")),
    ),
    Operation(
        "ingest from a file",
        ingest_file,
        (Blob(LONG, SOURCE), NoIngest("long")),
        labels=SOURCE,
        others=BY_OTHERS,
        target=LONG,
    ),
    Operation("ingest from a pipe", ingest_pipe, (Blob(LONG, {}), NoIngest("long"))),
    Operation("resume", resume, (Blob(LONG, {}), NoIngest("partial"))),
    Operation(
        "resume labelled",
        resume_labelled,
        (Blob(LONG, SOURCE), NoIngest("partial")),
        labels=SOURCE,
        others=BY_OTHERS,
        target=LONG,
    ),
    Operation("resume in pieces", resume_in_pieces, (Blob(LONG, {}), NoIngest("partial"))),
    Operation("close", close, (Ingest("partial", LONG[:60_000]),)),
    Operation("close a new one", close_new, (Ingest("fresh", SHORT),)),
    Operation("refuse", refuse, (Ingest("wrong", SHORT),), refusals=(Unavailable,)),
    Operation(
        "commit existing",
        commit_existing,
        (Blob(LABELLED, LABELS), NoIngest("again")),
        labels=SOURCE,
        others=BY_OTHERS,
        target=LABELLED,
    ),
    Operation("truncate", lambda s, p: s.truncate("idle"), (Ingest("idle", b""),), drops=True),
    Operation("abort", lambda s, p: s.abort("idle"), (NoIngest("idle"),), (NotFound,), drops=True),
    Operation(
        "abort by id",
        lambda s, p: s.abort(ingest_id("poisoned")),
        (NoIngest("poisoned"),),
        (NotFound,),
        drops=True,
    ),
    Operation(
        "forced abort", forced_abort, (NoIngest("partial"),), (NotFound,), set_up=hold, drops=True
    ),
    Operation("delete", lambda s, p: s.delete(Digest.of(PLAIN)), (NoBlob(PLAIN),), (NotFound,)),
    Operation(
        "delete labelled",
        lambda s, p: s.delete(Digest.of(LABELLED)),
        (NoBlob(LABELLED),),
        (NotFound,),
    ),
    Operation("update all", update_all, (Blob(LABELLED, {"only": "this"}),)),
    Operation("update one", update_one, (Blob(PLAIN, {"one": "1"}),)),
    Operation(
        "name an image",
        lambda s, p: s.images.put("new:1", descriptor(PLAIN), {"a": "b"}),
        (Image("new:1", Digest.of(PLAIN)),),
    ),
    Operation(
        "name the first image",
        lambda s, p: s.images.put("new:1", descriptor(PLAIN)),
        (Image("new:1", Digest.of(PLAIN)),),
        start="unnamed",
    ),
    Operation(
        "move an image",
        lambda s, p: s.images.put("old:1", descriptor(PLAIN)),
        (Image("old:1", Digest.of(PLAIN)),),
    ),
    Operation(
        "forget an image",
        lambda s, p: s.images.delete("old:1"),
        (Image("old:1", None),),
        (NotFound,),
    ),
    Operation(
        "put beside foreign blobs",
        lambda s, p: s.put(SHORT, labels=SOURCE),
        (Blob(SHORT, SOURCE),),
        start="bare",
    ),
    Operation("read", read, reads=True),
    Operation("walk", walk, reads=True),
    Operation("info", info, reads=True),
    Operation("statuses", statuses, reads=True),
    Operation("holders", holders, reads=True, set_up=hold),
    Operation("probe", probe, reads=True),
    Operation("list images", list_images, reads=True),
]
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def prepare(kind: str, root: str) -> None:
    """Make a store to start from."""
    if kind == "missing":
        return
    os.mkdir(root)
    if kind == "bare":  # what another program's store looks like
        os.makedirs(root + "/blobs/sha256")
        for data in (PLAIN, LABELLED):
            with open(f"{root}/blobs/sha256/{Digest.of(data).encoded}", "wb") as file:
                file.write(data)
        return
    with LocalStore(root) as store:
        store.put(PLAIN)
        store.put(LABELLED, labels=LABELS)
        store.put(GHOST, labels=OLD)
        os.unlink(store.path(Digest.of(GHOST)))
        for ref in ("partial", "idle"):
            with store.writer(ref, total=len(LONG)) as writer:
                writer.write(KEPT)
        try:
            with store.writer("poisoned", total=3, expected=Digest.of(b"right")) as writer:
                writer.write(b"bad")
                writer.commit()
        except FailedPrecondition:
            pass
        if kind == "full":
            store.images.put("kept:1", descriptor(PLAIN))
            store.images.put("old:1", descriptor(LABELLED))
