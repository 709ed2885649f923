"""A machine of random requests: the service over a real socket and the model must agree."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_model import COMMIT, STAT, WRITE, Answer, Model, No, Request, Session
from fuzz_wire import (
    Refused,
    Stream,
    Wire,
    decode,
    encode,
    labels_field,
    labels_of,
    number,
    seconds,
    text,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from contentui.content.digest import Digest
from contentui.content.model import ingest_id
from contentui.content.traits import Roles
from contentui.servers.grpc.server import Server
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contentui.content.store import Store

RECENT = 1_700_000_000
"""Seconds since 1970; all that is made here is younger."""
FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where syncing costs nothing; what a sync is worth is tested elsewhere."""

REFS = ["a", "b", "layer-" + Digest.of(b"x"), "line\nbreak", "odd \udcff"]
DATA = [b"", b"x", b"yy", b"xx", b"z" * 70_000]
SUMS = [*map(Digest.of, [*DATA, b"xyy", b"yyx"])]
OTHER = [Digest.of(b"x", "sha512"), Digest.of(b"xyy", "sha384")]
BAD = ["", "x", "sha256:", "sha256:XYZ", "md5:" + "0" * 32, "sha256:" + "A" * 64, "../../etc", "\0"]
DIGESTS = st.sampled_from([*SUMS * 4, *OTHER * 2, *BAD])
EXPECTED = st.sampled_from([*[""] * 24, *SUMS, *OTHER, *BAD[1:]])
LABELS = st.sampled_from(
    [
        *[()] * 6,
        (("a", "1"),),
        (("a", "2"), ("b.c/d", "é")),
        (("a", ""),),
        (("long", "v" * 4092),),
        (("long", "v" * 4093),),
        (("", "v"),),
    ]
)
PATHS = st.sampled_from(
    ["labels", "labels.a", "labels.b.c/d", "labels.", "size", "", "labels.é", "Labels", "digest"]
)
MASKS = st.one_of(st.just([]), PATHS.map(lambda path: [path]), st.lists(PATHS, max_size=3))
FILTERS = st.lists(
    st.sampled_from(
        [
            "", "ref==a", 'ref=="layer-x"', "ref~=^l", "ref!=a", "ref", "digest~=^sha256:2",
            "digest~=sha512", "labels.a", "labels.a==1", 'labels."b.c/d"~=é', "labels", "size",
            "ref==/x", "^x", 'ref=="', "ref~=(", "labels.a==1,digest~=^sha", "é", "a,,b",
        ]
    ),
    max_size=2,
)  # fmt: skip
REF = st.sampled_from([*REFS, *REFS, "", "missing"])
SLOT = st.integers(0, 2)
OFFSET = st.sampled_from(["right"] * 10 + ["append", "zero", "zero", "wrong"])
ACTION = st.sampled_from([STAT, STAT, *[WRITE] * 5, *[COMMIT] * 3, 7, -1])
TOTAL = st.sampled_from([0] * 12 + [1, 2, 3, -5, 1 << 62])
NUMBER = st.sampled_from([0, 0, 1, 2, 3, 69_999, 70_000, 70_001, -1, -(1 << 63), (1 << 63) - 1])


class Current:
    """The store of the example that runs now, under one service for all examples."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()

    @property
    def roles(self) -> Roles:
        """Those of the store, which stay valid when the store is replaced."""
        names = [name for name, role in self.store.roles._asdict().items() if role is not None]
        return Roles(**{name: CurrentRole(self, name) for name in names})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class CurrentRole:
    """An optional role of the store of the example that runs now."""

    def __init__(self, current: Current, role: str) -> None:
        self._current = current
        self._role = role

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._current.store.roles, self._role), name)


class Rig:
    """The service and its client; ``steps`` and ``outcomes`` count what was compared."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.current = Current()
        self.steps = 0
        self.outcomes: Counter[str] = Counter()
        # Only a real file system can say that a read would have to wait.
        self.place = Path(tempfile.mkdtemp(prefix="cf-", dir=None if kind == "disk" else FAST))
        if kind != "memory":  # with the roles of the stores that follow
            self.current.store = LocalStore(tempfile.mkdtemp(dir=self.place))
        self.service = Server(self.current)  # type: ignore[arg-type]  # stands for each in turn
        self.service.listen_unix(str(self.place / "s"))
        self.service.start()
        self.wire = Wire(f"unix:{self.place / 's'}")

    def fresh(self) -> None:
        if self.kind == "memory":
            self.current.store = MemoryStore()
        else:
            self.current.store = LocalStore(tempfile.mkdtemp(dir=self.place))

    def drop(self) -> None:
        store, self.current.store = self.current.store, MemoryStore()
        store.close()
        if isinstance(store, LocalStore):
            shutil.rmtree(store.name)

    def close(self) -> None:
        self.wire.close()
        self.service.stop(1)
        shutil.rmtree(self.place, ignore_errors=True)


@contextlib.contextmanager
def rig(kind: str) -> Iterator[Rig]:
    made = Rig(kind)
    try:
        yield made
    finally:
        made.close()


def asked(deed: Callable[[], Any]) -> Any:
    try:
        return deed()
    except Refused as refused:
        return refused


def same(real: Any, model: Any) -> None:
    """Both answered alike, or refused with the same code and, where prescribed, the same words."""
    if isinstance(model, No):
        assert isinstance(real, Refused), f"{real!r} where {model} was due"
        assert real.code == model.code, f"{real.code} ({real.details}) where {model} was due"
        assert model.words in real.details, f"{real.details!r} where {model} was due"
        assert real.details, "a refusal without words"
        assert "Traceback" not in real.details
        assert "Exception" not in real.details
    else:
        assert not isinstance(real, Refused), f"{real} where {model!r} was due"
        assert real == model


class Pair:
    """One Write stream and the model's session."""

    def __init__(self, ref: str, stream: Stream, session: Session) -> None:
        self.ref = ref
        self.stream = stream
        self.session = session

    def answer(self) -> Any:
        got = asked(self.stream.answer)
        if not isinstance(got, dict):
            return got
        times = {seconds(got, 2) > RECENT, seconds(got, 3) > RECENT}
        assert len(times) == 1, "one time without the other"
        return Answer(number(got, 1), number(got, 4), text(got, 6), number(got, 5), times.pop())

    def compare(self, request: Request) -> Answer | No:
        self.stream.send(message(request))
        real, model = self.answer(), self.session.request(request)
        if isinstance(model, Answer):
            assert isinstance(real, Answer), f"{real!r} where {model} was due"
        same(real, model)
        if isinstance(model, Answer) and self.session.ended:
            self.ended()
        return model

    def ended(self) -> None:
        """What follows the last answer repeats it at most, and the stream ends well."""
        rest = asked(lambda: list(self.stream.rest()))
        assert isinstance(rest, list), rest
        assert len(rest) <= 1
        if rest:
            assert self.session.last
            assert number(rest[0], 4) == self.session.last.offset
            assert text(rest[0], 6) == self.session.last.digest
        self.stream.half_close()


def message(request: Request) -> bytes:
    return encode(
        {
            1: request.action,
            2: request.ref,
            3: request.total,
            4: request.expected,
            5: request.offset,
            6: request.data,
            7: labels_field(dict(request.labels)),
        }
    )


class ServiceMachine(RuleBasedStateMachine):
    """Requests of every kind, to the service and to the model."""

    rig: Rig

    def __init__(self) -> None:
        super().__init__()
        self.rig.fresh()
        self.model = Model()
        self.pairs: dict[int, Pair] = {}

    def teardown(self) -> None:
        for slot in list(self.pairs):
            self.leave(slot, "half_close")
        self.compare_lists()
        self.rig.drop()

    def step(self, real: Callable[[], Any], model: Any) -> None:
        same(asked(real), model)
        self.count("call", model)

    def count(self, kind: str, model: Any) -> None:
        self.rig.steps += 1
        self.rig.outcomes[f"{kind} {model.code if isinstance(model, No) else 'OK'}"] += 1

    # Write streams

    def resolved(self, kind: str, slot: int) -> int:
        writer = self.pairs[slot].session.writer if slot in self.pairs else None
        current = writer.offset if writer else 0
        return {"right": current, "append": -3, "zero": 0, "wrong": current + 9}[kind]

    def forget_ended(self, slot: int) -> None:
        pair = self.pairs[slot]
        if pair.session.ended:
            del self.pairs[slot]
            self.await_free(pair.ref)

    def await_free(self, ref: str) -> None:
        """A stream that has ended frees its ref within a second."""
        ident = ingest_id(ref)
        held = set(self.model.store.holders([ident]))
        deadline = time.monotonic() + 1
        while set(self.rig.current.holders([ident]) or ()) != held:
            assert time.monotonic() < deadline, "the ref stayed locked after its stream"
            time.sleep(0.001)

    @rule(slot=SLOT, ref=REF, action=ACTION, total=TOTAL, expected=EXPECTED, offset=OFFSET,
          data=st.sampled_from(DATA), labels=LABELS)  # fmt: skip
    def write(self, slot: int, ref: str, action: int, total: int, expected: str, offset: str,
              data: bytes, labels: Any) -> None:  # fmt: skip
        """The next request of a stream, which is opened when there is none."""
        if slot not in self.pairs:
            self.pairs[slot] = Pair(ref, self.rig.wire.write(), self.model.session())
        at = self.resolved(offset, slot)
        request = Request(action, ref, total, expected, at, data, labels)
        self.count(f"action {action}", self.pairs[slot].compare(request))
        self.forget_ended(slot)

    @rule(ref=REF, data=st.sampled_from(DATA), labels=LABELS, cut=st.booleans())
    def whole(self, ref: str, data: bytes, labels: Any, cut: bool) -> None:
        """What a well-behaved client does: a stream of its own from the start to its commit."""
        pair = Pair(ref, self.rig.wire.write(), self.model.session())
        wanted = Digest.of(data)
        self.count("open", pair.compare(Request(STAT, ref, len(data), wanted)))
        if not pair.session.ended and cut:
            self.count("piece", pair.compare(Request(WRITE, ref, offset=0, data=data)))
        if not pair.session.ended:
            at, rest = (len(data), b"") if cut else (0, data)
            request = Request(COMMIT, ref, len(data), wanted, at, rest, labels)
            self.count("commit", pair.compare(request))
        self.await_free(ref)

    @precondition(lambda self: self.pairs)
    @rule(slot=SLOT, data=st.sampled_from(DATA[1:]))
    def go_on(self, slot: int, data: bytes) -> None:
        """An honest piece: streams get somewhere."""
        if slot in self.pairs:
            at = self.resolved("right", slot)
            self.count("piece", self.pairs[slot].compare(Request(WRITE, "", 0, "", at, data)))
            self.forget_ended(slot)

    @rule(slot=SLOT, ref=st.sampled_from(REFS), data=st.sampled_from(DATA))
    def begin(self, slot: int, ref: str, data: bytes) -> None:
        """The start of a stream that makes sense."""
        if slot not in self.pairs:
            self.pairs[slot] = Pair(ref, self.rig.wire.write(), self.model.session())
            request = Request(WRITE, ref, offset=-1, data=data)
            self.count("begin", self.pairs[slot].compare(request))
            self.forget_ended(slot)

    @precondition(lambda self: self.pairs)
    @rule(slot=SLOT, how=st.sampled_from(["half_close", "half_close", "cancel"]))
    def leave(self, slot: int, how: str) -> None:
        if slot not in self.pairs:
            return
        self.count(how, None)
        pair = self.pairs.pop(slot)
        pair.session.end()
        getattr(pair.stream, how)()
        if how == "half_close":
            pair.ended()
        self.await_free(pair.ref)

    # Unary calls and lists

    @rule(digest=DIGESTS)
    def info(self, digest: str) -> None:
        def real() -> Any:
            return info_facts(decode(self.rig.wire.one("Info", encode({1: digest}))[1][0]))

        self.step(real, self.model.info(digest))

    @rule(digest=DIGESTS, labels=LABELS, mask=MASKS)
    def update(self, digest: str, labels: Any, mask: list[str]) -> None:
        request = {1: {1: digest, 2: 77, 5: list(labels)}, 2: {1: list(mask)}}

        def real() -> Any:
            return info_facts(decode(self.rig.wire.one("Update", encode(request))[1][0]))

        self.step(real, self.model.update(digest, dict(labels), mask))

    @rule(filters=FILTERS)
    def list(self, filters: list[str]) -> None:
        def real() -> Any:
            pieces = self.rig.wire.many("List", encode({1: filters}))
            assert all(len(piece[1]) <= 100 for piece in pieces), "pieces hold 1 to 100"
            return sorted(info_facts(decode(info)) for piece in pieces for info in piece[1])

        self.step(real, self.model.list(filters))

    @rule(digest=DIGESTS)
    def delete(self, digest: str) -> None:
        self.step(
            lambda: self.rig.wire.one("Delete", encode({1: digest})) or None,
            self.model.delete(digest),
        )

    @rule(digest=DIGESTS, offset=NUMBER, size=NUMBER)
    def read(self, digest: str, offset: int, size: int) -> None:
        def real() -> Any:
            data = b""
            for piece in self.rig.wire.many("Read", encode({1: digest, 2: offset, 3: size})):
                assert number(piece, 1) == len(data)
                data += piece[2][0]
            return data

        self.step(real, self.model.read(digest, offset, size))

    @rule(ref=REF)
    def status(self, ref: str) -> None:
        def real() -> Any:
            return status_facts(decode(self.rig.wire.one("Status", encode({1: ref}))[1][0]))

        self.step(real, self.model.status(ref))

    @rule(filters=FILTERS)
    def statuses(self, filters: list[str]) -> None:
        def real() -> Any:
            answer = self.rig.wire.one("ListStatuses", encode({1: filters}))
            return sorted(status_facts(decode(status)) for status in answer.get(1, []))

        self.step(real, self.model.statuses(filters))

    @rule(ref=REF)
    def abort(self, ref: str) -> None:
        self.step(
            lambda: self.rig.wire.one("Abort", encode({1: ref})) or None, self.model.abort(ref)
        )

    def compare_lists(self) -> None:
        self.list(filters=[])
        self.statuses(filters=[])


def info_facts(info: Any) -> Any:
    assert seconds(info, 3) > RECENT
    assert seconds(info, 4) > RECENT
    return text(info, 1), number(info, 2), sorted(labels_of(info, 5).items())


def status_facts(status: Any) -> Any:
    assert seconds(status, 1) > RECENT
    assert seconds(status, 2) > RECENT
    return text(status, 3), number(status, 4), number(status, 5), text(status, 6)
