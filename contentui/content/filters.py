"""containerd's filter language (``pkg/filters``), compiled to predicates.

::

    filter   := selector ("," selector)*     all must hold; several filters are alternatives
    selector := path [ ("==" | "!=" | "~=") value ]     without an operator: the field is present
    path     := field ("." field)*           field: letters, digits and _, or "quoted"

What containerd accepts means the same here. Blanks are allowed around every token, also where
containerd refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias, TypeVar

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.model import Info, Status

T = TypeVar("T")

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = Callable[[Path], tuple[str, bool]]
"""An item as filters see it: a field's path to its value and whether it is present."""
_Get: TypeAlias = Callable[[T], str | None]
_Test: TypeAlias = Callable[[T], bool]

MAX_LENGTH = 64 * 1024
"""Characters that one filter may have."""

_BLANKS = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile(r"[=!~]+")
_BARE = re.compile(r"[^\s,]+")
_QUOTED = {
    quote: re.compile(rf"[{quote}](?:[^{quote}\\\n]|\\[^\n])*[{quote}]")
    for quote in ('"', "/", "|")
}
_ESCAPE = re.compile(
    r"""\\(?:(?P<char>[abfnrtv\\"/|])|(?P<octal>[0-7]{3})
    |x(?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))""",
    re.VERBOSE,
)
_PLAIN_ESCAPES = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


class Selector(NamedTuple):
    """One condition of a filter."""

    path: Path
    operator: str
    """``==``, ``!=``, ``~=``; empty for presence."""
    value: str
    """Bytes that are no UTF-8 stand as surrogates, as in refs."""


def parse_filter(text: str) -> tuple[Selector, ...]:
    """The conditions of one filter, all of which must hold; none for the empty filter.

    Raises:
        InvalidArgument: the filter can't be parsed; the message names the character, from 1.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"filters: parse error: longer than {MAX_LENGTH} characters")
    return _Parser(text).selectors() if text else ()


def compile_filters(filters: Sequence[str]) -> Callable[[Fields], bool]:
    """A predicate that holds for items that any of ``filters`` matches; of none, for all.

    Raises:
        InvalidArgument: a filter can't be parsed.
    """

    def bind(path: Path) -> _Get[Fields]:
        def get(fields: Fields) -> str | None:
            value, present = fields(path)
            return value if present else None

        return get

    return _compile(filters, bind) or (lambda _: True)


def info_filter(filters: Sequence[str]) -> Callable[[Info], bool] | None:
    """A predicate on blobs: ``digest`` and ``labels.KEY`` exist; None: everything matches.

    Unknown labels count as missing.

    Raises:
        InvalidArgument: a filter can't be parsed.
    """
    return _compile(filters, _info_field)


def status_filter(filters: Sequence[str]) -> Callable[[Status], bool] | None:
    """A predicate on ingests: only ``ref`` exists; None: everything matches.

    Raises:
        InvalidArgument: a filter can't be parsed.
    """
    return _compile(filters, _status_field)


def _info_field(path: Path) -> _Get[Info]:
    if path[0] == "digest":
        return itemgetter(0)
    if path[0] == "labels" and len(path) > 1:
        key = ".".join(path[1:])
        return lambda info: (info.labels or {}).get(key)
    return _missing


def _status_field(path: Path) -> _Get[Status]:
    return itemgetter(0) if path[0] == "ref" else _missing


def _missing(_: object) -> None:
    return None


def _compile(filters: Sequence[str], bind: Callable[[Path], _Get[T]]) -> _Test[T] | None:
    parsed = [parse_filter(text) for text in filters]
    if not all(parsed):
        return None  # an empty filter matches everything, and so does no filter
    alternatives = [
        _all_of([_test(bind(selector.path), selector) for selector in selectors])
        for selectors in parsed
    ]
    return _any_of(alternatives) if alternatives else None


def _all_of(tests: list[_Test[T]]) -> _Test[T]:
    if len(tests) == 1:
        return tests[0]
    return lambda item: all(test(item) for test in tests)


def _any_of(tests: list[_Test[T]]) -> _Test[T]:
    if len(tests) == 1:
        return tests[0]
    return lambda item: any(test(item) for test in tests)


def _test(get: _Get[T], selector: Selector) -> _Test[T]:
    value = selector.value
    match selector.operator:
        case "==":
            return lambda item: get(item) == value
        case "!=":
            return lambda item: get(item) != value
        case "~=":
            search = _searcher(value)
            return lambda item: search(get(item) or "")
        case _:
            return lambda item: get(item) is not None


def _searcher(pattern: str) -> Callable[[str], bool]:
    """An unanchored search in linear time; a pattern that is none matches nothing."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(pattern, options).search
    except (re2.error, UnicodeEncodeError):
        return lambda _: False
    return lambda text: search(text if text.isascii() else _decodable(text)) is not None


def _decodable(text: str) -> str:
    """``text`` with U+FFFD for every byte that is no UTF-8: what an RE of runes sees."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Parser:
    """One pass over one filter, a token at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def selectors(self) -> tuple[Selector, ...]:
        found = [self._selector()]
        while self._skip(","):
            found.append(self._selector())
        if self.at < len(self.text):
            self._fail("unexpected input")
        return tuple(found)

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._skip("."):
            path.append(self._field())
        operator = self._operator()
        value = self._value(operator) if operator else ""
        return Selector(tuple(path), operator, value)

    def _field(self) -> str:
        self._blanks()
        if self._peek() == '"':
            return self._quoted()
        return self._take(_FIELD) or self._fail("expected a field: letters, digits, _, or quoted")

    def _operator(self) -> str:
        self._blanks()
        start = self.at
        operator = self._take(_OPERATOR)
        if operator not in {"", "==", "!=", "~="}:
            self.at = start
            self._fail(f"unsupported operator {operator[:8]!r}")
        return operator

    def _value(self, operator: str) -> str:
        self._blanks()
        first = self._peek()
        if first and (first == '"' or (operator == "~=" and first in "/|")):
            return self._quoted()
        if first and first in "/|.=!~":
            self._fail("expected a value; quote one that begins like this")
        start = self.at
        value = self._take(_BARE)
        for index, char in enumerate(value):
            if not char.isprintable():
                self.at = start + index
                self._fail("an invisible character; write it as an escape in quotes")
        return value or self._fail("expected a value")

    def _quoted(self) -> str:
        start, quote = self.at, self._peek()
        body = self._take(_QUOTED[quote])[1:-1]
        if self.at == start:
            self._fail("a quote is not closed on its line")
        return self._unescape(body, start + 1, quote)

    def _unescape(self, body: str, start: int, quote: str) -> str:
        """The quoted text; ``start`` is where it begins, for errors."""
        out = bytearray()
        at = 0
        while at < len(body):
            mark = body.find("\\", at)
            end = len(body) if mark < 0 else mark
            out += self._encoded(body[at:end], start + at)
            if mark < 0:
                break
            escape = _ESCAPE.match(body, mark)
            piece = escape and _escaped(escape, quote)
            if not escape or piece is None:
                self.at = start + mark
                self._fail("no such escape; double a backslash that is meant")
            out += piece
            at = escape.end()
        return out.decode("utf-8", "surrogateescape")

    def _encoded(self, text: str, start: int) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            self.at = start + error.start
            self._fail("a byte that is no UTF-8; write it as \\xff in quotes")

    def _blanks(self) -> None:
        self._take(_BLANKS)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    def _skip(self, separator: str) -> bool:
        self._blanks()
        if self._peek() != separator:
            return False
        self.at += 1
        return True

    def _fail(self, what: str) -> NoReturn:
        near = self.text[max(self.at - 16, 0) : self.at], self.text[self.at : self.at + 16]
        where = (
            f"between {near[0]!r} and {near[1]!r}" if near[1] else f"at the end, after {near[0]!r}"
        )
        raise InvalidArgument(
            f"filters: parse error at character {self.at + 1} ({where}): {what}",
            advice='write it as FIELD==VALUE, FIELD!=VALUE or FIELD~=RE; VALUE may be "quoted"',
        )


def _escaped(escape: re.Match[str], quote: str) -> bytes | None:
    """The bytes of an escape sequence; None when it isn't allowed in these quotes."""
    kind, digits = escape.lastgroup, escape.group(escape.lastgroup or 0)
    if kind == "char":
        if digits in '"/|':
            return digits.encode() if digits == quote else None
        return _PLAIN_ESCAPES.get(digits, digits).encode()
    number = int(digits, 8 if kind == "octal" else 16)
    if kind in {"octal", "byte"}:
        return bytes((number,)) if number < 256 else None
    if 0xD800 <= number < 0xE000:
        number = 0xFFFD  # what Go writes for half a surrogate pair
    return chr(number).encode() if number < 0x110000 else None
