"""A tar archive as a stream of members: read once, in order, in bounded memory, never extracted.

Python's own reader believes the sizes of extended headers, which decide there how much memory one
member's name takes. Source: POSIX pax interchange format, and GNU's long names and large numbers.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple, cast

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

BLOCK = 512
MAX_EXTENDED = 1 << 20
"""Bytes of one extended header."""
MAX_NAME = 4096
MOST_MEMBERS = 200_000
_MOST_EXTENDED = 16
"""Extended headers before one member."""
_PIECE = 1 << 20
_FILES = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")


class Member(NamedTuple):
    """A file of an archive, or a link in it."""

    name: str
    """As it is written there, without ``./``: hostile text, good for comparing only."""
    size: int
    """Bytes."""
    data: BinaryIO
    """Its bytes; to be read before the next member is asked for."""
    link: str = ""
    """Whose bytes it means, when it is a link within the archive."""


def members(source: BinaryIO) -> Iterator[Member]:
    """The files and links of a tar archive; folders and devices are passed over.

    Raises:
        InvalidArgument: it is not a tar archive, is cut short, or is beyond all bounds.
    """
    count = 0
    extended: dict[str, str] = {}
    while (header := _header(source, first=count == 0)) is not None:
        count += 1
        if count > MOST_MEMBERS:
            raise _bad(f"it has more than {MOST_MEMBERS} members")
        size, kind = _number(header[124:136]), header[156:157]
        if kind in b"xgLK":
            found = _extension(kind, _exactly(source, _bounded(size)))
            _skip(source, -size % BLOCK)
            extended |= found
            continue
        size = _size(extended, size) if kind in _FILES else size
        name = plain_path(extended.get("path") or _path(header))
        link = extended.get("linkpath") or _text(header[157:257])
        extended = {}
        if kind in _LINKS:
            yield Member(name, 0, io.BytesIO(), _target(name, link, is_hard=kind == b"1"))
        elif kind in _FILES:
            data = _Bounded(source, size)
            yield Member(name, size, cast("BinaryIO", data))
            data.skip()
        else:
            _skip(source, size if kind not in b"3456" else 0)
            size = 0 if kind in b"3456" else size
        if kind not in _LINKS and kind not in b"3456":
            _skip(source, -size % BLOCK)


def plain_path(path: str) -> str:
    """A member's name for comparing: no leading ``/`` and ``./``, no doubled slashes."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _target(name: str, link: str, *, is_hard: bool) -> str:
    """The member that a link means; empty when it leads out of the archive."""
    parts = [] if is_hard or link.startswith("/") else name.split("/")[:-1]
    for part in link.split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _header(source: BinaryIO, *, first: bool) -> bytes | None:
    """The next member's block; None at the archive's end."""
    block = _block(source)
    if not block and not first:
        return None  # some writers leave out the blocks of zeros at the end
    if block == bytes(BLOCK):
        if first:
            raise _bad("it is empty")
        return None
    if len(block) < BLOCK:
        raise _bad("it is cut short" if not first else "it is no tar archive")
    if _number(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise _bad("it is no tar archive" if first else "a header in it is damaged")
    return block


def _block(source: BinaryIO) -> bytes:
    found = b""
    while len(found) < BLOCK and (piece := source.read(BLOCK - len(found))):
        found += piece
    return found


def _extension(kind: bytes, data: bytes) -> Mapping[str, str]:
    if kind == b"L":
        return {"path": _text(data)}
    if kind == b"K":
        return {"linkpath": _text(data)}
    return {} if kind == b"g" else _records(data)


def _records(data: bytes) -> dict[str, str]:
    """The records of a pax header that matter: ``LENGTH KEY=VALUE`` and a newline each."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or int(length) < len(length) + 3:
            raise _bad("an extended header in it makes no sense")
        end = at + int(length)
        if data[end - 1 : end] != b"\n":
            raise _bad("an extended header in it makes no sense")
        key, _, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            found[key.decode()] = _text(value)
        elif key.startswith(b"GNU.sparse"):
            raise _bad("it holds sparse files")
        at = end
    return found


def _size(extended: Mapping[str, str], size: int) -> int:
    said = extended.get("size")
    if said is None:
        return size
    if not said.isdecimal() or len(said) > 18:
        raise _bad("a size in it makes no sense")
    return int(said)


def _bounded(size: int) -> int:
    if size > MAX_EXTENDED:
        raise _bad("an extended header in it is too large")
    return size


def _path(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    text = data.partition(b"\0")[0]
    if len(text) > MAX_NAME:
        raise _bad("a name in it is too long")
    return text.decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """An octal number, or a binary one in GNU's way."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    else:
        digits = field.strip(b"\0 ")
        if digits.strip(b"01234567"):
            raise _bad("it is no tar archive")
        value = int(digits or b"0", 8)
    if value >= 1 << 60:
        raise _bad("a size in it makes no sense")
    return value


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = _Bounded(source, size).read()
    return data or b""


def _skip(source: BinaryIO, size: int) -> None:
    _Bounded(source, size).skip()


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"the archive can't be read: {why}")


class _Bounded(io.RawIOBase):
    """The next ``size`` bytes of a stream, as a file that can't be rewound.

    Raises InvalidArgument from reads where the stream ends before.
    """

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer has no len
        size = min(len(buffer), self._left)
        if not size:
            return 0
        data = self._source.read(size)
        if not data:
            raise _bad("it is cut short")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def skip(self) -> None:
        """Pass over what has not been read."""
        while self._left:
            data = self._source.read(min(self._left, _PIECE))
            if not data:
                raise _bad("it is cut short")
            self._left -= len(data)
