"""Documents are told apart by media type and fields, and hostile ones end in UNKNOWN."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contentui.content.digest import Digest
from contentui.content.model import Descriptor
from contentui.oci.documents import MAX_DOCUMENT_SIZE, MAX_DOCUMENT_TOKENS, kind_of, parse_document
from contentui.oci.kinds import Kind

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def pointer(digest: str, **more: object) -> dict[str, object]:
    return {"mediaType": "text/x", "digest": digest, "size": 3, **more}


def dump(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"mediaType": OCI_INDEX, "manifests": []}, Kind.INDEX),
        ({"mediaType": OCI_INDEX}, Kind.INDEX),
        (
            {"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"},
            Kind.INDEX,
        ),
        ({"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}, Kind.MANIFEST),
        ({"mediaType": OCI_MANIFEST, "config": pointer(A), "layers": []}, Kind.MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, Kind.INDEX),
        ({"manifests": [pointer(A)]}, Kind.INDEX),
        ({"config": pointer(A), "layers": [pointer(B)]}, Kind.MANIFEST),
        ({"schemaVersion": 2, "config": pointer(A)}, Kind.MANIFEST),
        ({"mediaType": "made/up", "layers": [pointer(B)]}, Kind.MANIFEST),
        ({"mediaType": ["odd"], "schemaVersion": 2, "layers": []}, Kind.MANIFEST),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, Kind.CONFIG),
        ({"architecture": "amd64", "os": "linux", "config": {}}, Kind.CONFIG),
        ({"layers": ["just", "words"]}, Kind.JSON),
        ({"manifests": "no list"}, Kind.JSON),
        ({}, Kind.JSON),
    ],
)
def test_kind_of_a_document(fields, kind):
    assert parse_document(json.dumps(fields).encode()).kind is kind


def test_descriptors_are_typed_and_bad_ones_left_out():
    document = parse_document(
        dump(
            mediaType=OCI_MANIFEST,
            config=pointer(A),
            layers=[
                pointer(B, size=-4),
                pointer("sha256:short"),
                pointer(str(C).upper()),
                "text",
                None,
                {"digest": 7},
                pointer(C, size=True, mediaType=9),
            ],
        )
    )
    assert document.children == (
        Descriptor("text/x", A, 3),
        Descriptor("text/x", B, 0),
        Descriptor("", C, 0),
    )


def test_both_kinds_of_pointers_count_in_one_document():
    document = parse_document(dump(manifests=[pointer(A)], layers=[pointer(B)]))
    assert {child.digest for child in document.children} == {A, B}


def test_a_subject_is_not_a_child():
    document = parse_document(dump(mediaType=OCI_MANIFEST, layers=[pointer(A)], subject=pointer(B)))
    assert [child.digest for child in document.children] == [A]


def test_titles_are_bounded():
    key = "org.opencontainers.image.ref.name"
    document = parse_document(
        dump(
            mediaType=OCI_INDEX,
            annotations={key: "x" * 9999},
            manifests=[pointer(A, annotations={key: "v1"}), pointer(B, annotations=[])],
        )
    )
    assert document.title == "x" * 256
    assert document.titles == ((A, "v1"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"layers": [}',
        b"\xef\xbb\xbf{}",
        b"nonsense",
        b"   ",
        b'{"a": ' + b"[" * 100_000,
        b"[" * 1_000_000,
    ],
)
def test_what_is_no_document_is_unknown(data):
    document = parse_document(data)
    assert document.kind is Kind.UNKNOWN
    assert document.children == ()


def test_a_deep_document_that_may_point_somewhere_is_not_understood():
    deep = b'{"layers": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert not parse_document(deep).understood
    assert parse_document(deep.replace(b"layers", b"things")).understood


def test_an_intricate_document_is_not_parsed():
    data = b'{"layers": [' + b"[]," * MAX_DOCUMENT_TOKENS + b"[]]}"
    assert len(data) < MAX_DOCUMENT_SIZE
    started = time.monotonic()
    assert not parse_document(data).understood
    assert time.monotonic() - started < 1


def test_a_long_number_costs_no_quadratic_time_and_spoils_nothing():
    data = b'{"n": ' + b"9" * 1_000_000 + b', "manifests": [{"digest": "%s"}]}' % A.encode()
    assert parse_document(data).kind is Kind.INDEX


def test_broken_utf8_in_a_text_spoils_nothing():
    data = b'{"annotations": {"x": "\xff"}, "manifests": [{"digest": "%s"}]}' % A.encode()
    assert parse_document(data).kind is Kind.INDEX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([A, B]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["mediaType", "manifests", "layers", "config", "digest", "size", "annotations"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_no_json_breaks_the_parser(value):
    parse_document(json.dumps(value).encode())


@given(st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_the_kind(data):
    assert kind_of(data, len(data)) in Kind


@pytest.mark.parametrize(
    ("head", "size", "kind"),
    [
        (b"", 0, Kind.EMPTY),
        (b"\x1f\x8b\x08" + b"x" * 50, 10**9, Kind.LAYER_GZIP),
        (b"\x28\xb5\x2f\xfd" + b"x" * 50, 10**9, Kind.LAYER_ZSTD),
        (b"a/b".ljust(257, b"\0") + b"ustar  \0", 10240, Kind.LAYER_TAR),
        (b"{}", 2, Kind.JSON),
        (b'{"manifests": [', 10**9, Kind.JSON),
        (b"hello", 5, Kind.UNKNOWN),
        (b"\x1f", 1, Kind.UNKNOWN),
        (b" " * 600 + b'{"mediaType": "%s"}' % OCI_INDEX.encode(), 600 + 60, Kind.INDEX),
    ],
)
def test_kind_by_magic(head, size, kind):
    if kind is Kind.INDEX:
        size = len(head)
    assert kind_of(head, size) is kind
