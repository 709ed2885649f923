"""Random deeds on a directory and on the store in memory must have the same outcomes."""

from __future__ import annotations

import io
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.content.helpers import write_blob
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.store import Store
    from contentui.content.streams import Writer

# A ref is always opened with the same expectation: whether one that an earlier session had
# outlives it is for each store to say.
WANTED = {
    "a": None,
    "b": Digest.of(b"x"),
    "line\nbreak": None,
    "odd \udcff": Digest.of(b"x", "sha512"),
}
REFS = st.sampled_from(list(WANTED))
DATA = st.sampled_from([b"", b"x", b"yy", b"xx", b"z" * 5000])
DIGESTS = st.one_of(
    st.sampled_from([b"", b"x", b"yy", b"xx", b"xyy", b"z" * 5000]).map(Digest.of),
    st.just(Digest.of(b"x", "sha512")),
)
MAYBE = st.one_of(st.none(), DIGESTS)
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), max_size=2)
CHANGES = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2", ""]), max_size=2)


def outcome(deed: Callable[[], Any]) -> Any:
    try:
        return deed()
    except ContentError as error:
        name = type(error).__name__
        # A writer whose ingest was aborted by force may get either error.
        return "gone" if name in ("NotFound", "DataLoss") else name


class Twins(RuleBasedStateMachine):
    """The same deeds on both stores."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.stores: tuple[Store, Store] = (LocalStore(self.root), MemoryStore())
        self.writers: dict[str, tuple[Writer, Writer]] = {}

    def teardown(self) -> None:
        for pair in self.writers.values():
            for writer in pair:
                outcome(writer.close)
        self.stores[0].close()
        shutil.rmtree(self.root)

    def both(self, deed: Callable[[Store], Any]) -> None:
        ours, model = (outcome(lambda store=store: deed(store)) for store in self.stores)
        assert ours == model

    @rule(ref=REFS, total=st.sampled_from([0, 0, 3]))
    def open(self, ref: str, total: int) -> None:
        expected = WANTED[ref]
        opened = [
            outcome(lambda store=store: store.writer(ref, total=total, expected=expected))
            for store in self.stores
        ]
        if isinstance(opened[1], str):
            assert opened[0] == opened[1]
        else:
            assert not isinstance(opened[0], str), opened[0]
            assert opened[0].offset == opened[1].offset
            assert opened[0].digest() == opened[1].digest()
            self.writers[ref] = (opened[0], opened[1])

    def on_writer(self, ref: str, deed: Callable[[Writer], Any]) -> None:
        if ref in self.writers:
            ours, model = (outcome(lambda w=writer: deed(w)) for writer in self.writers[ref])
            assert ours == model

    @rule(ref=REFS, data=DATA.filter(len))
    def write(self, ref: str, data: bytes) -> None:
        self.on_writer(ref, lambda writer: (writer.write(data), writer.offset, writer.digest()))

    @rule(ref=REFS, data=DATA.filter(len))
    def append(self, ref: str, data: bytes) -> None:
        self.on_writer(ref, lambda writer: writer.append_from(io.BytesIO(data)))

    @rule(ref=REFS, size=st.sampled_from([0, 0, 1]))
    def writer_truncate(self, ref: str, size: int) -> None:
        self.on_writer(ref, lambda writer: writer.truncate(size))

    @rule(ref=REFS, size=st.sampled_from([None, None, 1, 3]), labels=LABELS)
    def commit(self, ref: str, size: int | None, labels: dict[str, str]) -> None:
        def deed(writer: Writer) -> Any:
            info = writer.commit(size, labels=labels)
            return info.digest, info.size, info.labels

        self.on_writer(ref, deed)

    @rule(ref=REFS)
    def close(self, ref: str) -> None:
        self.on_writer(ref, lambda writer: writer.close())
        self.writers.pop(ref, None)

    @rule(ref=REFS, force=st.booleans())
    def abort(self, ref: str, force: bool) -> None:
        self.both(lambda store: store.abort(ref, force=force))

    @rule(ref=REFS)
    def truncate(self, ref: str) -> None:
        self.both(lambda store: store.truncate(ref))

    @rule(data=DATA, expected=MAYBE, labels=LABELS)
    def put(self, data: bytes, expected: Digest | None, labels: dict[str, str]) -> None:
        def deed(store: Store) -> Any:
            info = store.put(data, expected=expected, labels=labels)
            return info.digest, info.size, info.labels

        self.both(deed)

    @rule(items=st.lists(DATA, max_size=4), labels=LABELS)
    def put_many(self, items: list[bytes], labels: dict[str, str]) -> None:
        self.both(
            lambda store: [
                (info.digest, info.labels) for info in store.put_many(items, labels=labels)
            ]
        )

    @rule(ref=REFS, data=DATA)
    def transfer(self, ref: str, data: bytes) -> None:
        expected = WANTED[ref]

        def deed(store: Store) -> Any:
            done = write_blob(store, ref, io.BytesIO(data), expected=expected)
            return done.info.digest, done.info.size, done.outcome, done.resumed_from

        self.both(deed)

    @rule(digest=DIGESTS)
    def delete(self, digest: Digest) -> None:
        self.both(lambda store: store.delete(digest))

    @rule(digest=DIGESTS, labels=CHANGES, mask=st.sampled_from([[], ["labels.a"], ["labels"]]))
    def update(self, digest: Digest, labels: dict[str, str], mask: list[str]) -> None:
        self.both(lambda store: store.update(digest, labels, mask).labels)

    @rule()
    def open_again(self) -> None:
        """What is on disk must be all there is, unless writers are live."""
        if not self.writers:
            self.stores[0].close()
            self.stores = (LocalStore(self.root), self.stores[1])

    @invariant()
    def same_content(self) -> None:
        def facts(store: Store) -> Any:
            blobs = {
                (i.digest, i.size, tuple(sorted((i.labels or {}).items()))) for i in store.walk()
            }
            ingests = {
                (s.ref, s.offset, s.total, s.expected, s.refused, s.damage)
                for s in store.statuses()
            }
            ids = [s.id for s in store.statuses()]
            return blobs, ingests, set(store.holders(ids) or ())

        self.both(facts)


Twins.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTwins = Twins.TestCase
