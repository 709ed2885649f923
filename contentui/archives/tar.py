"""A tar archive as a stream of members: read once, in order, in bounded memory, never extracted.

Python's ``tarfile`` trusts the sizes in extended headers, so that one member's name can fill the
memory. Sources: "pax Interchange Format" in POSIX, "Basic Tar Format" in GNU tar's manual.
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
MAX_MEMBERS = 200_000
_PIECE = 1 << 20
_FILES = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")


class Member(NamedTuple):
    """A file of an archive, or a link in it."""

    name: str
    """Without ``./``: untrusted text, for comparing only."""
    size: int
    """Bytes."""
    data: BinaryIO
    """Its bytes, until the next member is requested."""
    link: str = ""
    """The member to which it is a link, if it is one within the archive."""


def members(source: BinaryIO) -> Iterator[Member]:
    """The files and links of a tar archive; directories and devices are skipped.

    Raises:
        InvalidArgument: it is not a tar archive, is truncated, or exceeds a limit.
    """
    count = 0
    extended: dict[str, str] = {}
    while (header := _header(source, first=count == 0)) is not None:
        count += 1
        if count > MAX_MEMBERS:
            raise _bad(f"it has more than {MAX_MEMBERS} members")
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
    """The member to which a link refers; empty when it is outside of the archive."""
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
        return None  # some writers omit the blocks of zeros at the end
    if block == bytes(BLOCK):
        if first:
            raise _bad("it is empty")
        return None
    if len(block) < BLOCK:
        raise _bad("it is truncated" if not first else "it is not a tar archive")
    if _number(block[148:156]) != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise _bad("it is not a tar archive" if first else "it has a damaged header")
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
    """The used records of a pax header: ``LENGTH KEY=VALUE`` and a newline each."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or int(length) < len(length) + 3:
            raise _bad("it has an invalid extended header")
        end = at + int(length)
        if data[end - 1 : end] != b"\n":
            raise _bad("it has an invalid extended header")
        key, _, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            found[key.decode()] = _text(value)
        elif key.startswith(b"GNU.sparse"):
            raise _bad("it has sparse files, which are not supported")
        at = end
    return found


def _size(extended: Mapping[str, str], size: int) -> int:
    text = extended.get("size")
    if text is None:
        return size
    if not text.isdecimal() or len(text) > 18:
        raise _bad("it has an invalid size")
    return int(text)


def _bounded(size: int) -> int:
    if size > MAX_EXTENDED:
        raise _bad("it has an extended header that is too large")
    return size


def _path(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    text = data.partition(b"\0")[0]
    if len(text) > MAX_NAME:
        raise _bad("it has a name that is too long")
    return text.decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """An octal number, or a binary one in GNU's format."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    else:
        digits = field.strip(b"\0 ")
        if digits.strip(b"01234567"):
            raise _bad("it is not a tar archive")
        value = int(digits or b"0", 8)
    if value >= 1 << 60:
        raise _bad("it has an invalid size")
    return value


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = _Bounded(source, size).read()
    return data or b""


def _skip(source: BinaryIO, size: int) -> None:
    _Bounded(source, size).skip()


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"the archive can't be read: {why}")


class _Bounded(io.RawIOBase):
    """The next ``size`` bytes of a stream, as a file without seek.

    Reads raise InvalidArgument where the stream ends before.
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
            raise _bad("it is truncated")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def skip(self) -> None:
        """Skip what has not been read."""
        while self._left:
            data = self._source.read(min(self._left, _PIECE))
            if not data:
                raise _bad("it is truncated")
            self._left -= len(data)
