"""A model of the content service: a store in memory and containerd's rules.

The rules are in docs/internals/content-service.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import (
    AlreadyExists,
    ContentError,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
    OutOfRange,
)
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.content.model import Info, Status
    from contentui.content.streams import Writer

STAT, WRITE, COMMIT = range(3)
CODES: dict[type[ContentError], str] = {
    InvalidArgument: "INVALID_ARGUMENT",
    NotFound: "NOT_FOUND",
    AlreadyExists: "ALREADY_EXISTS",
    Locked: "UNAVAILABLE",
    FailedPrecondition: "FAILED_PRECONDITION",
    OutOfRange: "OUT_OF_RANGE",
}
"""Each refusal's code on the wire."""


class No(NamedTuple):
    """A refusal: its code, and words that its text must hold."""

    code: str
    words: str = ""


class Answer(NamedTuple):
    """What is compared of an answer on a Write stream."""

    action: int
    offset: int
    digest: str
    total: int
    """Like the times, told by STAT only, and left standing in later answers."""
    has_times: bool


class Request(NamedTuple):
    """One request on a Write stream."""

    action: int = STAT
    ref: str = ""
    total: int = 0
    expected: str = ""
    offset: int = 0
    data: bytes = b""
    labels: tuple[tuple[str, str], ...] = ()


def refusal(error: ContentError) -> No:
    for kind, code in CODES.items():
        if isinstance(error, kind):
            return No(code, _words(error))
    raise error


def _words(error: ContentError) -> str:
    """The part of the model's own text that containerd prescribes, where it does."""
    if isinstance(error, Locked):
        return "locked for"
    for start in ("content sha", "unexpected commit ", "filters: parse error"):
        if error.message.startswith(start):
            return start if start.startswith("filters") else error.message
    return ""


def outcome(deed: Callable[[], Any]) -> Any:
    try:
        return deed()
    except ContentError as error:
        return refusal(error)


class Session:
    """The rules of a Write stream on a writer of the model's store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.writer: Writer | None = None
        self.total = self.shown_total = 0
        self.has_times = False
        self.expected: Digest | None = None
        self.last: Answer | None = None
        self.ended = False

    def request(self, request: Request) -> Answer | No:
        """The answer to a request, or the refusal that ends the stream."""
        try:
            if self.writer is None:
                self._open(request)
            self.last = self._act(request)
        except ContentError as error:
            self.end()
            return refusal(error)
        except _Ends as ends:
            self.end()
            return ends.no
        if request.action == COMMIT:
            self.end()
        return self.last

    def end(self) -> None:
        self.ended = True
        if self.writer is not None:
            self.writer.close()

    def _open(self, request: Request) -> None:
        if not request.ref:
            raise _Ends(No("INVALID_ARGUMENT", "first message must have a reference"))
        expected = Digest.parse(request.expected) if request.expected else None
        self.writer = self.store.writer(request.ref, total=max(request.total, 0), expected=expected)
        self.ref, self.expected, self.total = request.ref, expected, max(request.total, 0)

    def _act(self, request: Request) -> Answer:
        assert self.writer
        self._adopt(request)
        if request.action in (WRITE, COMMIT):
            self._place(request.offset)
            self.writer.write(request.data)
        if request.action == COMMIT:
            return self._commit(dict(request.labels))
        if request.action == STAT:
            self.shown_total, self.has_times = self.total, True
        return self._answer(request.action, self.writer.digest())

    def _adopt(self, request: Request) -> None:
        assert self.writer
        if request.expected:
            self.expected = Digest.parse(request.expected)
            if outcome(lambda: self.store.info(Digest(request.expected))).__class__ is not No:
                self._abandon()
                words = f"blob with expected digest {request.expected} exists"
                raise _Ends(No("ALREADY_EXISTS", words))
        if request.total > 0:
            self.total = request.total

    def _abandon(self) -> None:
        """Close and abort, unless another ingest stands under the ref by now."""
        assert self.writer
        self.writer.close()
        outcome(lambda: self.store.abort(self.ref, force=True))

    def _place(self, offset: int) -> None:
        assert self.writer
        current = self.writer.offset
        if offset > 0 and offset != current:
            words = f"write @{offset} must occur at current offset {current}"
            raise _Ends(No("OUT_OF_RANGE", words))
        if offset == 0 and current:
            self.writer.truncate(0)

    def _commit(self, labels: dict[str, str]) -> Answer:
        assert self.writer
        offset = self.writer.offset
        if self.total not in (0, offset):
            words = f"failed size validation: {offset} != {self.total}: failed precondition"
            raise _Ends(No("FAILED_PRECONDITION", words))
        try:
            info = self.writer.commit(None, self.expected, labels)
        except NotFound:
            raise _Ends(No("UNKNOWN", "no such file or directory")) from None
        return self._answer(COMMIT, info.digest)

    def _answer(self, action: int, digest: Digest) -> Answer:
        assert self.writer
        offset = self.writer.offset
        return Answer(action, offset, digest, self.shown_total, self.has_times)


class _Ends(Exception):
    def __init__(self, no: No) -> None:
        super().__init__(no)
        self.no = no


class Model:
    """The unary and listing calls on the model's store, in containerd's way for a flat store."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def session(self) -> Session:
        return Session(self.store)

    def info(self, digest: str) -> Any:
        return outcome(lambda: _facts(self.store.info(Digest.parse(digest))))

    def update(self, digest: str, labels: dict[str, str], mask: list[str]) -> Any:
        def deed() -> Any:
            return _facts(self.store.update(Digest.parse(digest), labels, mask))

        return outcome(deed)

    def list(self, filters: list[str]) -> Any:
        return outcome(lambda: sorted(map(_facts, self.store.walk(filters))))

    def delete(self, digest: str) -> Any:
        return outcome(lambda: self.store.delete(Digest.parse(digest)))

    def read(self, digest: str, offset: int, size: int) -> Any:
        def deed() -> Any:
            with self.store.reader(Digest.parse(digest)) as reader:
                start = max(offset, 0)
                if start > reader.size:
                    words = f"read past object length {reader.size} bytes"
                    return No("OUT_OF_RANGE", words)
                return reader.read_at(size if size > 0 else reader.size, start)

        return outcome(deed)

    def status(self, ref: str) -> Any:
        def deed() -> Any:
            status = self.store.status(ref)
            return status_facts(status)

        return outcome(deed)

    def statuses(self, filters: list[str]) -> Any:
        def deed() -> Any:
            return sorted(map(status_facts, self.store.statuses(filters)))

        return outcome(deed)

    def abort(self, ref: str) -> Any:
        return outcome(lambda: self.store.abort(ref, force=True))


def _facts(info: Info) -> Any:
    return str(info.digest), info.size, sorted((info.labels or {}).items())


def status_facts(status: Status) -> Any:
    return status.ref, status.offset, status.total, str(status.expected or "")
