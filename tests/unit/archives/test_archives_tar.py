"""Tar archives as strangers make them: what can be read, and what is refused in words."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contentui.archives.tar import members
from contentui.content.errors import InvalidArgument

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def archive(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def read(data: bytes) -> list[tuple[str, bytes, str]]:
    return [(each.name, each.data.read(), each.link) for each in members(io.BytesIO(data))]


@pytest.mark.parametrize("form", FORMATS)
def test_what_python_writes_is_read(form):
    files = (("a", b"1"), ("b/c", b"x" * 512), ("d", b""), ("e", b"y" * 100_000))
    assert read(archive(*files, form=form)) == [(name, data, "") for name, data in files]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(form):
    names = ("n" * 300, "ordner/ä€", "x" * 99 + "/" + "y" * 120)
    found = read(archive(*((name, b"1") for name in names), form=form))
    assert [name for name, _, _ in found] == list(names)


def test_members_that_are_not_read_are_passed_over():
    data = archive(("a", b"x" * 10_000), ("b", b"2"))
    assert [each.name for each in members(io.BytesIO(data))] == ["a", "b"]


def test_an_archive_without_its_end_is_whole():
    data = archive(("a", b"1" * 512))
    assert read(data[:1024]) == [("a", b"1" * 512, "")]


@pytest.mark.parametrize("size", [1, 511, 513, 700, 1023, 1100])
def test_a_truncated_one_is_reported(size):
    data = archive(("a", b"1" * 600), ("b", b"2"))
    with pytest.raises(InvalidArgument, match=r"truncated|not a tar archive"):
        read(data[:size])


def link(kind: bytes, name: str, target: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    ("kind", "name", "target", "means"),
    [
        (tarfile.SYMTYPE, "id/layer.tar", "../other/layer.tar", "other/layer.tar"),
        (tarfile.SYMTYPE, "id/layer.tar", "layer2.tar", "id/layer2.tar"),
        (tarfile.SYMTYPE, "a", "/etc/passwd", "etc/passwd"),
        (tarfile.SYMTYPE, "a", "../../etc/passwd", ""),
        (tarfile.LNKTYPE, "id/layer.tar", "other/layer.tar", "other/layer.tar"),
        (tarfile.LNKTYPE, "a", "../x", ""),
    ],
)
def test_links_mean_members_or_nothing(kind, name, target, means):
    assert read(link(kind, name, target) + bytes(1024)) == [(name, b"", means)]


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_devices_and_folders_are_passed_over(kind):
    member = tarfile.TarInfo("dev")
    member.type, member.devmajor = kind, 1
    data = member.tobuf(tarfile.PAX_FORMAT) + archive(("a", b"1"))
    assert read(data) == [("a", b"1", "")]


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_may_not_be_of_any_size(kind):
    with pytest.raises(InvalidArgument, match="extended header that is too large"):
        read(header(kind, 1 << 33))


@pytest.mark.parametrize(
    "record",
    [b"5 a=", b"x a=1\n", b"99999999999999999999999 a=1\n", b"0 a=1\n", b"-5 a=1\n", b"path=1\n"],
)
def test_records_that_make_no_sense(record):
    data = header(b"x", len(record)) + record.ljust(512, b"\0") + archive(("a", b"1"))
    with pytest.raises(InvalidArgument, match=r"invalid (extended header|size)"):
        read(data)


def test_a_size_beyond_all_disks():
    record = b"36 size=9999999999999999999999999999\n"
    data = header(b"x", len(record)) + record.ljust(512, b"\0") + archive(("a", b"1"))
    with pytest.raises(InvalidArgument, match=r"invalid (extended header|size)"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 1024, b"hello", b"x" * 512, b"\x1f" * 2000])
def test_what_is_no_archive_at_all(data):
    with pytest.raises(InvalidArgument, match="can't be read"):
        read(data)


def test_a_damaged_header():
    data = bytearray(archive(("a", b"1"), ("b", b"2")))
    data[1024 + 3] ^= 1
    with pytest.raises(InvalidArgument, match="a damaged header"):
        read(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_alteration_is_read_or_refused(data):
    """Nothing else is raised, whatever comes."""
    original = bytearray(
        link(tarfile.SYMTYPE, "l", "m" * 150) + archive(("a" * 120, b"1" * 600), ("b", b"2"))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    for at in range(0, 4096, 512):
        if data.draw(st.booleans()):  # repair the sum, so that the alteration is believed
            block = original[at : at + 512]
            block[148:156] = b" " * 8
            original[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    end = data.draw(st.integers(0, len(original)))
    with contextlib.suppress(InvalidArgument):
        read(bytes(original[:end]))
