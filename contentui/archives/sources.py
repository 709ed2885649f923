"""Sources of archives: a file or pipe, compressed or not, or an OCI layout in a directory."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, cast

from contentui.archives.tar import MAX_MEMBERS, Member, members
from contentui.content.errors import InvalidArgument
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 20
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_DOCUMENTS = ("index.json", "manifest.json", "oci-layout")


def compression(head: bytes) -> str:
    """A file's compression, by its first bytes: ``gzip``, ``zstd``, ``bzip2``, ``xz``, or empty."""
    for magic, name in ((_GZIP, "gzip"), (_ZSTD, "zstd"), (_BZIP2, "bzip2"), (_XZ, "xz")):
        if head.startswith(magic):
            return name
    return ""


def archive_members(file: BinaryIO, progress: Callable[[int], None]) -> Iterator[Member]:
    """The members of a tar archive, compressed or not; ``file`` need not be seekable.

    ``progress`` gets the number of the file's own bytes that are read.

    Raises:
        InvalidArgument: it is not an archive, or is damaged or truncated.
    """
    counted = io.BufferedReader(_Counted(file, progress), _BUFFER)
    kind = compression(counted.peek(8))
    source = cast("BinaryIO", counted)
    if not kind:
        return members(source)
    return members(cast("BinaryIO", _Decompressed(source, kind)))


def directory_members(path: str) -> Iterator[Member]:
    """The files of an OCI layout in a directory. Raises OSError."""
    for count, name in enumerate(_layout(path)):
        if count >= MAX_MEMBERS:
            raise InvalidArgument(f"{visible(path)} has more than {MAX_MEMBERS} files")
        fd = os.open(os.path.join(path, name), _FILE)
        with open(fd, "rb", buffering=0) as file:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode):
                yield Member(name, found.st_size, cast("BinaryIO", file))


def _layout(path: str) -> Iterator[str]:
    """The names of the blobs and documents in a layout, documents last."""
    for algorithm in _names(os.path.join(path, "blobs")):
        for name in _names(os.path.join(path, "blobs", algorithm)):
            yield f"blobs/{algorithm}/{name}"
    found = _names(path)
    yield from (name for name in _DOCUMENTS if name in found)


def _names(path: str) -> list[str]:
    try:
        fd = os.open(path, _FOLDER)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


class _Decompressed(io.RawIOBase):
    """A compressed stream's content. Reads raise InvalidArgument where it is damaged."""

    def __init__(self, source: BinaryIO, kind: str) -> None:
        self._kind = kind
        self._inner, broken = _decompressor(source, kind)
        self._broken: tuple[type[Exception], ...] = (EOFError, *broken)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer has no len
        try:
            return self._inner.readinto(buffer)  # type: ignore[attr-defined,no-any-return]  # they all have it
        except self._broken as error:
            raise self._error(error) from None
        except OSError as error:
            if error.errno is not None:
                raise  # an error of the file itself
            raise self._error(error) from None

    def _error(self, error: Exception) -> InvalidArgument:
        return InvalidArgument(
            f"the archive can't be read: its {self._kind} data are damaged or truncated ({error})"
        )


def _decompressor(source: BinaryIO, kind: str) -> tuple[BinaryIO, tuple[type[Exception], ...]]:
    """A decompressing file, and what it raises for damaged data, besides OSError."""
    if kind == "gzip":
        import gzip
        import zlib

        return cast("BinaryIO", gzip.GzipFile(fileobj=source)), (zlib.error,)
    if kind == "bzip2":
        import bz2

        return cast("BinaryIO", bz2.BZ2File(source)), ()
    if kind == "xz":
        import lzma

        return cast("BinaryIO", lzma.LZMAFile(source)), (lzma.LZMAError,)
    raise InvalidArgument(
        f"archives compressed with {kind} are not supported",
        advice=f"decompress it first: {kind} -dc FILE | contentui import -",
    )


class _Counted(io.RawIOBase):
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer has no len
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        self._progress(self._read)
        return len(data)
